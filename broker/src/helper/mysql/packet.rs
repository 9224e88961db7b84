//! Packets of MySQL's protocol: a length, a number that counts the packets of both sides, and a body.

use std::ops::Range;

use zeroize::Zeroizing;

use crate::helper::answer::{Failure, Step};
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

    /// Takes the server's greeting, or finds it again if TLS has begun since: the stream keeps it. Returns where its
    /// body is.
    ///
    /// # Errors
    /// As [`Packets::take`].
    pub(super) fn greeting(&mut self) -> Result<Range<usize>, Failure> {
        if !self.stream.is_encrypted() {
            return self.take();
        }
        // After the greeting and the request for TLS.
        self.number = 2;
        let (_, length) = self.head(0..HEAD);
        Ok(HEAD..HEAD.saturating_add(length))
    }

    /// Takes the server's next packet; returns where its body is. Its length is checked before it is waited for.
    ///
    /// # Errors
    /// If none comes, or it is too long, or out of order.
    pub(super) fn take(&mut self) -> Result<Range<usize>, Failure> {
        let head = self.stream.take(HEAD)?;
        let (number, length) = self.head(head);
        if number != self.number {
            return Err(malformed("number of a packet"));
        }
        self.number = number.wrapping_add(1);
        self.stream.take(length)
    }

    /// Returns the number and the length that a packet's head says.
    fn head(&self, head: Range<usize>) -> (u8, usize) {
        let head: [u8; HEAD] = self.stream.bytes(head).try_into().unwrap_or_default();
        let [low, middle, high, number] = head;
        let length = u32::from_le_bytes([low, middle, high, 0]);
        (number, usize::try_from(length).unwrap_or(usize::MAX))
    }

    /// Returns the body of a packet that was taken.
    pub(super) fn bytes(&self, body: Range<usize>) -> &[u8] {
        self.stream.bytes(body)
    }

    /// Returns whether nobody between can read what is sent.
    pub(super) fn is_private(&self) -> bool {
        self.stream.is_encrypted() || self.stream.is_local()
    }

    /// Returns whether the server is encrypted to.
    pub(super) fn is_encrypted(&self) -> bool {
        self.stream.is_encrypted()
    }

    /// Returns the connection.
    pub(super) fn stream(&self) -> &Stream<'a> {
        self.stream
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

/// A packet of this name is not what the protocol says.
pub(super) fn malformed(what: &str) -> Failure {
    Failure::new(Step::LogIn, format!("the server's {what} is not valid: is it MySQL?"))
}
