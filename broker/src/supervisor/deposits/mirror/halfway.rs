//! Whatever the service manager has read when the broker is killed: what comes back of a slot whose deposit was
//! being replaced.

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::rc::Rc;

use fdbroker_wire::Slot;

use super::orders::Order;
use super::resume::Stored;
use super::state::State;
use super::store::{Name, Room};
use crate::fd::{CloseQueue, Depositor};
use crate::log::{Format, Log};
use crate::payer::Payer;
use crate::supervisor::deposits::kept::Kept;

const SLOT: Slot = Slot::new(1, 5).unwrap();
const THIRD: Slot = Slot::new(1, 7).unwrap();
const OTHER: Slot = Slot::new(1, 6).unwrap();

/// A mirror, and what the service manager has.
struct Case {
    state: State,
    stored: BTreeMap<Name, OwnedFd>,
    queue: CloseQueue,
}

/// How a deposit's descriptor is to be kept.
#[derive(Clone, Copy, PartialEq)]
enum What {
    Stored,
    /// A payload alone.
    Payload,
    /// Of a kind that the service manager does not keep.
    Never,
}

impl Case {
    fn new() -> Self {
        let state = State::begin(1, Room::told()).unwrap();
        Self { state, stored: BTreeMap::new(), queue: CloseQueue::new() }
    }

    fn kept(&self, slot: Slot, text: &str, what: What) -> Rc<Kept> {
        let descriptor = match what {
            What::Payload => None,
            What::Stored => Some(std::io::pipe().unwrap().0.into()),
            What::Never => Some(std::fs::File::open("/dev/null").unwrap().into()),
        };
        let descriptor = descriptor.map(|end| self.queue.hold(Depositor::Nobody, end));
        let (payer, payload) = (Payer::named(7), text.as_bytes().into());
        Rc::new(Kept { slot, payer, ufd: 3, payload, descriptor, leaving: None })
    }

    fn duplicate(&self, of: &Kept, text: &str) -> Rc<Kept> {
        let descriptor = of.descriptor.as_ref().and_then(|end| end.descriptor()).unwrap();
        let descriptor = descriptor.try_clone_to_owned().unwrap();
        let descriptor = Some(self.queue.hold(Depositor::Nobody, descriptor));
        let payload = text.as_bytes().into();
        Rc::new(Kept { slot: of.slot, payer: of.payer, ufd: 3, payload, descriptor, leaving: None })
    }

    /// The next order reaches the service manager. Returns whether there was one.
    fn send(&mut self) -> bool {
        let Some(order) = self.state.orders.next() else { return false };
        match order {
            Order::Put(name, what) => {
                let descriptor = what.descriptor().unwrap().try_clone_to_owned().unwrap();
                self.stored.insert(name, descriptor);
            }
            Order::Remove(name) => drop(self.stored.remove(&name)),
        }
        self.state.sent();
        true
    }

    /// It has read everything.
    fn read(&mut self) {
        self.state.read();
        self.state.change(|_| Ok(())).unwrap();
    }

    /// What comes back of a slot if all of the broker is killed now.
    fn left(&self, slot: Slot) -> Option<String> {
        let (mut left, log) = (Stored::default(), Log::open(Format::Text).unwrap());
        for (name, descriptor) in &self.stored {
            let descriptor = descriptor.try_clone().unwrap();
            assert!(left.take(&name.to_string(), descriptor).is_ok());
        }
        let (_, returned) = left.resume(&self.queue, &log).unwrap();
        let adds = returned.deposits.into_iter().map(|resumed| resumed.into_parts().0);
        let add = adds.into_iter().find(|add| add.slot == slot)?;
        Some(String::from_utf8(add.payload.to_vec()).unwrap())
    }

    /// Sends everything; before and behind each step, one of these comes back.
    fn settle(&mut self, slot: Slot, expected: &[&str]) {
        loop {
            let left = self.left(slot);
            assert!(left.as_deref().is_some_and(|left| expected.contains(&left)), "{left:?}");
            if !self.send() {
                self.read();
                if self.state.orders.is_empty() {
                    return;
                }
            }
        }
    }

    fn keep(&mut self, kept: &Rc<Kept>, is_strict: bool) {
        self.state.change(|state| state.keep(kept, is_strict)).unwrap();
    }

    fn leave(&mut self, kept: &Rc<Kept>) {
        self.state.change(|state| state.leave(kept)).unwrap();
    }

    /// Keeps something, which is settled.
    fn with(what: What) -> (Self, Rc<Kept>) {
        let mut case = Self::new();
        case.send();
        let first = case.kept(SLOT, "first", what);
        case.keep(&first, true);
        while case.send() {}
        case.read();
        assert_eq!(case.left(SLOT).as_deref(), Some("first"));
        (case, first)
    }
}

#[test]
fn either_the_former_or_the_new_deposit_comes_back() {
    for [before, behind] in [
        [What::Stored, What::Stored],
        [What::Payload, What::Stored],
        [What::Stored, What::Payload],
        [What::Payload, What::Payload],
    ] {
        for is_strict in [false, true] {
            let (mut case, _) = Case::with(before);
            let second = case.kept(SLOT, "second", behind);
            case.keep(&second, is_strict);
            case.settle(SLOT, &["first", "second"]);
            assert_eq!(case.left(SLOT).as_deref(), Some("second"));
            assert_eq!(case.stored.len(), 1 + usize::from(behind == What::Stored));
            case.leave(&second);
            assert_eq!(case.left(SLOT), None);
        }
    }
}

#[test]
fn a_deposit_that_is_replaced_again_and_again_comes_back_as_one_of_them() {
    let (mut case, _) = Case::with(What::Stored);
    let mut expected = vec!["first".to_owned()];
    for round in 0..4 {
        let next = format!("next {round}");
        case.keep(&case.kept(SLOT, &next, What::Stored), round % 2 == 0);
        expected.push(next);
        let expected: Vec<_> = expected.iter().map(String::as_str).collect();
        assert!(expected.contains(&case.left(SLOT).unwrap().as_str()));
        if round == 1 {
            case.send();
        }
    }
    let expected: Vec<_> = expected.iter().map(String::as_str).collect();
    case.settle(SLOT, &expected);
    assert_eq!(case.left(SLOT).as_deref(), Some("next 3"));
    assert_eq!(case.stored.len(), 2);
}

#[test]
fn what_a_strict_tag_refuses_leaves_the_former_deposit() {
    for before in [What::Stored, What::Payload] {
        let (mut case, first) = Case::with(before);
        let refused = case.kept(SLOT, "refused", What::Never);
        case.keep(&refused, true);
        case.settle(SLOT, &["first"]);
        assert!(case.state.outlives(SLOT).is_err());
        // The worker puts it back.
        let back = match before {
            What::Payload => case.kept(SLOT, "first", before),
            _ => case.duplicate(&first, "first"),
        };
        case.keep(&back, true);
        assert_eq!(case.state.outlives(SLOT), Ok(true));
        case.settle(SLOT, &["first"]);
        case.leave(&back);
        assert_eq!(case.left(SLOT), None);
    }
}

#[test]
fn what_nobody_waits_for_takes_the_place_of_the_former_deposit() {
    let (mut case, _) = Case::with(What::Stored);
    let second = case.kept(SLOT, "second", What::Never);
    case.keep(&second, false);
    assert_eq!(case.left(SLOT), None);
    while case.send() {}
    assert_eq!(case.stored.len(), 1, "the journal");
}

#[test]
fn what_the_store_refuses_of_a_strict_tag_leaves_the_former_deposit() {
    for is_strict in [true, false] {
        let (mut case, _) = Case::with(What::Stored);
        let second = case.kept(SLOT, "second", What::Stored);
        case.keep(&second, is_strict);
        while case.send() {}
        // It was not kept.
        case.stored.retain(|name, _| *name != Name::Object(super::object_number::ObjectNumber(2)));
        case.state.change(State::refuse_last).unwrap();
        assert_eq!(case.left(SLOT).as_deref(), is_strict.then_some("first"));
        assert!(case.state.outlives(SLOT).is_err());
    }
}

#[test]
fn of_several_that_did_not_all_fit_those_are_stored_that_do() {
    // A journal, and three more.
    const MOST: usize = 4;
    let mut case = Case::new();
    case.send();
    case.read();
    let slots = (0..5).map(|index| Slot::new(1, index).unwrap());
    let all: Vec<_> = slots.map(|slot| case.kept(slot, "", What::Stored)).collect();
    all.iter().for_each(|kept| case.keep(kept, false));
    while case.send() {}
    case.state.change(State::refuse_last).unwrap();
    assert_eq!(case.state.count(), (0, 5));
    while case.send() {
        if !case.state.orders.has_sent_any() {
            case.state.change(|_| Ok(())).unwrap();
        } else if case.stored.len() <= MOST {
            case.state.accept_last();
            case.state.change(|_| Ok(())).unwrap();
        } else {
            case.state.change(State::refuse_last).unwrap();
        }
    }
    assert_eq!((case.state.count(), case.stored.len()), ((3, 2), MOST));
    // One leaves, and the next one is stored.
    let left = all.iter().find(|kept| case.state.outlives(kept.slot).is_ok()).unwrap();
    case.leave(left);
    while case.send() {
        case.read();
    }
    assert_eq!((case.state.count(), case.stored.len()), ((3, 1), MOST));
}

#[test]
fn nothing_that_the_store_refused_counts_if_the_journal_cannot_be_written() {
    let mut case = Case::new();
    case.send();
    let all = [SLOT, OTHER].map(|slot| case.kept(slot, "refused", What::Stored));
    case.keep(&case.kept(THIRD, "stays", What::Payload), true);
    all.iter().for_each(|kept| case.keep(kept, true));
    while case.send() {}
    // As where there is no memory.
    let journal = &case.stored[&Name::Journal(1)];
    rustix::fs::fcntl_add_seals(journal, rustix::fs::SealFlags::GROW).unwrap();
    assert!(case.state.change(State::refuse_last).is_err());
    for slot in [SLOT, OTHER] {
        assert!(case.state.outlives(slot).is_err(), "{slot}");
    }
}

#[test]
fn deleting_while_a_replacement_is_under_way_deletes_both() {
    for sent in 0..3 {
        let (mut case, _) = Case::with(What::Stored);
        let second = case.kept(SLOT, "second", What::Stored);
        case.keep(&second, true);
        for _ in 0..sent {
            case.send();
        }
        case.leave(&second);
        assert_eq!(case.left(SLOT), None);
        while case.send() {}
        case.read();
        while case.send() {}
        assert_eq!(case.stored.len(), 1, "the journal");
    }
}

#[test]
fn tidying_and_writing_the_journal_again_keep_the_former_deposit() {
    let (mut case, _) = Case::with(What::Stored);
    let second = case.kept(SLOT, "second", What::Stored);
    case.keep(&second, true);
    // More than a megabyte, most of it of no use.
    for _ in 0..60 {
        let other = case.kept(OTHER, &"x".repeat(30_000), What::Payload);
        case.keep(&other, false);
        assert_eq!(case.left(SLOT).as_deref(), Some("first"));
    }
    case.state.change(State::rewrite).unwrap();
    assert_eq!(case.left(SLOT).as_deref(), Some("first"));
    case.settle(SLOT, &["first", "second"]);
    assert_eq!(case.left(SLOT).as_deref(), Some("second"));
}
