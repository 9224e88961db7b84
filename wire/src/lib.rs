//! The wire protocol of fdbroker: bytes and descriptors in, messages out.
//!
//! This crate does no I/O and makes no system call. It owns the byte layouts
//! (`docs/protocol.md` shows them on one page), their limits, and the rule by which
//! descriptors that arrive on a stream are bound to the messages they belong to. It trusts
//! nobody: whatever bytes and descriptors are fed to a [`Decoder`], it neither panics nor
//! holds more than its [`Limits`] allow.
//!
//! All integers are in native byte order: both ends are on one machine.
#![forbid(unsafe_code)]

pub mod claim;
mod control;
mod decode;
mod errno;
mod fields;
mod frame;
mod kind;
pub mod many;
mod message;
mod payload;
mod slot;
pub mod version2;

pub use control::{
    Account, Control, Joined, KnownName, Malformed, NameKind, PolicyText, Setup, Tally,
};
pub use decode::{Decoder, Fault};
pub use errno::Errno;
pub use frame::Limits;
pub use message::{
    Add, Extended, Hello, Info, Message, Reply, add_head, del, get, hello, info, reply, tag,
};
pub use payload::Payload;
pub use slot::{Index, NotANumber, Slot, Tag};

/// The largest payload of a deposit, in bytes.
pub const MAX_PAYLOAD: usize = 32768;
/// The largest text of a [`Reply`], in bytes, its closing NUL included.
pub const MAX_TEXT: usize = 1024;
/// The most descriptors that one message may carry: the kernel's `SCM_MAX_FD`, see unix(7).
pub const MAX_DESCRIPTORS: usize = 253;
/// The room that one answer of version 1 can take: an ADD with the largest payload.
pub const MAX_ANSWER: usize = ADD_HEAD + MAX_PAYLOAD;
/// What the worker puts before each payload that it deposits with the supervisor, in bytes.
pub const MAX_RECORD: usize = 16;

/// Sizes of the fixed parts, in bytes.
pub(crate) const HELLO_SIZE: usize = 16;
pub(crate) const ADD_HEAD: usize = 16;
pub(crate) const SLOT_SIZE: usize = 8;
pub(crate) const TAG_SIZE: usize = 4;
pub(crate) const REPLY_HEAD: usize = 6;
pub(crate) const INFO_SIZE: usize = 12;
pub(crate) const EXTENDED_HEAD: usize = 8;

/// Opcodes: 0–6 are version 1, those from [`opcode::FIRST_EXTENDED`] up share one eight-byte
/// head and are version 2; of these, the ones from [`opcode::FIRST_PRIVATE`] up are spoken
/// between worker and supervisor alone.
pub mod opcode {
    /// Asks for version 2; reserved in version 1.
    pub const HELLO: i16 = 0;
    /// Deposits; also the answer to a [`GET`].
    pub const ADD: i16 = 1;
    /// Deletes a deposit.
    pub const DEL: i16 = 2;
    /// Answers an [`ADD`], a [`DEL`], and whatever failed.
    pub const REPLY: i16 = 3;
    /// Asks how much a tag holds.
    pub const TAG: i16 = 4;
    /// Answers a [`TAG`].
    pub const INFO: i16 = 5;
    /// Asks for a deposit.
    pub const GET: i16 = 6;
    /// The first opcode with the head that all later ones share.
    pub const FIRST_EXTENDED: i16 = 64;
    /// Asks which slot or tag a name means.
    pub const FIND: i16 = 64;
    /// Answers a [`FIND`].
    pub const FOUND: i16 = 65;
    /// Asks which slots there are.
    pub const LIST: i16 = 66;
    /// Answers a [`LIST`].
    pub const LISTING: i16 = 67;
    /// Asks the broker to read its policy again.
    pub const RELOAD: i16 = 68;
    /// Answers a [`RELOAD`], a [`PURGE`] and a [`STATUS`].
    pub const REPORT: i16 = 69;
    /// Asks to delete deposits, whoever left them.
    pub const PURGE: i16 = 70;
    /// Asks how the broker is doing.
    pub const STATUS: i16 = 72;
    /// Asks for, or takes, what lies in many slots.
    pub const GET_MANY: i16 = 74;
    /// Answers a [`GET_MANY`].
    pub const GOT_MANY: i16 = 75;
    /// Deposits in many slots.
    pub const ADD_MANY: i16 = 76;
    /// Answers an [`ADD_MANY`] and a [`DEL_MANY`].
    pub const DONE_MANY: i16 = 77;
    /// Deletes what lies in many slots.
    pub const DEL_MANY: i16 = 78;
    /// Asks to take a tag over.
    pub const CLAIM: i16 = 80;
    /// Answers a [`CLAIM`].
    pub const CLAIMED: i16 = 81;
    /// The owner lets its claimant take over what it left.
    pub const RELEASE: i16 = 82;
    /// The claimant is the owner from now on.
    pub const READY: i16 = 83;
    /// Gives up a claim, or a tag.
    pub const WITHDRAW: i16 = 84;
    /// Tells, unasked, what happened to a tag that is owned or claimed.
    pub const EVENT: i16 = 85;
    /// The first opcode that is never served to a peer.
    pub const FIRST_PRIVATE: i16 = 96;
}
