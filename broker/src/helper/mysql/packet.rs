//! Packets of MySQL's protocol: a length, a number that counts the packets of both sides, and a body.

use std::ops::Range;

use zeroize::Zeroizing;

use super::misspoken::malformed;
use crate::helper::answer::Failure;
use crate::helper::stream::Stream;

/// The size of what stands before a body.
const HEAD: usize = 4;

/// The packets of a log-in, which begin with the server's first one.
pub(super) struct Packets<'s, 'a> {
    stream: &'s mut Stream<'a>,
    /// The number of the next packet, from either side.
    number: u8,
}

impl<'s, 'a> Packets<'s, 'a> {
    pub(super) fn new(stream: &'s mut Stream<'a>) -> Self {
        Self { stream, number: 0 }
    }

    /// Takes the server's next packet; returns where its body is. Its length is checked before it is waited for.
    ///
    /// # Errors
    /// If none comes, or it is too long, or out of order.
    pub(super) fn take(&mut self) -> Result<Range<usize>, Failure> {
        let head = self.stream.take(HEAD)?;
        let head: [u8; HEAD] = self.stream.bytes(head).try_into().unwrap_or_default();
        let [low, middle, high, number] = head;
        if number != self.number {
            return Err(malformed("number of a packet"));
        }
        self.number = number.wrapping_add(1);
        let length = u32::from_le_bytes([low, middle, high, 0]);
        self.stream.take(usize::try_from(length).unwrap_or(usize::MAX))
    }

    /// Returns the body of a packet that was taken.
    pub(super) fn bytes(&self, body: Range<usize>) -> &[u8] {
        self.stream.bytes(body)
    }

    /// Returns whether what is sent stays on this machine.
    pub(super) fn is_local(&self) -> bool {
        self.stream.is_local()
    }

    /// Sends a packet. Its body is far shorter than the 16 MiB of one: a credential has 64 KiB at most.
    ///
    /// # Errors
    /// As [`Stream::send`].
    pub(super) fn send(&mut self, body: &[u8]) -> Result<(), Failure> {
        let [low, middle, high, _] = u32::try_from(body.len()).unwrap_or(u32::MAX).to_le_bytes();
        let head = [low, middle, high, self.number];
        self.number = self.number.wrapping_add(1);
        self.stream.send(&Zeroizing::new([&head, body].concat()))
    }
}
