//! The input of a target, read from its front.

/// What has not been read.
#[derive(Clone, Debug)]
pub struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    /// All of the input.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// The next byte; 0 behind the end.
    pub fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        *first
    }

    /// A number below `limit`, which is 1 at least.
    pub fn below(&mut self, limit: u8) -> u8 {
        self.byte() % limit
    }

    /// Two bytes, as a number.
    pub fn word(&mut self) -> u16 {
        u16::from_ne_bytes([self.byte(), self.byte()])
    }

    /// Four bytes, as a number.
    pub fn number(&mut self) -> i32 {
        i32::from_ne_bytes([self.byte(), self.byte(), self.byte(), self.byte()])
    }

    /// As many bytes as there are, at most `count`.
    pub fn bytes(&mut self, count: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(count.min(self.0.len()));
        self.0 = rest;
        taken
    }

    /// Whether anything is left.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// All that is left.
    pub fn rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.0)
    }
}
