//! The journals that earlier supervisors left. There is one, unless a supervisor died while it exchanged them, or somebody
//! else has stored things too.

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;

use super::journal::Entries;
use super::state::State;
use super::store::Room;
use crate::fd::{CloseQueue, Depositor};

/// A journal that was opened, by its number.
type Opened = (u64, (State, Entries));

/// The number of a journal, and what is wrong with it.
pub(super) type Unreadable = (u64, String);

/// All of them.
#[derive(Default)]
pub(super) struct Journals {
    /// The newest that can be read.
    pub(super) opened: Option<Opened>,
    /// Those that are not older, and cannot be read.
    pub(super) unreadable: Vec<Unreadable>,
}

impl Journals {
    /// Opens the newest that can be read, of these, by their numbers.
    pub(super) fn open(
        mut numbered: BTreeMap<u64, Vec<OwnedFd>>,
        close_queue: &CloseQueue,
    ) -> Self {
        let mut journals = Self::default();
        while let (None, Some((number, memories))) = (&journals.opened, numbered.pop_last()) {
            memories.into_iter().for_each(|memory| journals.try_one(number, memory));
        }
        let older = numbered.into_values().flatten();
        older.for_each(|memory| drop(close_queue.hold(Depositor::Nobody, memory)));
        journals
    }

    fn try_one(&mut self, number: u64, memory: OwnedFd) {
        match State::open(memory, number, Room::told()) {
            Ok(opened) if self.is_better(&opened.1) => self.opened = Some((number, opened)),
            Ok(_) => {}
            Err(problem) => self.unreadable.push((number, problem)),
        }
    }

    /// Whether this is what to go on with, where another one of the same name can be read too.
    fn is_better(&self, entries: &Entries) -> bool {
        let standing = |entries: &Entries| (entries.damage.is_none(), entries.deposits.len());
        let found = self.opened.as_ref();
        found.is_none_or(|(_, (_, found))| standing(entries) > standing(found))
    }
}
