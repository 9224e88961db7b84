//! What is none of the private messages.

/// A message of this channel that does not read as one: the other end is not of this version.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Malformed {
    /// The opcode.
    pub op: i16,
}

impl std::fmt::Display for Malformed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "malformed message with opcode {} on the control channel", self.op)
    }
}

impl std::error::Error for Malformed {}
