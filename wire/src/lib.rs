//! The wire protocol of fdbroker: bytes and descriptors in, messages out.
//!
//! This crate does no I/O and makes no system call. It owns the byte layouts (`docs/protocol.md`
//! shows them on one page) and their limits. It owns the rule by which descriptors that arrive on a
//! stream are bound to their messages. It trusts nobody: whatever bytes and descriptors are fed to
//! a [`Decoder`], it neither panics nor holds more than its [`Limits`] allow.
//!
//! All integers are in native byte order: both ends are on one machine.
#![forbid(unsafe_code)]

pub mod claim;
pub mod connection;
mod control;
mod decode;
mod fault;
mod fields;
mod frame;
mod inspected;
pub mod many;
mod message;
pub mod named;
pub mod opcode;
mod payload;
mod route;
mod size;
pub mod version2;

pub use connection::{Connection, ConnectionWriter};
pub use control::{
    Account, Control, DepositNumber, Described, Handover, Joined, KnownName, Lease, Malformed,
    NameKind, Opened, PolicyText, Relay, Setup, Subordinates, Tally,
};
pub use decode::Decoder;
pub use fault::Fault;
pub use fdbroker_types::{Errno, Index, NotANumber, Slot, Tag};
pub use frame::Limits;
pub use message::{
    Add, Extended, Hello, Info, Message, Reply, add_head, del, get, hello, info, reply, tag,
};
pub use payload::Payload;
pub use size::{MAX_ANSWER, MAX_DESCRIPTORS, MAX_PAYLOAD, MAX_RECORD, MAX_TEXT};
