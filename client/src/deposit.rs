//! The deposits of slots, as they are received and as they are made.

use std::fmt;
use std::os::fd::{BorrowedFd, OwnedFd};

use fdbroker_wire::{Connection, Index};

use crate::Error;
use crate::shown::Bytes;

/// What a slot holds. Its `Debug` shows how many bytes there are, and none of them.
pub struct Deposit {
    /// The descriptor, close-on-exec, if the deposit has one.
    pub descriptor: Option<OwnedFd>,
    /// The number that the descriptor had where it was deposited; −1 for a deposit without one.
    pub ufd: i32,
    /// The bytes, at most [`crate::MAX_PAYLOAD`].
    pub payload: Vec<u8>,
}

/// A deposit to be made, among many of its tag. Its `Debug` shows how many bytes there are, and
/// none of them.
#[derive(Clone, Copy)]
pub struct NewDeposit<'a> {
    /// Where.
    pub index: Index,
    /// Its descriptor, if it has one; its number here becomes the deposit's.
    pub descriptor: Option<BorrowedFd<'a>>,
    /// Its bytes, at most [`crate::MAX_PAYLOAD`].
    pub payload: &'a [u8],
}

impl Deposit {
    /// Returns what the descriptor is connected to, or `None` if the payload is none of a connection.
    ///
    /// The broker writes it for a resource of the kind `connect`. In any other slot it is as true as whatever the
    /// depositor wrote: `find` returns [`Found::Resource`](crate::Found::Resource) for a slot that the broker fills.
    #[must_use]
    pub fn connection(&self) -> Option<Connection<'_>> {
        self.descriptor.as_ref().and_then(|_| Connection::parse(&self.payload))
    }
}

/// What was got of many slots, in the order in which they were asked for.
pub type ManyDeposits = Vec<(Index, Result<Deposit, Error>)>;

impl fmt::Debug for Deposit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { descriptor, ufd, payload } = self;
        let mut shown = f.debug_struct("Deposit");
        shown.field("descriptor", descriptor).field("ufd", ufd);
        shown.field("payload", &Bytes(payload)).finish()
    }
}

impl fmt::Debug for NewDeposit<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { index, descriptor, payload } = self;
        let mut shown = f.debug_struct("NewDeposit");
        shown.field("index", index).field("descriptor", descriptor);
        shown.field("payload", &Bytes(payload)).finish()
    }
}
