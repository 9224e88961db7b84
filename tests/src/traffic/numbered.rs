//! The bytes that go over a connection: each is known by its number.

/// Which way bytes go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// From the service.
    Out,
    /// To it.
    In,
}

impl Way {
    /// The other one.
    #[must_use]
    pub fn back(self) -> Self {
        match self {
            Self::Out => Self::In,
            Self::In => Self::Out,
        }
    }
}

/// The byte with this number that goes this way over a connection.
#[must_use]
pub fn byte(connection: u32, way: Way, number: u64) -> u8 {
    let way = u64::from(way == Way::In);
    let mixed = (u64::from(connection) << 33 | way << 32).wrapping_add(number);
    mixed.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes()[0]
}
