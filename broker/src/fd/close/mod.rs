//! Closing descriptors on threads, never on an event loop.
//!
//! The last close(2) of a descriptor can sleep for as long as a peer likes, whatever kind it is.
//! That can be a pipe whose mutex is held by splice(2), a file that an epoll instance watches, or a
//! socket locked across a page fault. SO_LINGER does it too, and a FUSE file. Such a sleep is in
//! state D, which not even SIGKILL ends. So each descriptor of a peer is a [`DeferredClose`]: when
//! it is dropped, a thread of the [`CloseQueue`] closes it.
//!
//! Rules:
//! - Each account has at most one thread at work. Its descriptors are closed in order. If one blocks
//!   for more than a moment, another thread closes what comes after it. An account may have a part of
//!   these spares; once it has no more, only what is its own waits.
//! - A user has three accounts: its deposits, resources that were opened for it, and what it brought
//!   and is no deposit. The last one has no spares, since that takes no right.
//! - Descriptors wait a few milliseconds, or until many are together, so that one wake-up serves
//!   them all. While a thread keeps the time, dropping one costs a lock and a push. A descriptor
//!   whose close somebody waits for does not wait for others.
//! - A socket of the broker's own may hold unread messages, an old listening socket for example. A
//!   thread that closes nothing else closes it, as long as there are few of them.
//! - Threads are shared by all depositors, and bounded. The last ones are for system users only. What
//!   anyone can bring without a right has a part of the others: however many users bring it, deposits
//!   are closed.
//! - If no thread can be started, the descriptors wait. The caller never closes them.
//! - Nothing waits for these threads: the process can exit while they sleep.

mod crews;
mod depositor;
mod descriptor;
mod queue;
mod turn;
mod waiting;

pub(crate) use depositor::Depositor;
pub(crate) use descriptor::DeferredClose;
pub(crate) use queue::CloseQueue;
