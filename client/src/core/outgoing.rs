//! A message as it is sent: its bytes in two parts, and the descriptors that travel with the first byte.

use std::os::fd::BorrowedFd;

/// A message that is ready to be sent.
#[derive(Clone, Debug, Default)]
pub(crate) struct Outgoing<'a> {
    /// Its fixed part.
    pub(crate) head: &'a [u8],
    /// What follows.
    pub(crate) payload: &'a [u8],
    /// What travels with its first byte.
    pub(crate) descriptors: Vec<BorrowedFd<'a>>,
}

impl<'a> Outgoing<'a> {
    /// Returns one without payload and descriptors.
    pub(crate) fn plain(head: &'a [u8]) -> Self {
        Self { head, ..Self::default() }
    }

    /// How many bytes it has.
    pub(crate) fn length(&self) -> usize {
        self.head.len() + self.payload.len()
    }

    /// The bytes behind the first `sent`, and the descriptors if nothing was sent.
    pub(crate) fn rest(&self, sent: usize) -> (&'a [u8], &'a [u8], &[BorrowedFd<'a>]) {
        let of_head = sent.min(self.head.len());
        let descriptors = if sent == 0 { &self.descriptors[..] } else { &[] };
        (&self.head[of_head..], &self.payload[sent - of_head..], descriptors)
    }
}
