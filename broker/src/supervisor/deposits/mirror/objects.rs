//! The open file descriptions that the service manager has, each once.
//!
//! The service manager takes no second descriptor of one open file description, and does not say so. So
//! they are told apart here, by kcmp(2): deposits that are duplicates share one.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::BorrowedFd;
use std::rc::Rc;

use crate::fd::PeerFd;
use crate::payer::Payer;
use crate::supervisor::deposits::kept::Kept;
use crate::sys::same::compare;

/// What an open file description is called in the store. No number is used twice: a slot that was empty
/// for a moment must not come back with what it had before.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct ObjectNumber(pub(super) u64);

/// How many bytes their names have, each with a separator: they come back in one variable of the environment, of
/// which execve(2) takes 128 KiB. With more, no service manager could start the broker again.
const MOST_NAMES: usize = 120_000;

/// One, and the deposits that have it.
struct Object {
    number: ObjectNumber,
    /// On whose account it is.
    payer: Payer,
    holders: Vec<Rc<Kept>>,
}

/// All of them, in the kernel's order.
pub(super) struct Objects {
    /// How many there may be.
    most: usize,
    sorted: Vec<Object>,
    last: u64,
    /// Bytes of all names, and how many each user has.
    names: usize,
    owned: BTreeMap<Payer, usize>,
}

impl ObjectNumber {
    /// How many bytes it takes in the list of all names: a letter, the number, and a separator.
    fn name_size(self) -> usize {
        format!("o{:x}:", self.0).len()
    }
}

/// Which one a deposit has.
pub(super) struct Numbered {
    pub(super) number: ObjectNumber,
    /// Whether nobody had it before.
    pub(super) is_new: bool,
}

/// One that no deposit has any more, and on whose account it was.
pub(super) struct Left {
    pub(super) number: ObjectNumber,
    pub(super) payer: Payer,
}

impl Objects {
    /// Room for so many.
    pub(super) fn new(most: usize) -> Self {
        let (sorted, owned) = Default::default();
        Self { most, sorted, last: 0, names: 0, owned }
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
        let at = match self.position(descriptor)? {
            Ok(at) => {
                let Some(object) = self.sorted.get_mut(at) else { return Ok(None) };
                object.holders.push(Rc::clone(kept));
                return Ok(Some(Numbered { number: object.number, is_new: false }));
            }
            Err(at) => at,
        };
        if number.is_none() && !self.has_room(kept.payer) {
            return Ok(None);
        }
        let number = number.unwrap_or_else(|| ObjectNumber(self.last.saturating_add(1)));
        self.last = self.last.max(number.0);
        self.names += number.name_size();
        *self.owned.entry(kept.payer).or_default() += 1;
        self.sorted
            .insert(at, Object { number, payer: kept.payer, holders: vec![Rc::clone(kept)] });
        Ok(Some(Numbered { number, is_new: true }))
    }

    /// Takes a deposit out; returns the open file description if no other one has it.
    ///
    /// # Errors
    /// As kcmp(2).
    pub(super) fn remove(&mut self, kept: &Rc<Kept>) -> io::Result<Option<Left>> {
        let Some(descriptor) = descriptor(kept) else { return Ok(None) };
        let Ok(at) = self.position(descriptor)? else { return Ok(None) };
        let Some(object) = self.sorted.get_mut(at) else { return Ok(None) };
        object.holders.retain(|holder| !Rc::ptr_eq(holder, kept));
        if !object.holders.is_empty() {
            return Ok(None);
        }
        let Object { number, payer, .. } = self.sorted.remove(at);
        self.names -= number.name_size();
        if let Some(owned) = self.owned.get_mut(&payer) {
            *owned -= 1;
            if *owned == 0 {
                self.owned.remove(&payer);
            }
        }
        Ok(Some(Left { number, payer }))
    }

    fn has_room(&self, payer: Payer) -> bool {
        let left = self.most.saturating_sub(self.sorted.len());
        let owned = self.owned.get(&payer).copied().unwrap_or(0);
        owned < left && self.names < MOST_NAMES
    }

    /// No number up to this one is used again.
    pub(super) fn skip(&mut self, number: ObjectNumber) {
        self.last = self.last.max(number.0);
    }

    /// Where it is, or where it belongs.
    fn position(&self, wanted: BorrowedFd<'_>) -> io::Result<Result<usize, usize>> {
        let mut failed = None;
        let found = self.sorted.binary_search_by(|object| {
            let own = object.holders.first().and_then(descriptor);
            let compared =
                own.map_or(Err(io::ErrorKind::NotFound.into()), |own| compare(own, wanted));
            compared.unwrap_or_else(|error| {
                failed = Some(error);
                std::cmp::Ordering::Equal
            })
        });
        failed.map_or(Ok(found), Err)
    }
}

fn descriptor(kept: &Rc<Kept>) -> Option<BorrowedFd<'_>> {
    kept.descriptor.as_ref().and_then(PeerFd::descriptor)
}

#[cfg(test)]
mod tests {
    use std::os::fd::OwnedFd;

    use fdbroker_wire::Slot;

    use super::*;
    use crate::fd::{CloseQueue, Depositor};

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

    #[test]
    fn duplicates_share_a_number_that_is_given_up_by_the_last() {
        let (queue, mut objects) = (CloseQueue::new(), Objects::new(MOST));
        let one: OwnedFd = std::io::pipe().unwrap().0.into();
        let twins = [1, 2].map(|index| kept(index, Some(one.try_clone().unwrap()), &queue));
        let other = kept(3, Some(std::io::pipe().unwrap().0.into()), &queue);
        let numbers = [&twins[0], &other, &twins[1]]
            .map(|kept| objects.add(kept, None).unwrap().unwrap())
            .map(|found| (found.number.0, found.is_new));
        assert_eq!(numbers, [(1, true), (2, true), (1, false)]);
        assert!(objects.remove(&twins[0]).unwrap().is_none());
        assert_eq!(objects.remove(&twins[1]).unwrap().unwrap().number, ObjectNumber(1));
        // Its number is not used again.
        assert_eq!(objects.add(&twins[0], None).unwrap().unwrap().number, ObjectNumber(3));
        assert!(objects.add(&kept(4, None, &queue), None).unwrap().is_none());
    }

    #[test]
    fn many_are_found_again() {
        let (queue, mut objects) = (CloseQueue::new(), Objects::new(MOST));
        let all: Vec<_> = (0..200)
            .map(|index| kept(index, Some(std::io::pipe().unwrap().1.into()), &queue))
            .collect();
        let numbers: Vec<_> =
            all.iter().map(|kept| objects.add(kept, None).unwrap().unwrap().number).collect();
        for (kept, number) in all.iter().zip(numbers) {
            assert_eq!(objects.remove(kept).unwrap().unwrap().number, number);
        }
        assert_eq!((objects.sorted.len(), objects.names, objects.owned.len()), (0, 0, 0));
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
