//! What is written to a journal is read again.

use fdbroker_wire::{Described, Lease, Relay, Slot, Tag};

use super::super::leased::Leased;
use super::super::object_number::ObjectNumber;
use super::*;
use crate::process_identity::ProcessIdentity;
use crate::supervisor::deposits::kept::Kept;

const SLOT: Slot = Slot::new(7, 8).unwrap();
const OTHER: Slot = Slot::new(7, 9).unwrap();
const PROCESS: ProcessIdentity = ProcessIdentity { pid: 7, number: 8, start: 9 };
const TAGS: [Tag; 2] = [SLOT.tag, Slot::new(8, 0).unwrap().tag];

fn kept(slot: Slot, payload: &[u8]) -> Kept {
    let payer = crate::payer::Payer::named(7);
    Kept { slot, payer, ufd: 5, payload: payload.into(), descriptor: None, leaving: None }
}

fn keep(journal: &mut Journal, kept: &Kept) -> At {
    journal.append(&Record::Kept(kept, None)).unwrap()
}

fn open(journal: &Journal) -> Result<Entries, String> {
    Journal::open(journal.share().unwrap()).map(|(_, entries)| entries)
}

fn read(journal: &Journal) -> Result<Vec<(Slot, Vec<u8>)>, String> {
    let deposits = open(journal)?.deposits.into_iter();
    Ok(deposits.map(|(slot, entry)| (slot, entry.payload.to_vec())).collect())
}

fn owners(journal: &Journal) -> Vec<(Tag, ProcessIdentity)> {
    open(journal).unwrap().owners.into_iter().collect()
}

fn lease(number: u64) -> Leased {
    let peer = "tcp:192.0.2.7:5432".to_owned();
    let lease = Lease {
        number,
        resource: "database".to_owned(),
        slot: SLOT,
        connection: Described { relay: Relay::Ktls, peer, session: Some(815) },
        uid: 7,
        pid: 7,
        since: 70,
        expires: Some(71),
    };
    Leased { lease, process: Some(PROCESS) }
}

/// The same lease of the version before: how it is written there, and what is read of it.
fn lease_of_before(journal: &Journal, number: u64, object: u64) -> (Vec<u8>, Leased) {
    let numbers = [number, PROCESS.number, PROCESS.start, 70, 71].map(u64::to_ne_bytes).concat();
    let payload = [&journal.mark[..], &numbers, &[7_u32, 3].map(u32::to_ne_bytes).concat()];
    let payload = [&payload.concat()[..], b"database"].concat();
    let (tag, index) = (i32::from(SLOT.tag.get()), SLOT.index.get());
    let head = [tag, index, 7, 0].map(i32::to_ne_bytes).concat();
    let kind = [4, u32::try_from(payload.len()).unwrap()].map(u32::to_ne_bytes).concat();
    let entry = [&kind[..], &head, &object.to_ne_bytes(), &payload].concat();
    let mut leased = lease(number);
    leased.lease.connection = Described { relay: Relay::Ktls, ..Described::default() };
    (entry, leased)
}

fn all(journal: &Journal) -> Vec<u8> {
    let length = journal.memory.metadata().unwrap().len();
    let mut bytes = vec![0; usize::try_from(length).unwrap()];
    journal.memory.read_exact_at(&mut bytes, 0).unwrap();
    bytes
}

/// Blocks of memory.
fn memory(journal: &Journal) -> u64 {
    std::os::unix::fs::MetadataExt::blocks(&journal.memory.metadata().unwrap())
}

#[test]
fn what_is_kept_at_the_end_is_read() {
    let mut journal = Journal::begin().unwrap();
    journal.append(&Record::Kept(&kept(SLOT, b"first"), Some(ObjectNumber(4)))).unwrap();
    keep(&mut journal, &kept(OTHER, b""));
    journal.append(&Record::Left(OTHER)).unwrap();
    let last = Record::Kept(&kept(SLOT, &[1; 70000]), Some(ObjectNumber(6)));
    let at = journal.append(&last).unwrap();
    let (mut journal, mut entries) = Journal::open(journal.share().unwrap()).unwrap();
    assert_eq!(entries.choose(|_| true), 1);
    let payload = vec![1; 70000].into();
    let last = JournalEntry {
        slot: SLOT,
        ufd: 5,
        object: Some(ObjectNumber(6)),
        payload,
        at,
        former: None,
    };
    assert_eq!(entries.deposits.into_values().collect::<Vec<_>>(), [last]);
    // And it goes on from there.
    keep(&mut journal, &kept(OTHER, b"more"));
    assert_eq!(read(&journal).unwrap().len(), 2);
}

#[test]
fn the_last_owner_of_each_tag_is_read() {
    let mut journal = Journal::begin().unwrap();
    let mut own = |tag, owner| journal.append(&Record::Owned(tag, owner)).map(drop).unwrap();
    let other = ProcessIdentity { number: 0, ..PROCESS };
    own(TAGS[0], Some(PROCESS));
    own(TAGS[1], Some(other));
    own(TAGS[0], None);
    own(TAGS[0], Some(other));
    own(TAGS[1], Some(PROCESS));
    assert_eq!(owners(&journal), [(TAGS[0], other), (TAGS[1], PROCESS)]);
    journal.append(&Record::Owned(TAGS[0], None)).unwrap();
    assert_eq!(owners(&journal), [(TAGS[1], PROCESS)]);
}

#[test]
fn leases_that_have_not_ended_are_read() {
    let mut journal = Journal::begin().unwrap();
    let mut bare = Leased { process: None, ..lease(2) };
    (bare.lease.connection, bare.lease.expires) = (Described::default(), None);
    for leased in [&lease(1), &bare, &lease(3)] {
        journal.append(&Record::Leased(leased, ObjectNumber(leased.lease.number + 10))).unwrap();
    }
    journal.append(&Record::Ended(&lease(3))).unwrap();
    let leases: Vec<_> = open(&journal).unwrap().leases.into_values().collect();
    assert_eq!(leases, [(lease(1), ObjectNumber(11)), (bare, ObjectNumber(12))]);
}

#[test]
fn what_was_noted_of_processes_under_another_kernel_is_not_read() {
    let mut journal = Journal::begin().unwrap();
    journal.append(&Record::Owned(TAGS[0], Some(PROCESS))).unwrap();
    journal.append(&Record::Leased(&lease(1), ObjectNumber(1))).unwrap();
    let mut other = Journal::begin().unwrap();
    other.memory.write_all_at(&all(&journal), 0).unwrap();
    other.set_range(journal.start, journal.end).unwrap();
    let entries = open(&other).unwrap();
    assert_eq!((entries.owners.len(), entries.leases.len()), (0, 0));
    let entries = open(&journal).unwrap();
    assert_eq!((entries.owners.len(), entries.leases.len()), (1, 1));
}

#[test]
fn a_journal_of_the_version_before_is_read_and_goes_on_as_one_of_this() {
    let mut journal = Journal::begin().unwrap();
    keep(&mut journal, &kept(SLOT, b"payload"));
    journal.memory.write_all_at(&BEFORE.to_ne_bytes(), VERSION_AT).unwrap();
    let (entry, leased) = lease_of_before(&journal, 1, 11);
    journal.memory.write_all_at(&entry, journal.end).unwrap();
    journal.set_range(journal.start, journal.end + entry.len() as u64).unwrap();
    let (mut journal, entries) = Journal::open(journal.share().unwrap()).unwrap();
    assert_eq!(entries.deposits.len(), 1);
    let found: Vec<_> = entries.leases.into_values().collect();
    assert_eq!(found, [(leased.clone(), ObjectNumber(11))]);
    // Both ways of writing a lease are read beside each other.
    journal.append(&Record::Leased(&lease(2), ObjectNumber(12))).unwrap();
    let found: Vec<_> = open(&journal).unwrap().leases.into_values().collect();
    assert_eq!(found, [(leased, ObjectNumber(11)), (lease(2), ObjectNumber(12))]);
    journal.append(&Record::Owned(TAGS[0], Some(PROCESS))).unwrap();
    let mut version = [0; 4];
    journal.memory.read_exact_at(&mut version, VERSION_AT).unwrap();
    assert_eq!(u32::from_ne_bytes(version), VERSION);
    assert_eq!((read(&journal).unwrap().len(), owners(&journal).len()), (1, 1));
}

#[test]
fn an_entry_that_was_half_written_does_not_count() {
    let mut journal = Journal::begin().unwrap();
    keep(&mut journal, &kept(SLOT, b"whole"));
    journal.write_record(journal.end, &Record::Kept(&kept(OTHER, b"half"), None)).unwrap();
    assert_eq!(read(&journal).unwrap(), [(SLOT, b"whole".to_vec())]);
    // And the next one takes its place.
    journal.append(&Record::Left(SLOT)).unwrap();
    assert!(read(&journal).unwrap().is_empty());
}

#[test]
fn what_is_wiped_is_not_there() {
    let mut journal = Journal::begin().unwrap();
    let at = keep(&mut journal, &kept(SLOT, b"secret"));
    keep(&mut journal, &kept(OTHER, b"another"));
    journal.wipe(at, 6).unwrap();
    let found = |text: &[u8]| all(&journal).windows(text.len()).any(|bytes| bytes == text);
    assert!(!found(b"secret") && found(b"another"));
}

#[test]
fn what_is_no_journal_of_this_version_is_refused() {
    let mut journal = Journal::begin().unwrap();
    keep(&mut journal, &kept(SLOT, b"payload"));
    let refused = |at: u64, bytes: &[u8]| {
        let mut before = vec![0; bytes.len()];
        journal.memory.read_exact_at(&mut before, at).unwrap();
        journal.memory.write_all_at(bytes, at).unwrap();
        let result = read(&journal).unwrap_err();
        journal.memory.write_all_at(&before, at).unwrap();
        result
    };
    assert!(refused(0, b"x").contains("no journal"));
    assert!(refused(8, &4_u32.to_ne_bytes()).contains("has version 4; this broker reads"));
    assert!(refused(8, &1_u32.to_ne_bytes()).contains("has version 1; this broker reads"));
    assert!(refused(16, &1_000_u64.to_ne_bytes()).contains("is valid from"));
    assert!(refused(32, &9_u32.to_ne_bytes()).contains("kind 9"));
    assert!(refused(36, &u32::MAX.to_ne_bytes()).contains("a payload of"));
    assert!(refused(36, &8_u32.to_ne_bytes()).contains("cannot be read"));
    assert!(refused(40, &(-1_i32).to_ne_bytes()).contains("names no slot"));
    assert!(read(&journal).is_ok());
    let null = File::open("/dev/null").unwrap().into();
    assert!(Journal::open(null).err().unwrap().contains("cannot be read"));
}

/// What can be wrong with an entry.
enum Damaged {
    Kind,
    /// Its end is missing.
    Cut,
    /// The journal has no end behind the last one.
    End,
}

impl Damaged {
    fn make(&self, journal: &Journal, At(at): At) {
        let written = match self {
            Self::Kind => journal.memory.write_all_at(&9_u32.to_ne_bytes(), at),
            Self::Cut => journal.memory.set_len(at + 7),
            Self::End => journal.memory.write_all_at(&(at + 9000).to_ne_bytes(), 24),
        };
        written.unwrap();
    }
}

#[test]
fn what_stands_before_the_damage_is_read_and_goes_on_from_there() {
    for damage in [Damaged::Kind, Damaged::Cut, Damaged::End] {
        let mut journal = Journal::begin().unwrap();
        keep(&mut journal, &kept(SLOT, b"before"));
        let at = keep(&mut journal, &kept(OTHER, b"damaged"));
        keep(&mut journal, &kept(SLOT, b"behind"));
        damage.make(&journal, at);
        let (mut journal, entries) = Journal::open(journal.share().unwrap()).unwrap();
        let found = entries.damage.unwrap();
        assert!(found.lost > 0 && found.problem.contains("at byte"), "{}", found.problem);
        assert!(entries.deposits.contains_key(&SLOT));
        keep(&mut journal, &kept(OTHER, b"next"));
        assert!(open(&journal).unwrap().damage.is_none());
        assert_eq!(read(&journal).unwrap().last(), Some(&(OTHER, b"next".to_vec())));
    }
}

#[test]
fn what_is_given_up_takes_no_memory() {
    let mut journal = Journal::begin().unwrap();
    let (large, other) = (kept(SLOT, &[1; 30000]), kept(OTHER, b"other"));
    for _ in 0..30 {
        keep(&mut journal, &large);
    }
    assert!(!journal.is_wasteful(30000), "it is short");
    for _ in 0..30 {
        keep(&mut journal, &large);
    }
    assert!(journal.is_wasteful(30000));
    assert!(!journal.is_wasteful(1_200_000));
    let before = memory(&journal);
    let last = keep(&mut journal, &large);
    journal.forget_before(Some(last)).unwrap();
    assert!(memory(&journal) < before / 10, "{} of {before}", memory(&journal));
    assert_eq!(read(&journal).unwrap(), [(SLOT, vec![1; 30000])]);
    let records = [Record::Kept(&large, None), Record::Kept(&other, None)];
    assert_eq!(journal.rewrite(records.into_iter()).unwrap().len(), 2);
    assert!(memory(&journal) < before / 10, "{} of {before}", memory(&journal));
    assert_eq!(read(&journal).unwrap().len(), 2);
    journal.forget_before(None).unwrap();
    assert_eq!(read(&journal).unwrap(), []);
}
