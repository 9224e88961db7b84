//! The open file descriptions that the service manager has, each once.
//!
//! The service manager takes no second descriptor of one open file description, and does not say so. So
//! they are told apart here, by kcmp(2): deposits that are duplicates share one.

use std::collections::BTreeMap;
use std::io;
use std::rc::Rc;

use super::capacity::Capacity;
use super::object_number::ObjectNumber;
use super::object_table::{Object, ObjectTable, Spot, descriptor};
use crate::payer::Payer;
use crate::supervisor::deposits::kept::Kept;

/// How many bytes their names have, each with a separator: they come back in one variable of the environment, of
/// which execve(2) takes 128 KiB. With more, no service manager could start the broker again.
const MOST_NAMES: usize = 120_000;

/// All of them.
pub(super) struct Objects {
    capacity: Capacity,
    table: ObjectTable,
    /// Those that are to be removed from the store, by the last deposit that had each.
    leaving: BTreeMap<ObjectNumber, Rc<Kept>>,
    /// Those that the store may have still, and whose descriptors are closed here.
    ghosts: BTreeMap<ObjectNumber, Payer>,
    last: u64,
    /// Bytes of all names, and how many each user has: of what the store has, or is to have.
    names: usize,
    owned: BTreeMap<Payer, usize>,
}

/// Which one a deposit has, and on whose account it is.
pub(super) struct Numbered {
    pub(super) number: ObjectNumber,
    pub(super) payer: Payer,
    pub(super) standing: Standing,
}

/// How the store stands to it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Standing {
    /// It has never had it.
    New,
    /// It has it, or is to have it.
    Shared,
    /// It was to be removed.
    Leaving,
}

impl Objects {
    /// Room for so many.
    pub(super) fn new(most: usize) -> Self {
        let (table, leaving, ghosts, owned) = Default::default();
        let capacity = Capacity::new(most);
        Self { capacity, table, leaving, ghosts, last: 0, names: 0, owned }
    }

    /// Enters a deposit that has a descriptor: under `number` if the store has it already. Returns
    /// `None` if there is no room for it: no user has more than there is left for others.
    ///
    /// # Errors
    /// As kcmp(2).
    pub(super) fn add(
        &mut self,
        kept: &Rc<Kept>,
        number: Option<ObjectNumber>,
    ) -> io::Result<Option<Numbered>> {
        let Some(descriptor) = descriptor(kept) else { return Ok(None) };
        match self.table.position(descriptor)? {
            Ok(at) => Ok(self.take(at, kept)),
            Err(_) if number.is_none() && !self.has_room(kept.payer) => Ok(None),
            Err(at) => Ok(Some(self.insert(at, kept, number))),
        }
    }

    /// Has one that is there have one more deposit.
    fn take(&mut self, at: Spot, kept: &Rc<Kept>) -> Option<Numbered> {
        let object = self.table.at(at)?;
        let is_leaving = self.leaving.remove(&object.number).is_some();
        let standing = if is_leaving { Standing::Leaving } else { Standing::Shared };
        if is_leaving {
            object.holders.clear();
        }
        object.holders.push(Rc::clone(kept));
        Some(Numbered { number: object.number, payer: object.payer, standing })
    }

    fn insert(&mut self, at: Spot, kept: &Rc<Kept>, number: Option<ObjectNumber>) -> Numbered {
        let number = number.unwrap_or_else(|| ObjectNumber(self.last.saturating_add(1)));
        let payer = kept.payer;
        self.last = self.last.max(number.0);
        self.names += number.name_size();
        *self.owned.entry(payer).or_default() += 1;
        let holders = vec![Rc::clone(kept)];
        self.table.insert(at, Object { number, payer, holders });
        Numbered { number, payer, standing: Standing::New }
    }

    /// Takes a deposit out. Returns the open file description if no other one has it: it stays until it
    /// has [`gone`](Objects::gone).
    ///
    /// # Errors
    /// As kcmp(2).
    pub(super) fn remove(&mut self, kept: &Rc<Kept>) -> io::Result<Option<(ObjectNumber, Payer)>> {
        let Some(descriptor) = descriptor(kept) else { return Ok(None) };
        let object = match self.table.position(descriptor)? {
            Ok(at) => self.table.at(at),
            Err(_) => self.table.holding(kept),
        };
        let Some(object) = object else { return Ok(None) };
        let is_last = object.holders.iter().all(|holder| Rc::ptr_eq(holder, kept));
        if is_last {
            self.leaving.insert(object.number, Rc::clone(kept));
        } else {
            object.holders.retain(|holder| !Rc::ptr_eq(holder, kept));
        }
        Ok(is_last.then_some((object.number, object.payer)))
    }

    /// The store does not have it any more, unless it was deposited again. Returns the last deposit that had it.
    pub(super) fn gone(&mut self, number: ObjectNumber) -> Option<Rc<Kept>> {
        let last = self.leaving.remove(&number);
        let object = last.as_ref().and_then(|_| self.table.remove(number));
        let payer = object.map(|object| object.payer);
        let payer = payer.or_else(|| self.ghosts.remove(&number))?;
        self.names -= number.name_size();
        let owned = self.owned.entry(payer).or_default();
        *owned = owned.saturating_sub(1);
        if *owned == 0 {
            self.owned.remove(&payer);
        }
        last
    }

    /// Closes those that are to be removed from the store: it does not answer.
    pub(super) fn let_go(&mut self) {
        let leaving = std::mem::take(&mut self.leaving);
        let gone = leaving.keys().filter_map(|number| self.table.remove(*number));
        self.ghosts.extend(gone.map(|object| (object.number, object.payer)));
    }

    /// What was stored last found no room. So many are to be stored behind it.
    pub(super) fn refuse_last(&mut self, unsent: usize) {
        self.capacity.refuse(self.count().saturating_sub(unsent));
    }

    /// All is stored but so many. Returns whether the store has more room than was known.
    pub(super) fn accept_last(&mut self, unsent: usize) -> bool {
        self.capacity.accept(self.count().saturating_sub(unsent))
    }

    /// One more may be stored, to see whether there is room by now.
    pub(super) fn try_one(&mut self) {
        self.capacity.try_one();
    }

    /// Whether the store has turned out to have room for no more.
    pub(super) fn is_full(&self) -> bool {
        self.capacity.is_full(self.count())
    }

    /// Whether something has found no room, so that one at a time is stored.
    pub(super) fn is_bounded(&self) -> bool {
        self.capacity.is_found()
    }

    /// How many the store has, or may have.
    fn count(&self) -> usize {
        self.table.len() + self.ghosts.len()
    }

    /// How many of them a user has.
    pub(super) fn owned(&self, payer: Payer) -> usize {
        self.owned.get(&payer).copied().unwrap_or(0)
    }

    /// The deposits that have one.
    pub(super) fn holders(&self, number: ObjectNumber) -> Vec<Rc<Kept>> {
        self.table.with(number).map(|object| object.holders.clone()).unwrap_or_default()
    }

    pub(super) fn has_room(&self, payer: Payer) -> bool {
        self.names < MOST_NAMES && self.capacity.has_room(self.count(), self.owned(payer))
    }

    /// No number up to this one is used again.
    pub(super) fn skip(&mut self, number: ObjectNumber) {
        self.last = self.last.max(number.0);
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::OwnedFd;

    use fdbroker_wire::Slot;

    use super::*;
    use crate::fd::{CloseQueue, Depositor, PeerFd};

    const MOST: usize = 1000;
    const USER: Payer = Payer::named(7);

    fn kept(index: i32, descriptor: Option<OwnedFd>, queue: &CloseQueue) -> Rc<Kept> {
        let slot = Slot::new(1, index).unwrap();
        let descriptor = descriptor.map(|end| queue.hold(Depositor::Nobody, end));
        Rc::new(Kept {
            slot,
            payer: USER,
            ufd: 3,
            payload: b""[..].into(),
            descriptor,
            leaving: None,
        })
    }

    fn pipe() -> OwnedFd {
        std::io::pipe().unwrap().0.into()
    }

    #[test]
    fn duplicates_share_a_number_that_is_given_up_by_the_last() {
        let (queue, mut objects) = (CloseQueue::new(), Objects::new(MOST));
        let one = pipe();
        let twins = [1, 2].map(|index| kept(index, Some(one.try_clone().unwrap()), &queue));
        let other = kept(3, Some(pipe()), &queue);
        let numbers = [&twins[0], &other, &twins[1]]
            .map(|kept| objects.add(kept, None).unwrap().unwrap())
            .map(|found| (found.number.0, found.standing));
        let expected = [(1, Standing::New), (2, Standing::New), (1, Standing::Shared)];
        assert_eq!(numbers, expected);
        assert_eq!(objects.remove(&twins[0]).unwrap(), None);
        assert_eq!(objects.remove(&twins[1]).unwrap(), Some((ObjectNumber(1), USER)));
        assert!(Rc::ptr_eq(&objects.gone(ObjectNumber(1)).unwrap(), &twins[1]));
        // Its number is not used again.
        assert_eq!(objects.add(&twins[0], None).unwrap().unwrap().number, ObjectNumber(3));
        assert!(objects.add(&kept(4, None, &queue), None).unwrap().is_none());
    }

    #[test]
    fn what_is_deposited_again_before_the_store_has_let_go_of_it_is_told_from_others() {
        let (queue, mut objects) = (CloseQueue::new(), Objects::new(MOST));
        let one = pipe();
        let twins = [1, 2].map(|index| kept(index, Some(one.try_clone().unwrap()), &queue));
        objects.add(&twins[0], None).unwrap();
        objects.remove(&twins[0]).unwrap();
        let again = objects.add(&twins[1], None).unwrap().unwrap();
        assert_eq!((again.number, again.standing), (ObjectNumber(1), Standing::Leaving));
        assert!(objects.gone(ObjectNumber(1)).is_none(), "another deposit has it");
        objects.remove(&twins[1]).unwrap();
        // What is let go counts until the store has let go of it too.
        objects.let_go();
        assert_eq!((objects.table.len(), objects.owned[&USER]), (0, 1));
        assert!(objects.gone(ObjectNumber(1)).is_none());
        assert_eq!((objects.names, objects.owned.len(), objects.ghosts.len()), (0, 0, 0));
    }

    #[test]
    fn many_are_found_again() {
        let (queue, mut objects) = (CloseQueue::new(), Objects::new(MOST));
        let all: Vec<_> = (0..200).map(|index| kept(index, Some(pipe()), &queue)).collect();
        let numbers: Vec<_> =
            all.iter().map(|kept| objects.add(kept, None).unwrap().unwrap().number).collect();
        for (kept, number) in all.iter().zip(numbers) {
            assert_eq!(objects.remove(kept).unwrap(), Some((number, USER)));
            assert!(objects.gone(number).is_some());
        }
        assert_eq!((objects.table.len(), objects.names, objects.owned.len()), (0, 0, 0));
    }

    #[test]
    fn those_of_one_file_are_told_apart_and_found_under_its_other_number() {
        let (queue, mut objects) = (CloseQueue::new(), Objects::new(MOST));
        let file = tempfile::NamedTempFile::new().unwrap();
        let open = || OwnedFd::from(std::fs::File::open(file.path()).unwrap());
        let all: Vec<_> = (0..50).map(|index| kept(index, Some(open()), &queue)).collect();
        for (kept, number) in all.iter().zip(1..) {
            let added = objects.add(kept, None).unwrap().unwrap();
            assert_eq!((added.number, added.standing), (ObjectNumber(number), Standing::New));
        }
        let descriptor = all[7].descriptor.as_ref().and_then(PeerFd::descriptor).unwrap();
        let twin = descriptor.try_clone_to_owned().unwrap();
        let twin = kept(99, Some(twin), &queue);
        let added = objects.add(&twin, None).unwrap().unwrap();
        assert_eq!((added.number, added.standing), (ObjectNumber(8), Standing::Shared));
        for (kept, number) in all.iter().zip(1..).filter(|(_, number)| *number != 8) {
            assert_eq!(objects.remove(kept).unwrap(), Some((ObjectNumber(number), USER)));
            assert!(objects.gone(ObjectNumber(number)).is_some());
        }
        assert_eq!(objects.table.len(), 1);
        assert!(objects.table.holding(&twin).is_some_and(|object| object.number == added.number));
    }

    #[test]
    fn one_user_leaves_room_for_others() {
        let (queue, mut objects) = (CloseQueue::new(), Objects::new(MOST));
        objects.owned.insert(USER, MOST);
        let one = kept(1, Some(std::io::pipe().unwrap().0.into()), &queue);
        assert!(objects.add(&one, None).unwrap().is_none());
        objects.owned.insert(USER, 7);
        assert!(objects.add(&one, None).unwrap().is_some());
        // What the store has already is no question of room.
        objects.owned.insert(USER, MOST);
        let stored = kept(2, Some(std::io::pipe().unwrap().0.into()), &queue);
        assert!(objects.add(&stored, Some(ObjectNumber(9))).unwrap().is_some());
        let name = crate::supervisor::deposits::mirror::store::Name::Object(ObjectNumber(0x1f));
        assert_eq!(ObjectNumber(0x1f).name_size(), name.to_string().len() + 1);
    }
}
