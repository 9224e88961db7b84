//! The journal of the deposits: memory that the service manager keeps while no supervisor lives.
//!
//! What is kept and what leaves is appended; the head says how far the journal is valid, and is written
//! last. So a supervisor that dies while it writes leaves a journal without its last entry, and never
//! half of one. Numbers are in this machine's byte order: a journal does not leave its kernel.

use std::fs::File;
use std::io::{self, IoSlice};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::FileExt;

use fdbroker_wire::{Index, Payload, Slot, Tag};
use rustix::fs::{MemfdFlags, memfd_create};
use rustix::io::pwritev;

use super::objects::ObjectNumber;
use crate::supervisor::deposits::kept::Kept;

/// What a journal of this broker begins with.
const MARK: [u8; 8] = *b"fdbroker";
/// The version of what follows. One that is not known is not read.
const VERSION: u32 = 1;
/// Mark, version, four bytes of nothing, generation, and how far it is valid.
const HEAD: usize = 32;
const END_AT: u64 = 24;
/// Before each payload: what it is, the payload's length, tag, index, the peer's own number, object.
const ENTRY: usize = 32;
/// A journal that is shorter is not replaced.
const SHORT: u64 = 1 << 20;
/// Of a journal that is valid no payload is longer.
const LONGEST: usize = 1 << 20;

const KEPT: u32 = 1;
const LEFT: u32 = 2;

/// One that is written.
pub(super) struct Journal {
    memory: File,
    pub(super) generation: u64,
    end: u64,
}

/// A deposit, as a journal has it.
#[derive(PartialEq, Eq, Debug)]
pub(super) struct Entry {
    pub(super) slot: Slot,
    pub(super) ufd: i32,
    /// The descriptor's, where there is one.
    pub(super) object: Option<ObjectNumber>,
    pub(super) payload: Payload,
}

impl Journal {
    /// Begins one in which nothing is kept.
    ///
    /// # Errors
    /// As memfd_create(2) and write(2).
    pub(super) fn begin(generation: u64) -> io::Result<Self> {
        let flags = MemfdFlags::CLOEXEC;
        // Linux 6.3.
        let memory = memfd_create(c"fdbroker-journal", flags | MemfdFlags::NOEXEC_SEAL)
            .or_else(|_| memfd_create(c"fdbroker-journal", flags))?;
        let (memory, end) = (File::from(memory), HEAD as u64);
        let head = [&MARK[..], &VERSION.to_ne_bytes(), &[0; 4], &generation.to_ne_bytes()].concat();
        memory.write_all_at(&head, 0)?;
        memory.write_all_at(&end.to_ne_bytes(), END_AT)?;
        Ok(Self { memory, generation, end })
    }

    /// Appends that a deposit is kept.
    ///
    /// # Errors
    /// As write(2): ENOMEM or ENOSPC. Then nothing was appended.
    pub(super) fn keep(&mut self, kept: &Kept, object: Option<ObjectNumber>) -> io::Result<()> {
        let Kept { slot, ufd, ref payload, .. } = *kept;
        self.append(KEPT, slot, ufd, object, payload)
    }

    /// Appends that a slot is empty.
    ///
    /// # Errors
    /// As [`Journal::keep`].
    pub(super) fn leave(&mut self, slot: Slot) -> io::Result<()> {
        self.append(LEFT, slot, -1, None, &[])
    }

    fn append(
        &mut self,
        what: u32,
        slot: Slot,
        ufd: i32,
        object: Option<ObjectNumber>,
        payload: &[u8],
    ) -> io::Result<()> {
        let length = u32::try_from(payload.len()).map_err(|_| io::ErrorKind::FileTooLarge)?;
        let mut entry = [0; ENTRY];
        let fields: [&[u8]; 6] = [
            &what.to_ne_bytes(),
            &length.to_ne_bytes(),
            &i32::from(slot.tag.get()).to_ne_bytes(),
            &slot.index.get().to_ne_bytes(),
            &ufd.to_ne_bytes(),
            &[0; 4],
        ];
        entry[..24].copy_from_slice(&fields.concat());
        entry[24..].copy_from_slice(&object.map_or(0, |object| object.0).to_ne_bytes());
        self.write(&entry, payload)?;
        self.end += (ENTRY + payload.len()) as u64;
        self.memory.write_all_at(&self.end.to_ne_bytes(), END_AT)
    }

    fn write(&self, entry: &[u8], payload: &[u8]) -> io::Result<()> {
        let parts = [IoSlice::new(entry), IoSlice::new(payload)];
        let written = pwritev(&self.memory, &parts, self.end)?;
        // Nearly always that was all.
        let (head, body) = (written.min(entry.len()), written.saturating_sub(entry.len()));
        let rest = entry.get(head..).unwrap_or_default();
        self.memory.write_all_at(rest, self.end + head as u64)?;
        let rest = payload.get(body..).unwrap_or_default();
        self.memory.write_all_at(rest, self.end + (entry.len() + body) as u64)
    }

    /// Whether more than half of it is of no use any more, when so many bytes of payload are kept in so
    /// many deposits.
    pub(super) fn is_wasteful(&self, deposits: usize, bytes: usize) -> bool {
        let useful = deposits.saturating_mul(ENTRY).saturating_add(bytes) as u64;
        self.end > SHORT && self.end / 2 > useful
    }
}

impl AsFd for Journal {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.memory.as_fd()
    }
}

/// A journal that an earlier supervisor wrote.
pub(super) struct Former {
    memory: File,
    end: u64,
}

impl Former {
    /// Opens it.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(super) fn open(memory: File) -> Result<Self, String> {
        let mut head = [0; HEAD];
        memory.read_exact_at(&mut head, 0).map_err(|error| format!("cannot be read: {error}"))?;
        let mut fields = Fields(&head);
        if fields.take::<8>() != MARK {
            return Err("is no journal of this broker".to_owned());
        }
        let version = u32::from_ne_bytes(fields.take());
        if version != VERSION {
            return Err(format!("has version {version}; this broker reads version {VERSION}"));
        }
        fields.take::<4>();
        // The generation, which is in its name.
        fields.take::<8>();
        let end = u64::from_ne_bytes(fields.take());
        let length = memory.metadata().map_err(|error| format!("cannot be read: {error}"))?.len();
        if end > length {
            return Err(format!("is valid to byte {end}, and ends at {length}"));
        }
        Ok(Self { memory, end })
    }

    /// Reads what was kept at its end, one entry after the other: `keep` takes a deposit in the place of
    /// what its slot has, and `leave` empties a slot.
    ///
    /// # Errors
    /// What is wrong with it. What was read before counts.
    pub(super) fn read(
        &self,
        mut keep: impl FnMut(Entry),
        mut leave: impl FnMut(Slot),
    ) -> Result<(), String> {
        let mut at = HEAD as u64;
        while at < self.end {
            let (what, entry) = self.entry(at)?;
            at += (ENTRY + entry.payload.len()) as u64;
            match what {
                KEPT => keep(entry),
                LEFT => leave(entry.slot),
                other => return Err(format!("has an entry of kind {other} before byte {at}")),
            }
        }
        Ok(())
    }

    fn entry(&self, at: u64) -> Result<(u32, Entry), String> {
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
        let tag = i16::try_from(tag).ok().and_then(Tag::new);
        let slot = tag.zip(Index::new(index)).map(|(tag, index)| Slot { tag, index });
        let slot = slot.ok_or_else(|| format!("names no slot at byte {at}"))?;
        if length > LONGEST {
            return Err(format!("has a payload of {length} bytes at byte {at}"));
        }
        let mut payload = vec![0; length];
        self.memory.read_exact_at(&mut payload, at + ENTRY as u64).map_err(short)?;
        let object = object.map(ObjectNumber);
        Ok((what, Entry { slot, ufd, object, payload: payload.into() }))
    }
}

/// Fields of a fixed size, one after the other; zeroes behind the last.
struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn take<const N: usize>(&mut self) -> [u8; N] {
        let (field, rest) =
            self.0.split_first_chunk().map_or(([0; N], &[][..]), |(field, rest)| (*field, rest));
        self.0 = rest;
        field
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    const SLOT: Slot = Slot::new(7, 8).unwrap();
    const OTHER: Slot = Slot::new(7, 9).unwrap();

    fn kept(slot: Slot, payload: &[u8]) -> Kept {
        let payer = crate::payer::Payer::named(7);
        Kept { slot, payer, ufd: 5, payload: payload.into(), descriptor: None, leaving: None }
    }

    fn copy(journal: &Journal) -> File {
        File::from(journal.as_fd().try_clone_to_owned().unwrap())
    }

    fn read(memory: File) -> Result<BTreeMap<Slot, Entry>, String> {
        let former = Former::open(memory)?;
        let entries = std::cell::RefCell::new(BTreeMap::new());
        former.read(
            |entry| drop(entries.borrow_mut().insert(entry.slot, entry)),
            |slot| drop(entries.borrow_mut().remove(&slot)),
        )?;
        Ok(entries.into_inner())
    }

    #[test]
    fn what_is_kept_at_the_end_is_read() {
        let mut journal = Journal::begin(3).unwrap();
        journal.keep(&kept(SLOT, b"first"), Some(ObjectNumber(4))).unwrap();
        journal.keep(&kept(OTHER, b""), None).unwrap();
        journal.leave(OTHER).unwrap();
        journal.keep(&kept(SLOT, &[1; 70000]), Some(ObjectNumber(6))).unwrap();
        let entries = read(copy(&journal)).unwrap();
        let payload = vec![1; 70000].into();
        let last = Entry { slot: SLOT, ufd: 5, object: Some(ObjectNumber(6)), payload };
        assert_eq!(entries.into_values().collect::<Vec<_>>(), [last]);
    }

    #[test]
    fn an_entry_that_was_half_written_does_not_count() {
        let mut journal = Journal::begin(1).unwrap();
        journal.keep(&kept(SLOT, b"whole"), None).unwrap();
        journal.write(&[1; ENTRY], b"hal").unwrap();
        let entries = read(copy(&journal)).unwrap();
        assert_eq!(entries.keys().collect::<Vec<_>>(), [&SLOT]);
        // And the next one takes its place.
        journal.leave(SLOT).unwrap();
        assert!(read(copy(&journal)).unwrap().is_empty());
    }

    #[test]
    fn what_is_no_journal_of_this_version_is_refused() {
        let mut journal = Journal::begin(1).unwrap();
        journal.keep(&kept(SLOT, b"payload"), None).unwrap();
        let refused = |at: u64, bytes: &[u8]| {
            let memory = copy(&journal);
            let mut before = vec![0; bytes.len()];
            memory.read_exact_at(&mut before, at).unwrap();
            memory.write_all_at(bytes, at).unwrap();
            let result = read(copy(&journal)).unwrap_err();
            memory.write_all_at(&before, at).unwrap();
            result
        };
        assert!(refused(0, b"x").contains("no journal"));
        assert!(refused(8, &2_u32.to_ne_bytes()).contains("has version 2; this broker reads"));
        assert!(refused(END_AT, &1_000_u64.to_ne_bytes()).contains("ends at"));
        assert!(refused(32, &9_u32.to_ne_bytes()).contains("kind 9"));
        assert!(refused(36, &u32::MAX.to_ne_bytes()).contains("a payload of"));
        assert!(refused(40, &(-1_i32).to_ne_bytes()).contains("names no slot"));
        assert!(read(copy(&journal)).is_ok());
        assert!(read(File::open("/dev/null").unwrap()).unwrap_err().contains("cannot be read"));
    }

    #[test]
    fn a_journal_is_wasteful_once_most_of_it_is_of_no_use() {
        let mut journal = Journal::begin(1).unwrap();
        let large = kept(SLOT, &[0; 30000]);
        (0..30).for_each(|_| journal.keep(&large, None).unwrap());
        assert!(!journal.is_wasteful(1, 30000), "it is short");
        (0..30).for_each(|_| journal.keep(&large, None).unwrap());
        assert!(journal.is_wasteful(1, 30000));
        assert!(!journal.is_wasteful(40, 1_200_000));
    }
}
