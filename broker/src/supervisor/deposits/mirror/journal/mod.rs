//! The journal of the deposits: memory that the service manager keeps while no supervisor lives.
//!
//! What is kept and what leaves is appended. The head says from where to where the journal is valid, and is
//! written last. So a supervisor that dies while it writes leaves a journal without its last entry, and never
//! half of one. What is still so at its beginning is moved to its end bit by bit, and the memory before is given up.
//! Numbers are in this machine's byte order: a journal does not leave its kernel.

mod entries;
mod fields;
mod lease;
mod record;
#[cfg(test)]
mod tests;

use std::fs::File;
use std::io::{self, IoSlice};
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;

use fdbroker_wire::Payload;
use rustix::fs::{AtFlags, FallocateFlags, MemfdFlags, StatxFlags, fallocate, memfd_create, statx};
use rustix::io::pwritev;

use self::fields::{Fields, Mark};
use self::record::{HEAD, Head, LEFT, Said};

pub(super) use self::entries::{Damage, Entries, JournalEntry};
pub(super) use self::record::{At, Record};

/// What a journal of this broker begins with.
const MARK: [u8; 8] = *b"fdbroker";
/// The version of what follows. One that is not known is not read.
const VERSION: u32 = 3;
/// The one before: its leases have no peer and no session.
const BEFORE: u32 = 2;
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

    /// Goes on with one that an earlier supervisor wrote; returns also what it has. Of a damaged one, that is what stands
    /// before the damage, and it goes on from there.
    ///
    /// # Errors
    /// What is wrong with it, if nothing of it can be read.
    pub(super) fn open(memory: OwnedFd) -> Result<(Self, Entries), String> {
        let unreadable = |error: io::Error| format!("cannot be read: {error}");
        let memory = File::from(memory);
        let mut head = [0; 32];
        memory.read_exact_at(&mut head, 0).map_err(unreadable)?;
        let (start, end) = range(&head)?;
        let length = memory.metadata().map_err(unreadable)?.len();
        if start > end || start > length {
            return Err(format!("is valid from byte {start} to {end}, and has {length}"));
        }
        let mark = mark(&memory).map_err(unreadable)?;
        let mut journal = Self { memory, mark, start, end };
        let entries = journal.entries();
        if let Some(damage) = entries.damage.as_ref().filter(|damage| damage.at == start) {
            return Err(damage.problem.clone());
        }
        let written = journal.go_on_behind(entries.damage.as_ref());
        written.map_err(|error| format!("cannot be written: {error}"))?;
        Ok((journal, entries))
    }

    /// What follows is of this version, and takes the place of what is damaged.
    fn go_on_behind(&mut self, damage: Option<&Damage>) -> io::Result<()> {
        if let Some(damage) = damage {
            self.set_range(self.start, damage.at)?;
        }
        self.memory.write_all_at(&VERSION.to_ne_bytes(), VERSION_AT)
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

    /// Has an entry say that its slot is empty, and wipes its payload. What follows it counts as before.
    ///
    /// # Errors
    /// As write(2).
    pub(super) fn cancel(&self, at: At, payload: usize) -> io::Result<()> {
        self.memory.write_all_at(&LEFT.to_ne_bytes(), at.0)?;
        self.wipe(at, payload)
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

    /// What it has, up to its end or the first damage.
    fn entries(&self) -> Entries {
        let (mut at, mut entries) = (self.start, Entries::default());
        while at < self.end {
            match self.read(at) {
                Ok((head, payload, said)) => {
                    let place = At(at);
                    at += size(payload.len()) as u64;
                    entries.take(said, &head, payload, place);
                }
                Err(problem) => {
                    let problem = format!("{problem} at byte {at}");
                    entries.damage = Some(Damage { problem, at, lost: self.end - at });
                    break;
                }
            }
        }
        entries
    }

    fn read(&self, at: u64) -> Result<(Head, Payload, Said), String> {
        let short = |error| format!("cannot be read: {error}");
        let mut head = [0; HEAD];
        self.memory.read_exact_at(&mut head, at).map_err(short)?;
        let head = Head::read(&head)?;
        let mut payload = Payload::from(vec![0; head.length]);
        self.memory.read_exact_at(&mut payload, at + HEAD as u64).map_err(short)?;
        let said = head.say(self.mark, &payload)?;
        Ok((head, payload, said))
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
