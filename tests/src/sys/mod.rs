//! The system calls that the harness makes itself.
//!
//! All unsafe code of the library is here. Every function is safe to call; each unsafe block
//! says on what that rests.

mod beginning;
mod connection;
mod message;
mod page;
mod process;
mod terminal;
mod unusual;
mod waiting;

pub use beginning::{
    become_before, in_a_child, in_own_session, limit_before, pass_descriptors, start_with_pid,
    with_signals_blocked,
};
pub use connection::{Progress, progress, same_description};
pub use message::{Control, Received, receive, send, send_all, send_controls, send_out_of_band};
pub use page::Page;
pub use process::{at_exit, become_user, limit_descriptors, pin, processors, raise_descriptors};
pub use terminal::{on_terminal, stop_background_writers, terminal};
pub use unusual::{flag, io_uring, pass_credentials, set_flag, signalfd, taken_from};
pub use waiting::{fill_queue, hangs_up, is_read, readable, receive_timeout};
