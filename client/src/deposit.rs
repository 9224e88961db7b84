//! What lies in slots, as it is got and as it is made.

use std::os::fd::{BorrowedFd, OwnedFd};

use fdbroker_wire::Index;

use crate::Error;

/// What a slot holds.
#[derive(Debug)]
pub struct Deposit {
    /// The descriptor, close-on-exec, if the deposit has one.
    pub descriptor: Option<OwnedFd>,
    /// The number that the descriptor had where it was deposited; −1 for a deposit without one.
    pub ufd: i32,
    /// The bytes, at most [`crate::MAX_PAYLOAD`].
    pub payload: Vec<u8>,
}

/// A deposit to be made, among many of its tag.
#[derive(Clone, Copy, Debug)]
pub struct NewDeposit<'a> {
    /// Where.
    pub index: Index,
    /// Its descriptor, if it has one; its number here becomes the deposit's.
    pub descriptor: Option<BorrowedFd<'a>>,
    /// Its bytes, at most [`crate::MAX_PAYLOAD`].
    pub payload: &'a [u8],
}

/// What was got of many slots, in the order in which they were asked for.
pub type ManyDeposits = Vec<(Index, Result<Deposit, Error>)>;
