//! The journal of the deposits: memory that the service manager keeps while no supervisor lives.
//!
//! What is kept and what leaves is appended. The head says from where to where the journal is valid, and is
//! written last. So a supervisor that dies while it writes leaves a journal without its last entry, and never
//! half of one. What is still so at its beginning is moved to its end bit by bit, and the memory before is given up.
//! Numbers are in this machine's byte order: a journal does not leave its kernel.

mod record;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, IoSlice};
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;

use fdbroker_wire::{Payload, Slot, Tag};
use rustix::fs::{AtFlags, FallocateFlags, MemfdFlags, StatxFlags, fallocate, memfd_create, statx};
use rustix::io::pwritev;

use self::record::{Fields, HEAD, Head, Mark, Said};
use super::leased::Leased;
use super::objects::ObjectNumber;
use crate::process_identity::ProcessIdentity;

pub(super) use self::record::Record;

/// What a journal of this broker begins with.
const MARK: [u8; 8] = *b"fdbroker";
/// The version of what follows. One that is not known is not read.
const VERSION: u32 = 2;
/// The one before: without owners and leases.
const BEFORE: u32 = 1;
const VERSION_AT: u64 = 8;
/// Mark, version, four bytes of nothing, and from where to where it is valid.
const FIRST: u64 = 32;
const RANGE_AT: u64 = 16;
/// A journal that is shorter is not tidied.
const SHORT: u64 = 1 << 20;

/// One that is written.
pub(super) struct Journal {
    memory: File,
    /// What it is known by to this kernel.
    mark: Mark,
    start: u64,
    end: u64,
}

/// Where an entry is in it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct At(u64);

/// A deposit, as a journal has it.
#[derive(PartialEq, Eq, Debug)]
pub(super) struct JournalEntry {
    pub(super) slot: Slot,
    pub(super) ufd: i32,
    /// The descriptor's, where there is one.
    pub(super) object: Option<ObjectNumber>,
    pub(super) payload: Payload,
    pub(super) at: At,
}

/// What is so at its end.
#[derive(Default)]
pub(super) struct Entries {
    pub(super) deposits: BTreeMap<Slot, JournalEntry>,
    /// The owners of tags that were noted while this kernel ran.
    pub(super) owners: BTreeMap<Tag, ProcessIdentity>,
    /// The leases likewise, by their numbers, and their connections.
    pub(super) leases: BTreeMap<u64, (Leased, ObjectNumber)>,
}

/// How many bytes an entry with so much payload has.
pub(super) fn size(payload: usize) -> usize {
    HEAD + payload
}

impl Journal {
    /// Begins one in which nothing is kept.
    ///
    /// # Errors
    /// As memfd_create(2) and write(2).
    pub(super) fn begin() -> io::Result<Self> {
        let flags = MemfdFlags::CLOEXEC;
        // Linux 6.3.
        let memory = memfd_create(c"fdbroker-journal", flags | MemfdFlags::NOEXEC_SEAL)
            .or_else(|_| memfd_create(c"fdbroker-journal", flags))?;
        let memory = File::from(memory);
        let mark = mark(&memory)?;
        let mut journal = Self { memory, mark, start: FIRST, end: FIRST };
        journal.memory.write_all_at(&[&MARK[..], &VERSION.to_ne_bytes(), &[0; 4]].concat(), 0)?;
        journal.set_range(FIRST, FIRST)?;
        Ok(journal)
    }

    /// Goes on with one that an earlier supervisor wrote; returns also what it has.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(super) fn open(memory: OwnedFd) -> Result<(Self, Entries), String> {
        let unreadable = |error: io::Error| format!("cannot be read: {error}");
        let memory = File::from(memory);
        let mut head = [0; 32];
        memory.read_exact_at(&mut head, 0).map_err(unreadable)?;
        let (start, end) = range(&head)?;
        let length = memory.metadata().map_err(unreadable)?.len();
        if end > length || start > end {
            return Err(format!("is valid from byte {start} to {end}, and has {length}"));
        }
        let mark = mark(&memory).map_err(unreadable)?;
        let journal = Self { memory, mark, start, end };
        let entries = journal.entries()?;
        // What follows is of this version.
        let written = journal.memory.write_all_at(&VERSION.to_ne_bytes(), VERSION_AT);
        written.map_err(|error| format!("cannot be written: {error}"))?;
        Ok((journal, entries))
    }

    /// Its memory, to be stored.
    ///
    /// # Errors
    /// As dup(2).
    pub(super) fn share(&self) -> io::Result<OwnedFd> {
        Ok(self.memory.try_clone()?.into())
    }

    /// Appends something. Returns where it is.
    ///
    /// # Errors
    /// As write(2): ENOMEM or ENOSPC. Then nothing was appended.
    pub(super) fn append(&mut self, record: &Record<'_>) -> io::Result<At> {
        let at = self.end;
        let end = self.write_record(at, record)?;
        self.set_range(self.start, end)?;
        Ok(At(at))
    }

    /// Wipes the payload of an entry that is of no use any more.
    ///
    /// # Errors
    /// As write(2).
    pub(super) fn wipe(&self, At(at): At, payload: usize) -> io::Result<()> {
        self.memory.write_all_at(&vec![0; payload], at + HEAD as u64)
    }

    /// Whether more than half of it is of no use any more, when so many bytes are.
    pub(super) fn is_wasteful(&self, useful: usize) -> bool {
        let length = self.end - self.start;
        length > SHORT && length / 2 > useful as u64
    }

    /// Gives up the memory of everything before an entry; of everything, without one.
    ///
    /// # Errors
    /// As write(2). Then the journal is as it was.
    pub(super) fn forget_before(&mut self, first: Option<At>) -> io::Result<()> {
        let before = self.start;
        self.set_range(first.map_or(self.end, |At(at)| at), self.end)?;
        self.punch(before);
        Ok(())
    }

    /// Writes what is so once more, behind what is there, and gives up the memory of that. Returns where each one
    /// is.
    ///
    /// # Errors
    /// As write(2). Then the journal is as it was.
    pub(super) fn rewrite<'a>(
        &mut self,
        records: impl Iterator<Item = Record<'a>>,
    ) -> io::Result<Vec<At>> {
        let (before, start) = (self.start, self.end);
        let (mut end, mut places) = (start, Vec::new());
        for record in records {
            places.push(At(end));
            end = self.write_record(end, &record)?;
        }
        self.set_range(start, end)?;
        self.punch(before);
        Ok(places)
    }

    /// Gives up the memory from there to the start.
    fn punch(&self, before: u64) {
        let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        if before < self.start {
            // Without it, memory is wasted; the journal is valid.
            let _ = fallocate(&self.memory, flags, before, self.start - before);
        }
    }

    /// Returns where it ends.
    fn write_record(&self, at: u64, record: &Record<'_>) -> io::Result<u64> {
        let (head, payload) = record.to_bytes(self.mark);
        let parts = [IoSlice::new(&head), IoSlice::new(&payload)];
        let written = pwritev(&self.memory, &parts, at)?;
        // Nearly always that was all.
        let (of_head, of_payload) = (written.min(HEAD), written.saturating_sub(HEAD));
        let rest = head.get(of_head..).unwrap_or_default();
        self.memory.write_all_at(rest, at + of_head as u64)?;
        let rest = payload.get(of_payload..).unwrap_or_default();
        self.memory.write_all_at(rest, at + size(of_payload) as u64)?;
        Ok(at + size(payload.len()) as u64)
    }

    /// Both in one write, which a death does not tear: they lie in one page.
    fn set_range(&mut self, start: u64, end: u64) -> io::Result<()> {
        let [[a, b, c, d, e, f, g, h], [i, j, k, l, m, n, o, p]] =
            [start, end].map(u64::to_ne_bytes);
        let range = [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p];
        self.memory.write_all_at(&range, RANGE_AT)?;
        (self.start, self.end) = (start, end);
        Ok(())
    }

    fn entries(&self) -> Result<Entries, String> {
        let (mut at, mut entries) = (self.start, Entries::default());
        while at < self.end {
            let wrong = |problem: String| format!("{problem} at byte {at}");
            let (head, payload) = self.read(at).map_err(wrong)?;
            let said = head.say(self.mark, &payload).map_err(wrong)?;
            let place = At(at);
            at += size(payload.len()) as u64;
            entries.take(said, &head, payload, place);
        }
        Ok(entries)
    }

    fn read(&self, at: u64) -> Result<(Head, Payload), String> {
        let short = |error| format!("cannot be read: {error}");
        let mut head = [0; HEAD];
        self.memory.read_exact_at(&mut head, at).map_err(short)?;
        let head = Head::read(&head)?;
        let mut payload = Payload::from(vec![0; head.length]);
        self.memory.read_exact_at(&mut payload, at + HEAD as u64).map_err(short)?;
        Ok((head, payload))
    }
}

impl Entries {
    fn take(&mut self, said: Said, head: &Head, payload: Payload, at: At) {
        let (slot, ufd, object) = (head.slot, head.number, head.object);
        match said {
            Said::Kept => {
                self.deposits.insert(slot, JournalEntry { slot, ufd, object, payload, at });
            }
            Said::Left => drop(self.deposits.remove(&slot)),
            Said::Owned(Some(owner)) => drop(self.owners.insert(slot.tag, owner)),
            Said::Owned(None) => drop(self.owners.remove(&slot.tag)),
            Said::Leased(lease) => {
                let lease = lease.zip(object);
                lease.map(|(lease, object)| self.leases.insert(lease.number, (lease, object)));
            }
            Said::Ended(number) => drop(self.leases.remove(&number)),
        }
    }
}

/// From where to where a journal with this head is valid, or what is wrong with it.
fn range(head: &[u8; 32]) -> Result<(u64, u64), String> {
    let mut fields = Fields(head);
    if fields.take() != MARK {
        return Err("is no journal of this broker".to_owned());
    }
    let version = u32::from_ne_bytes(fields.take());
    if ![BEFORE, VERSION].contains(&version) {
        return Err(format!(
            "has version {version}; this broker reads versions {BEFORE} and {VERSION}"
        ));
    }
    fields.take::<4>();
    Ok((u64::from_ne_bytes(fields.take()), u64::from_ne_bytes(fields.take())))
}

/// What a memory is known by to this kernel. Where another kernel has it after kexec(8), which numbers processes from the
/// start, it is known by something else.
fn mark(memory: &File) -> io::Result<Mark> {
    let wanted = StatxFlags::INO | StatxFlags::BTIME;
    let found = statx(memory, c"", AtFlags::EMPTY_PATH, wanted)?;
    // Of a kernel that does not tell, the time is 0: it leaves nothing to another one.
    let time = found.stx_btime.tv_sec.cast_unsigned().wrapping_mul(1_000_000_000);
    let time = time.wrapping_add(u64::from(found.stx_btime.tv_nsec));
    let mut mark = [0; 16];
    mark.copy_from_slice(&[found.stx_ino, time].map(u64::to_ne_bytes).concat());
    Ok(mark)
}

#[cfg(test)]
mod tests {
    use fdbroker_policy::Uid;

    use super::*;
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
        Leased {
            number,
            resource: "database".to_owned(),
            slot: SLOT,
            by_kernel: true,
            uid: Uid(7),
            pid: 7,
            process: Some(PROCESS),
            since: 70,
            expires: Some(71),
        }
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
        let (mut journal, entries) = Journal::open(journal.share().unwrap()).unwrap();
        let payload = vec![1; 70000].into();
        let last = JournalEntry { slot: SLOT, ufd: 5, object: Some(ObjectNumber(6)), payload, at };
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
        let bare = Leased { process: None, expires: None, by_kernel: false, ..lease(2) };
        for leased in [&lease(1), &bare, &lease(3)] {
            journal.append(&Record::Leased(leased, ObjectNumber(leased.number + 10))).unwrap();
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
        let (mut journal, entries) = Journal::open(journal.share().unwrap()).unwrap();
        assert_eq!(entries.deposits.len(), 1);
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
        assert!(refused(8, &3_u32.to_ne_bytes()).contains("has version 3; this broker reads"));
        assert!(refused(16, &1_000_u64.to_ne_bytes()).contains("is valid from"));
        assert!(refused(24, &1_000_u64.to_ne_bytes()).contains("is valid from"));
        assert!(refused(32, &9_u32.to_ne_bytes()).contains("kind 9"));
        assert!(refused(36, &u32::MAX.to_ne_bytes()).contains("a payload of"));
        assert!(refused(36, &8_u32.to_ne_bytes()).contains("cannot be read"));
        assert!(refused(40, &(-1_i32).to_ne_bytes()).contains("names no slot"));
        assert!(read(&journal).is_ok());
        let null = File::open("/dev/null").unwrap().into();
        assert!(Journal::open(null).err().unwrap().contains("cannot be read"));
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
}
