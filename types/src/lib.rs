//! The words that the protocol, the policy, the daemon and the client share.
//!
//! - Where a deposit is: [`Tag`], [`Index`], [`Slot`].
//! - What it is: [`Kind`].
//! - What may be done with it: [`Right`].
//! - Why a request failed: [`Errno`].
//! - How text from others is shown: [`escape()`], [`quoted`]; and numbers: [`counted`].
//!
//! Each is a plain value: this crate reads no file, makes no system call and never panics.
#![forbid(unsafe_code)]

mod decimal;
mod errno;
mod escape;
mod kind;
mod number;
mod right;
mod slot;

pub use decimal::decimal;
pub use errno::Errno;
pub use escape::{
    Quoted, escape, escape_json, escape_lines, is_harmful, quoted, write_escaped, write_in_quotes,
};
pub use kind::{Kind, UnknownKind};
pub use number::counted;
pub use right::{Right, UnknownRight};
pub use slot::{Index, NotANumber, Slot, Tag};
