//! How much one user has, for operators.

/// How much a user has, or may have.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub(crate) struct Holding {
    pub(crate) connections: u32,
    pub(crate) deposits: u32,
    /// Of payload.
    pub(crate) bytes: u64,
    /// Those that are deposited.
    pub(crate) descriptors: u32,
    /// Resources that are being opened.
    pub(crate) opening: u32,
}
