//! Deposits that have killed workers: set aside, no worker gets them until the policy is reloaded.
//!
//! To the running worker, such a slot is empty: another deposit can be put there. So a deposit
//! returns only with the next worker, which gets everything again, and only if its slot is empty
//! then. Until that it waits here. None is lost, and none takes another's place.

use std::collections::BTreeMap;
use std::rc::Rc;

use fdbroker_wire::Slot;

use super::kept::Kept;

/// How many deposits may be set aside.
const MAX: usize = 64;

/// All of them, oldest first: there can be several of one slot.
#[derive(Default)]
pub(crate) struct Aside(Vec<One>);

struct One {
    kept: Rc<Kept>,
    /// It may be given to workers again.
    readmitted: bool,
}

impl Aside {
    /// Whether there is room for one more.
    pub(crate) fn has_room(&self) -> bool {
        self.0.len() < MAX
    }

    pub(crate) fn add(&mut self, kept: Rc<Kept>, readmitted: bool) {
        self.0.push(One { kept, readmitted });
    }

    /// Says of all that they may be given to workers again. Returns how many that are.
    pub(crate) fn readmit(&mut self) -> usize {
        self.0.iter_mut().for_each(|one| one.readmitted = true);
        self.0.len()
    }

    /// Puts those that may be given to workers again back into their slots, where those are empty; returns
    /// them.
    pub(crate) fn give_back(&mut self, to: &mut BTreeMap<Slot, Rc<Kept>>) -> Vec<Rc<Kept>> {
        let mut given_back = Vec::new();
        let all = std::mem::take(&mut self.0);
        for one in all {
            if one.readmitted && !to.contains_key(&one.kept.slot) {
                given_back.push(Rc::clone(&one.kept));
                to.insert(one.kept.slot, one.kept);
            } else {
                self.0.push(one);
            }
        }
        given_back
    }

    /// All of them, oldest first, and whether they may be given to workers again.
    pub(crate) fn all(&self) -> impl Iterator<Item = (&Rc<Kept>, bool)> {
        self.0.iter().map(|one| (&one.kept, one.readmitted))
    }

    /// Their slots.
    pub(crate) fn slots(&self) -> impl Iterator<Item = Slot> {
        self.0.iter().map(|one| one.kept.slot)
    }
}
