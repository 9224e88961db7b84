//! What is on users' accounts: connections, and what has still to be closed.

use crate::fields::{Body, Fields};

/// What a user had, and is of no use any more.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Tally {
    /// Whose it was: of connections the user who pays, of the rest the user itself.
    pub uid: u32,
    /// How many descriptors that have left their slots.
    pub deposits: u32,
    /// How many connections that have ended.
    pub connections: u32,
    /// How many resources that were opened and sent to it.
    pub openings: u32,
}

/// A deposit's number, chosen by the worker. No later worker chooses it again.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct DepositNumber(pub u64);

/// A connection of a worker's.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Joined<F> {
    /// Its number, chosen by the worker.
    pub number: u32,
    /// Whose it is, on whose account it is closed.
    pub uid: u32,
    /// The connection.
    pub socket: F,
}

impl Body {
    pub(super) fn tally(&mut self, tally: Tally) {
        let Tally { uid, deposits, connections, openings } = tally;
        self.u32(uid).u32(deposits).u32(connections).u32(openings);
    }

    pub(super) fn connections<F>(&mut self, joined: Vec<Joined<F>>, left: &[u32]) -> Vec<F> {
        self.u32(u32::try_from(joined.len()).unwrap_or(u32::MAX));
        let mut sockets = Vec::with_capacity(joined.len());
        for Joined { number, uid, socket } in joined {
            self.u32(number).u32(uid);
            sockets.push(socket);
        }
        for number in left {
            self.u32(*number);
        }
        sockets
    }
}

impl Fields<'_> {
    pub(super) fn tally(&mut self) -> Option<Tally> {
        Some(Tally {
            uid: self.u32()?,
            deposits: self.u32()?,
            connections: self.u32()?,
            openings: self.u32()?,
        })
    }

    /// As many sockets as the message says, and numbers to its end.
    pub(super) fn connections<F>(&mut self, sockets: Vec<F>) -> Option<(Vec<Joined<F>>, Vec<u32>)> {
        if usize::try_from(self.u32()?).ok()? != sockets.len() {
            return None;
        }
        let mut joined = Vec::with_capacity(sockets.len());
        for socket in sockets {
            joined.push(Joined { number: self.u32()?, uid: self.u32()?, socket });
        }
        Some((joined, self.numbers_to_the_end()?))
    }

    pub(super) fn deposits_to_the_end(&mut self) -> Option<Vec<DepositNumber>> {
        let mut numbers = Vec::new();
        while !self.0.is_empty() {
            numbers.push(DepositNumber(self.u64()?));
        }
        Some(numbers)
    }

    pub(super) fn numbers_to_the_end(&mut self) -> Option<Vec<u32>> {
        let mut numbers = Vec::new();
        while !self.0.is_empty() {
            numbers.push(self.u32()?);
        }
        Some(numbers)
    }
}
