//! What comes back of what the store has, and what is removed there.

use rustix::fs::{MemfdFlags, memfd_create};

use super::super::journal::{Journal, Record};
use super::*;
use crate::log::Format;
use crate::payer::Payer;

fn pipe() -> OwnedFd {
    std::io::pipe().unwrap().0.into()
}

/// A journal that has a deposit in this slot, which names this object.
fn journal(index: i32, object: Option<u64>) -> OwnedFd {
    let mut journal = Journal::begin().unwrap();
    let slot = Slot::new(1, index).unwrap();
    let (payer, payload) = (Payer::named(7), b"payload"[..].into());
    let kept = Kept { slot, payer, ufd: 3, payload, descriptor: None, leaving: None };
    journal.append(&Record::Kept(&kept, object.map(ObjectNumber))).unwrap();
    journal.share().unwrap()
}

fn garbled() -> OwnedFd {
    let memory = memfd_create(c"garbled", MemfdFlags::CLOEXEC).unwrap();
    rustix::io::write(&memory, &[0x5a; 4096]).unwrap();
    memory
}

/// What comes back of it: deposits, and what the service manager is told.
fn resumed(left: Vec<(&str, OwnedFd)>) -> (Vec<i32>, Vec<String>) {
    let (mut stored, log) = (Stored::default(), Log::open(Format::Text).unwrap());
    for (name, descriptor) in left {
        assert!(stored.take(name, descriptor).is_ok(), "{name}");
    }
    let (mut state, returned) = stored.resume(&CloseQueue::new(), &log).unwrap();
    let told = std::iter::from_fn(|| {
        let told = match state.orders.next()? {
            Order::Put(name, _) => format!("+{name}"),
            Order::Remove(name) => format!("-{name}"),
        };
        state.sent();
        Some(told)
    });
    let mut told: Vec<_> = told.collect();
    told.sort();
    let deposits = returned.deposits.into_iter();
    (deposits.map(|resumed| resumed.into_parts().0.slot.index.get()).collect(), told)
}

#[test]
fn what_is_no_journal_and_what_none_names_is_removed_and_does_no_harm() {
    let left = vec![("j5", garbled()), ("o7", pipe()), ("o7", pipe()), ("p", pipe())];
    let told = ["+j6", "-j5", "-o7", "-p"].map(str::to_owned).to_vec();
    assert_eq!(resumed(left), (vec![], told));
    // What is no memory at all.
    let told = ["+j6", "-j5"].map(str::to_owned).to_vec();
    assert_eq!(resumed(vec![("j5", pipe())]), (vec![], told));
}

/// Starts with a journal that has deposits; returns how many came back.
fn start_with(journal: &Journal) -> usize {
    let (mut stored, log) = (Stored::default(), Log::open(Format::Text).unwrap());
    assert!(stored.take("j1", journal.share().unwrap()).is_ok());
    let (mut state, returned) = stored.resume(&CloseQueue::new(), &log).unwrap();
    let count = returned.deposits.len();
    for resumed in returned.deposits {
        let (Add { slot, ufd, payload, .. }, Mirrored { number, at }) = resumed.into_parts();
        let (payer, descriptor, leaving) = (Payer::named(7), None, None);
        let kept = Rc::new(Kept { slot, payer, ufd, payload, descriptor, leaving });
        let entered = state.change(|state| {
            state.enter(&kept, number, at);
            Ok(())
        });
        entered.unwrap();
    }
    let resumed = state.change(|state| {
        state.resumed(returned.has_losses);
        Ok(())
    });
    resumed.unwrap();
    count
}

#[test]
fn a_long_journal_comes_back_as_a_whole_at_each_start() {
    let mut journal = Journal::begin().unwrap();
    // More than what is not tidied.
    for index in 0..100 {
        let slot = Slot::new(1, index).unwrap();
        let (payer, payload) = (Payer::named(7), vec![1; 1 << 14].into());
        let kept = Kept { slot, payer, ufd: -1, payload, descriptor: None, leaving: None };
        journal.append(&Record::Kept(&kept, None)).unwrap();
    }
    assert_eq!([(); 3].map(|()| start_with(&journal)), [100; 3]);
}

#[test]
fn the_newest_journal_counts_and_others_are_removed() {
    let left = vec![("j3", journal(3, None)), ("j4", journal(4, Some(1))), ("o1", pipe())];
    assert_eq!(resumed(left), (vec![4], vec!["-j3".to_owned()]));
}

#[test]
fn a_journal_that_cannot_be_read_hides_no_older_one_that_can() {
    // One that can be read, but for its only entry; garbage; no memory; and one of a later version.
    let broken = journal(1, None);
    rustix::io::pwrite(&broken, &9_u32.to_ne_bytes(), 32).unwrap();
    let later = journal(2, None);
    rustix::io::pwrite(&later, &77_u32.to_ne_bytes(), 8).unwrap();
    let left = vec![
        ("j3", journal(3, None)),
        ("j2", journal(4, None)),
        ("j7", later),
        ("j8", pipe()),
        ("j9", garbled()),
        ("ja", broken),
    ];
    let told = ["-j2", "-j7", "-j8", "-j9", "-ja"].map(str::to_owned).to_vec();
    assert_eq!(resumed(left), (vec![3], told));
}

#[test]
fn a_second_journal_of_the_same_name_hides_none_that_can_be_read() {
    for order in [[0, 1], [1, 0]] {
        let left = order.map(|one| ("j3", if one == 0 { journal(3, None) } else { garbled() }));
        // To remove it would remove the other one, which has its name.
        assert_eq!(resumed(left.into()), (vec![3], vec![]));
    }
}

#[test]
fn of_a_damaged_journal_what_stands_before_comes_back_and_the_rest_is_counted() {
    let memory = journal(3, None);
    let (mut whole, _) = Journal::open(memory.try_clone().unwrap()).unwrap();
    let end = rustix::fs::fstat(&memory).unwrap().st_size;
    whole.append(&Record::Left(Slot::new(1, 3).unwrap())).unwrap();
    rustix::io::pwrite(&memory, &9_u32.to_ne_bytes(), end.unsigned_abs()).unwrap();
    let (mut stored, log) = (Stored::default(), Log::open(Format::Text).unwrap());
    for (name, descriptor) in [("j1", memory), ("o1", pipe()), ("o2", pipe())] {
        assert!(stored.take(name, descriptor).is_ok(), "{name}");
    }
    let (state, returned) = stored.resume(&CloseQueue::new(), &log).unwrap();
    assert_eq!((state.lost_at_start, state.was_damaged), (2, true));
    assert_eq!((returned.deposits.len(), returned.has_losses), (1, true));
}

#[test]
fn of_two_descriptors_with_one_name_neither_comes_back() {
    let left = vec![("j4", journal(4, Some(1))), ("o1", pipe()), ("o1", pipe())];
    assert_eq!(resumed(left), (vec![], vec!["-o1".to_owned()]));
}

#[test]
fn what_came_without_a_journal_makes_room_for_one_and_is_counted() {
    let (mut stored, log) = (Stored::default(), Log::open(Format::Text).unwrap());
    for name in ["o3", "o4", "p"] {
        assert!(stored.take(name, pipe()).is_ok(), "{name}");
    }
    let (mut state, _) = stored.resume(&CloseQueue::new(), &log).unwrap();
    assert_eq!(state.lost_at_start, 2);
    for name in [3, 4].map(|number| Name::Object(ObjectNumber(number))) {
        assert!(matches!(state.orders.next(), Some(Order::Remove(removed)) if removed == name));
        state.sent();
    }
    assert!(matches!(state.orders.next(), Some(Order::Put(Name::Journal(1), _))));
}

#[test]
fn a_deposit_whose_descriptor_is_not_there_is_lost_and_counted() {
    let (mut stored, log) = (Stored::default(), Log::open(Format::Text).unwrap());
    assert!(stored.take("j4", journal(4, Some(2))).is_ok());
    let (state, _) = stored.resume(&CloseQueue::new(), &log).unwrap();
    assert_eq!(state.lost_at_start, 1);
}

#[test]
fn a_deposit_whose_descriptor_is_not_there_does_not_come_back() {
    let left = vec![("j4", journal(4, Some(2))), ("o1", pipe())];
    assert_eq!(resumed(left), (vec![], vec!["-o1".to_owned()]));
}

#[test]
fn what_has_no_name_of_ours_is_left_to_others() {
    let mut stored = Stored::default();
    for name in ["fdbrokerd.socket", "stored", "o", "j-1", "o01"] {
        assert!(stored.take(name, pipe()).is_err(), "{name}");
    }
}
