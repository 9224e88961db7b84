//! How bytes that may be secret are shown: how many there are, and none of them.

use std::fmt;

/// Bytes of a request or of a deposit, for `Debug`.
pub(crate) struct Bytes<'a>(pub(crate) &'a [u8]);

impl fmt::Debug for Bytes<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.0.len())
    }
}
