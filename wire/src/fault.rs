//! What is wrong with a message.

use crate::Errno;

/// Why a message was not one: what to answer, and whether the connection can go on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Fault {
    /// What to answer.
    pub errno: Errno,
    /// The sentence for the answer and the log.
    pub reason: &'static str,
    /// The stream is out of step, or the peer broke the rule about descriptors: answer, then end
    /// the connection. The decoder returns nothing more.
    pub fatal: bool,
}

impl Fault {
    pub(crate) const fn fatal(errno: Errno, reason: &'static str) -> Self {
        Self { errno, reason, fatal: true }
    }

    pub(crate) const fn survivable(errno: Errno, reason: &'static str) -> Self {
        Self { errno, reason, fatal: false }
    }
}
