//! Where in the journal everything is, and what is first.

use std::collections::BTreeMap;

use fdbroker_wire::{Slot, Tag};

use super::journal::At;

/// What an entry is about.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Key {
    Deposit(Slot),
    /// What was there before, as long as that may come back.
    Former(Slot),
    Owner(Tag),
    Lease(u64),
}

/// All of them, both ways.
#[derive(Default)]
pub(super) struct Positions {
    of: BTreeMap<Key, At>,
    at: BTreeMap<At, Key>,
}

impl Positions {
    /// It is there now.
    pub(super) fn set(&mut self, key: Key, at: At) {
        self.remove(key);
        self.of.insert(key, at);
        self.at.insert(at, key);
    }

    /// It is in the journal no more. Returns where it was.
    pub(super) fn remove(&mut self, key: Key) -> Option<At> {
        let at = self.of.remove(&key)?;
        self.at.remove(&at);
        Some(at)
    }

    /// What is first.
    pub(super) fn first(&self) -> Option<(At, Key)> {
        self.at.first_key_value().map(|(at, key)| (*at, *key))
    }
}
