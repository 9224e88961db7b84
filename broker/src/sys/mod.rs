//! The only unsafe code of the broker: system calls that no crate of ours wraps soundly.
//!
//! Every function here is safe to call; each unsafe block says on what that rests.
#![allow(unsafe_code)]

pub(crate) mod adopt;
pub(crate) mod apart;
pub(crate) mod ktls;
pub(crate) mod landlock;
pub(crate) mod memory;
pub(crate) mod peer;
pub(crate) mod receive;
pub(crate) mod same;
pub(crate) mod signal;
pub(crate) mod socket;
pub(crate) mod trap;
pub(crate) mod watch;
