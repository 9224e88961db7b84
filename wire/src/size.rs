//! How large the parts of a message are, or can be.

/// The largest payload of a deposit, in bytes.
pub const MAX_PAYLOAD: usize = 32768;
/// The largest text of a [`Reply`](crate::Reply), in bytes, its closing NUL included.
pub const MAX_TEXT: usize = 1024;
/// The most descriptors that one message may carry: the kernel's `SCM_MAX_FD`, see unix(7).
pub const MAX_DESCRIPTORS: usize = 253;
/// The room that one answer of version 1 can take: an ADD with the largest payload.
pub const MAX_ANSWER: usize = ADD_HEAD + MAX_PAYLOAD;
/// The most that the worker puts before a payload that it deposits with the supervisor, in bytes.
pub const MAX_RECORD: usize = 30 + 255;

/// Sizes of the fixed parts, in bytes.
pub(crate) const HELLO_SIZE: usize = 16;
pub(crate) const ADD_HEAD: usize = 16;
pub(crate) const SLOT_SIZE: usize = 8;
pub(crate) const TAG_SIZE: usize = 4;
pub(crate) const REPLY_HEAD: usize = 6;
pub(crate) const INFO_SIZE: usize = 12;
pub(crate) const EXTENDED_HEAD: usize = 8;
