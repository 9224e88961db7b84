//! The journal of the deposits: memory that the service manager keeps while no supervisor lives.
//!
//! What is kept and what leaves is appended. The head says from where to where the journal is valid, and is
//! written last. So a supervisor that dies while it writes leaves a journal without its last entry, and never
//! half of one. Numbers are in this machine's byte order: a journal does not leave its kernel.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, IoSlice};
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;

use fdbroker_wire::{Index, Payload, Slot, Tag};
use rustix::fs::{AtFlags, FallocateFlags, MemfdFlags, StatxFlags, fallocate, memfd_create, statx};
use rustix::io::pwritev;

use super::objects::ObjectNumber;
use crate::process_identity::ProcessIdentity;
use crate::supervisor::deposits::kept::Kept;

/// What a journal of this broker begins with.
const MARK: [u8; 8] = *b"fdbroker";
/// The version of what follows. One that is not known is not read.
const VERSION: u32 = 2;
/// The one before: without owners.
const BEFORE: u32 = 1;
/// Where it is.
const VERSION_AT: u64 = 8;
/// Mark, version, four bytes of nothing, and from where to where it is valid.
const HEAD: u64 = 32;
const RANGE_AT: u64 = 16;
/// Before each payload: what it is, the payload's length, tag, index, the peer's own number, object.
const ENTRY: usize = 32;
/// A journal that is shorter is not compacted.
const SHORT: u64 = 1 << 20;
/// Of a journal that is valid no payload is longer.
const LONGEST: usize = 1 << 20;

const KEPT: u32 = 1;
const LEFT: u32 = 2;
/// Who owns a tag. Without what follows, nobody.
const OWNED: u32 = 3;
/// What follows: which memory it is written to, two numbers of the process.
const OWNER: usize = 32;

/// One that is written.
pub(super) struct Journal {
    memory: File,
    /// What it is known by to this kernel.
    own: [u8; 16],
    start: u64,
    end: u64,
}

/// Where a deposit's payload is in it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
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
        let own = own(&memory)?;
        let mut journal = Self { memory, own, start: HEAD, end: HEAD };
        journal.memory.write_all_at(&[&MARK[..], &VERSION.to_ne_bytes(), &[0; 4]].concat(), 0)?;
        journal.set_range(HEAD, HEAD)?;
        Ok(journal)
    }

    /// Goes on with one that an earlier supervisor wrote; returns also what it has.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(super) fn open(memory: OwnedFd) -> Result<(Self, Entries), String> {
        let memory = File::from(memory);
        let mut head = [0; 32];
        memory.read_exact_at(&mut head, 0).map_err(|error| format!("cannot be read: {error}"))?;
        let mut fields = Fields(&head);
        if fields.take::<8>() != MARK {
            return Err("is no journal of this broker".to_owned());
        }
        let version = u32::from_ne_bytes(fields.take());
        if ![BEFORE, VERSION].contains(&version) {
            return Err(format!(
                "has version {version}; this broker reads versions {BEFORE} and {VERSION}"
            ));
        }
        fields.take::<4>();
        let (start, end) = (u64::from_ne_bytes(fields.take()), u64::from_ne_bytes(fields.take()));
        let length = memory.metadata().map_err(|error| format!("cannot be read: {error}"))?.len();
        if end > length || start > end {
            return Err(format!("is valid from byte {start} to {end}, and has {length}"));
        }
        let own = own(&memory).map_err(|error| format!("cannot be read: {error}"))?;
        let journal = Self { memory, own, start, end };
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

    /// Appends that a deposit is kept.
    ///
    /// # Errors
    /// As write(2): ENOMEM or ENOSPC. Then nothing was appended.
    pub(super) fn keep(&mut self, kept: &Kept, object: Option<ObjectNumber>) -> io::Result<At> {
        let (at, end) = self.write_kept(self.end, kept, object)?;
        self.set_range(self.start, end)?;
        Ok(at)
    }

    /// Appends that a slot is empty, and wipes what its deposit had.
    ///
    /// # Errors
    /// As [`Journal::keep`].
    pub(super) fn leave(&mut self, kept: &Kept, at: Option<At>) -> io::Result<()> {
        let end = self.write(self.end, entry(LEFT, 0, kept.slot, -1, None), &[])?;
        self.set_range(self.start, end)?;
        at.map_or(Ok(()), |At(at)| self.memory.write_all_at(&vec![0; kept.payload.len()], at))
    }

    /// Appends who owns a tag, if anybody does.
    ///
    /// # Errors
    /// As [`Journal::keep`].
    pub(super) fn own(&mut self, tag: Tag, owner: Option<ProcessIdentity>) -> io::Result<()> {
        let end = self.write_owned(self.end, tag, owner)?;
        self.set_range(self.start, end)
    }

    /// Whether more than half of it is of no use any more, when so many bytes of payload are kept in so
    /// many deposits and for owners.
    pub(super) fn is_wasteful(&self, entries: usize, bytes: usize) -> bool {
        let useful = entries.saturating_mul(ENTRY).saturating_add(bytes) as u64;
        let length = self.end - self.start;
        length > SHORT && length / 2 > useful
    }

    /// Writes what is kept once more, behind what is there, and gives up the memory of that. Returns where each one's
    /// payload is.
    ///
    /// # Errors
    /// As write(2). Then the journal is as it was.
    pub(super) fn compact<'a>(
        &mut self,
        kept: impl Iterator<Item = (&'a Kept, Option<ObjectNumber>)>,
        owners: impl Iterator<Item = (Tag, ProcessIdentity)>,
    ) -> io::Result<Vec<At>> {
        let (before, start) = (self.start, self.end);
        let (mut end, mut places) = (start, Vec::new());
        for (kept, object) in kept {
            let (at, next) = self.write_kept(end, kept, object)?;
            places.push(at);
            end = next;
        }
        for (tag, owner) in owners {
            end = self.write_owned(end, tag, Some(owner))?;
        }
        self.set_range(start, end)?;
        let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        // Without it, memory is wasted; the journal is valid.
        let _ = fallocate(&self.memory, flags, before, start - before);
        Ok(places)
    }

    fn write_kept(
        &self,
        at: u64,
        kept: &Kept,
        object: Option<ObjectNumber>,
    ) -> io::Result<(At, u64)> {
        let length = kept.payload.len();
        let short = u32::try_from(length).map_err(|_| io::ErrorKind::FileTooLarge)?;
        let end = self.write(at, entry(KEPT, short, kept.slot, kept.ufd, object), &kept.payload)?;
        Ok((At(at + ENTRY as u64), end))
    }

    /// Returns where it ends.
    fn write_owned(&self, at: u64, tag: Tag, owner: Option<ProcessIdentity>) -> io::Result<u64> {
        let slot = Slot { tag, index: Index::MIN };
        let (pid, payload) = match owner {
            Some(ProcessIdentity { pid, number, start }) => {
                let numbers = [number, start].map(u64::to_ne_bytes).concat();
                (pid, [&self.own[..], &numbers].concat())
            }
            None => (0, Vec::new()),
        };
        let length = u32::try_from(payload.len()).map_err(|_| io::ErrorKind::FileTooLarge)?;
        self.write(at, entry(OWNED, length, slot, pid, None), &payload)
    }

    /// Returns where it ends.
    fn write(&self, at: u64, entry: [u8; ENTRY], payload: &[u8]) -> io::Result<u64> {
        let parts = [IoSlice::new(&entry), IoSlice::new(payload)];
        let written = pwritev(&self.memory, &parts, at)?;
        // Nearly always that was all.
        let (head, body) = (written.min(ENTRY), written.saturating_sub(ENTRY));
        let rest = entry.get(head..).unwrap_or_default();
        self.memory.write_all_at(rest, at + head as u64)?;
        let rest = payload.get(body..).unwrap_or_default();
        self.memory.write_all_at(rest, at + (ENTRY + body) as u64)?;
        Ok(at + (ENTRY + payload.len()) as u64)
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
            let (what, entry) = self.entry(at)?;
            at += (ENTRY + entry.payload.len()) as u64;
            match what {
                KEPT => drop(entries.deposits.insert(entry.slot, entry)),
                LEFT => drop(entries.deposits.remove(&entry.slot)),
                OWNED => match self.owner(&entry) {
                    Some(owner) => drop(entries.owners.insert(entry.slot.tag, owner)),
                    None => drop(entries.owners.remove(&entry.slot.tag)),
                },
                other => return Err(format!("has an entry of kind {other} before byte {at}")),
            }
        }
        Ok(entries)
    }

    /// The owner that an entry names, if it was written while this kernel ran.
    fn owner(&self, entry: &JournalEntry) -> Option<ProcessIdentity> {
        if entry.payload.len() != OWNER {
            return None;
        }
        let mut fields = Fields(&entry.payload);
        let own = fields.take();
        let (number, start) =
            (u64::from_ne_bytes(fields.take()), u64::from_ne_bytes(fields.take()));
        (own == self.own).then_some(ProcessIdentity { pid: entry.ufd, number, start })
    }

    fn entry(&self, at: u64) -> Result<(u32, JournalEntry), String> {
        let short = |error| format!("cannot be read at byte {at}: {error}");
        let mut head = [0; ENTRY];
        self.memory.read_exact_at(&mut head, at).map_err(short)?;
        let mut fields = Fields(&head);
        let what = u32::from_ne_bytes(fields.take());
        let length = u32::from_ne_bytes(fields.take()) as usize;
        let tag = i32::from_ne_bytes(fields.take());
        let index = i32::from_ne_bytes(fields.take());
        let ufd = i32::from_ne_bytes(fields.take());
        fields.take::<4>();
        let object = Some(u64::from_ne_bytes(fields.take())).filter(|object| *object != 0);
        let slot = i16::try_from(tag).ok().and_then(|tag| Slot::new(tag, index));
        let slot = slot.ok_or_else(|| format!("names no slot at byte {at}"))?;
        if length > LONGEST {
            return Err(format!("has a payload of {length} bytes at byte {at}"));
        }
        let mut payload = Payload::from(vec![0; length]);
        let (object, at) = (object.map(ObjectNumber), At(at + ENTRY as u64));
        self.memory.read_exact_at(&mut payload, at.0).map_err(short)?;
        Ok((what, JournalEntry { slot, ufd, object, payload, at }))
    }
}

/// What a memory is known by to this kernel. Where another kernel has it after kexec(8), which numbers processes from the
/// start, it is known by something else.
fn own(memory: &File) -> io::Result<[u8; 16]> {
    let wanted = StatxFlags::INO | StatxFlags::BTIME;
    let found = statx(memory, c"", AtFlags::EMPTY_PATH, wanted)?;
    // Of a kernel that does not tell, the time is 0: it leaves nothing to another one.
    let time = found.stx_btime.tv_sec.cast_unsigned().wrapping_mul(1_000_000_000);
    let time = time.wrapping_add(u64::from(found.stx_btime.tv_nsec));
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&[found.stx_ino, time].map(u64::to_ne_bytes).concat());
    Ok(bytes)
}

/// What stands before a payload.
fn entry(
    what: u32,
    length: u32,
    slot: Slot,
    ufd: i32,
    object: Option<ObjectNumber>,
) -> [u8; ENTRY] {
    let fields: [&[u8]; 7] = [
        &what.to_ne_bytes(),
        &length.to_ne_bytes(),
        &i32::from(slot.tag.get()).to_ne_bytes(),
        &slot.index.get().to_ne_bytes(),
        &ufd.to_ne_bytes(),
        &[0; 4],
        &object.map_or(0, |object| object.0).to_ne_bytes(),
    ];
    let mut entry = [0; ENTRY];
    entry.copy_from_slice(&fields.concat());
    entry
}

/// Fields of a fixed size, one after the other; zeroes behind the last.
struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn take<const N: usize>(&mut self) -> [u8; N] {
        let split = self.0.split_first_chunk();
        let (field, rest) = split.map_or(([0; N], &[][..]), |(field, rest)| (*field, rest));
        self.0 = rest;
        field
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SLOT: Slot = Slot::new(7, 8).unwrap();
    const OTHER: Slot = Slot::new(7, 9).unwrap();

    fn kept(slot: Slot, payload: &[u8]) -> Kept {
        let payer = crate::payer::Payer::named(7);
        Kept { slot, payer, ufd: 5, payload: payload.into(), descriptor: None, leaving: None }
    }

    fn read(journal: &Journal) -> Result<Vec<(Slot, Vec<u8>)>, String> {
        let (_, entries) = Journal::open(journal.share().unwrap())?;
        Ok(entries
            .deposits
            .into_iter()
            .map(|(slot, entry)| (slot, entry.payload.to_vec()))
            .collect())
    }

    fn all(journal: &Journal) -> Vec<u8> {
        let length = journal.memory.metadata().unwrap().len();
        let mut bytes = vec![0; usize::try_from(length).unwrap()];
        journal.memory.read_exact_at(&mut bytes, 0).unwrap();
        bytes
    }

    #[test]
    fn what_is_kept_at_the_end_is_read() {
        let mut journal = Journal::begin().unwrap();
        journal.keep(&kept(SLOT, b"first"), Some(ObjectNumber(4))).unwrap();
        let other = kept(OTHER, b"");
        let at = journal.keep(&other, None).unwrap();
        journal.leave(&other, Some(at)).unwrap();
        let at = journal.keep(&kept(SLOT, &[1; 70000]), Some(ObjectNumber(6))).unwrap();
        let (mut journal, entries) = Journal::open(journal.share().unwrap()).unwrap();
        let payload = vec![1; 70000].into();
        let last = JournalEntry { slot: SLOT, ufd: 5, object: Some(ObjectNumber(6)), payload, at };
        assert_eq!(entries.deposits.into_values().collect::<Vec<_>>(), [last]);
        // And it goes on from there.
        journal.keep(&kept(OTHER, b"more"), None).unwrap();
        assert_eq!(read(&journal).unwrap().len(), 2);
    }

    const PROCESS: ProcessIdentity = ProcessIdentity { pid: 7, number: 8, start: 9 };
    const TAGS: [Tag; 2] = [SLOT.tag, Slot::new(8, 0).unwrap().tag];

    fn owners(journal: &Journal) -> Vec<(Tag, ProcessIdentity)> {
        let (_, entries) = Journal::open(journal.share().unwrap()).unwrap();
        entries.owners.into_iter().collect()
    }

    #[test]
    fn the_last_owner_of_each_tag_is_read() {
        let mut journal = Journal::begin().unwrap();
        let other = ProcessIdentity { number: 0, ..PROCESS };
        journal.own(TAGS[0], Some(PROCESS)).unwrap();
        journal.own(TAGS[1], Some(other)).unwrap();
        journal.keep(&kept(SLOT, b"payload"), None).unwrap();
        assert_eq!(owners(&journal), [(TAGS[0], PROCESS), (TAGS[1], other)]);
        journal.own(TAGS[1], None).unwrap();
        journal.own(TAGS[0], Some(other)).unwrap();
        assert_eq!(owners(&journal), [(TAGS[0], other)]);
        assert_eq!(read(&journal).unwrap().len(), 1);
        journal.compact([].into_iter(), [(TAGS[1], PROCESS)].into_iter()).unwrap();
        assert_eq!(owners(&journal), [(TAGS[1], PROCESS)]);
    }

    #[test]
    fn an_owner_that_was_noted_under_another_kernel_is_not_read() {
        let mut journal = Journal::begin().unwrap();
        journal.own(TAGS[0], Some(PROCESS)).unwrap();
        let mut other = Journal::begin().unwrap();
        other.memory.write_all_at(&all(&journal), 0).unwrap();
        other.set_range(journal.start, journal.end).unwrap();
        assert_eq!(owners(&other), []);
        assert_eq!(owners(&journal).len(), 1);
    }

    #[test]
    fn a_journal_of_the_version_before_is_read_and_goes_on_as_one_of_this() {
        let mut journal = Journal::begin().unwrap();
        journal.keep(&kept(SLOT, b"payload"), None).unwrap();
        journal.memory.write_all_at(&1_u32.to_ne_bytes(), VERSION_AT).unwrap();
        let (mut journal, entries) = Journal::open(journal.share().unwrap()).unwrap();
        assert_eq!(entries.deposits.len(), 1);
        journal.own(TAGS[0], Some(PROCESS)).unwrap();
        let mut version = [0; 4];
        journal.memory.read_exact_at(&mut version, VERSION_AT).unwrap();
        assert_eq!(u32::from_ne_bytes(version), VERSION);
        assert_eq!((read(&journal).unwrap().len(), owners(&journal).len()), (1, 1));
    }

    #[test]
    fn an_entry_that_was_half_written_does_not_count() {
        let mut journal = Journal::begin().unwrap();
        let whole = kept(SLOT, b"whole");
        let at = journal.keep(&whole, None).unwrap();
        journal.write(journal.end, [1; ENTRY], b"hal").unwrap();
        assert_eq!(read(&journal).unwrap(), [(SLOT, b"whole".to_vec())]);
        // And the next one takes its place.
        journal.leave(&whole, Some(at)).unwrap();
        assert!(read(&journal).unwrap().is_empty());
    }

    #[test]
    fn what_has_left_is_wiped() {
        let mut journal = Journal::begin().unwrap();
        let secret = kept(SLOT, b"secret");
        let at = journal.keep(&secret, None).unwrap();
        journal.keep(&kept(OTHER, b"another"), None).unwrap();
        journal.leave(&secret, Some(at)).unwrap();
        let found = |text: &[u8]| all(&journal).windows(text.len()).any(|bytes| bytes == text);
        assert!(!found(b"secret") && found(b"another"));
    }

    #[test]
    fn what_is_no_journal_of_this_version_is_refused() {
        let mut journal = Journal::begin().unwrap();
        journal.keep(&kept(SLOT, b"payload"), None).unwrap();
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
        assert!(refused(40, &(-1_i32).to_ne_bytes()).contains("names no slot"));
        assert!(read(&journal).is_ok());
        let null = File::open("/dev/null").unwrap().into();
        assert!(Journal::open(null).err().unwrap().contains("cannot be read"));
    }

    #[test]
    fn a_journal_that_is_compacted_has_the_same_in_less_memory() {
        let mut journal = Journal::begin().unwrap();
        let (large, other) = (kept(SLOT, &[1; 30000]), kept(OTHER, b"other"));
        for _ in 0..30 {
            journal.keep(&large, None).unwrap();
        }
        assert!(!journal.is_wasteful(1, 30000), "it is short");
        for _ in 0..30 {
            journal.keep(&large, None).unwrap();
        }
        assert!(journal.is_wasteful(1, 30000));
        assert!(!journal.is_wasteful(40, 1_200_000));
        let before = journal.memory.metadata().unwrap();
        let places =
            journal.compact([(&large, None), (&other, None)].into_iter(), [].into_iter()).unwrap();
        let after = journal.memory.metadata().unwrap();
        use std::os::unix::fs::MetadataExt;
        assert!(after.blocks() < before.blocks() / 10, "{} {}", after.blocks(), before.blocks());
        journal.leave(&other, Some(places[1])).unwrap();
        assert_eq!(read(&journal).unwrap(), [(SLOT, vec![1; 30000])]);
    }
}
