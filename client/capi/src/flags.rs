//! The flags of `escrow_init`.

/// Flags, as the header numbers them; others than these mean nothing.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Flags(u32);

impl Flags {
    pub(crate) const CREAT: u32 = 1;
    pub(crate) const VERBOSE: u32 = 1 << 1;
    pub(crate) const FORCE: u32 = 1 << 2;

    pub(crate) fn new(bits: u32) -> Self {
        Self(bits)
    }

    /// Whether to start a broker where nobody listens. FORCE says what becomes of the socket file
    /// then, and programs set it without CREAT, so it asks for the same.
    pub(crate) fn start(self) -> bool {
        self.0 & (Self::CREAT | Self::FORCE) != 0
    }

    pub(crate) fn verbose(self) -> bool {
        self.0 & Self::VERBOSE != 0
    }
}
