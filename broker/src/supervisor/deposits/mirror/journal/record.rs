//! What is appended to a journal, and how it is read again.

use std::borrow::Cow;

use fdbroker_wire::{Index, Slot, Tag};

use super::super::leased::Leased;
use super::super::object_number::ObjectNumber;
use super::fields::{Fields, Mark};
use super::lease;
use crate::process_identity::ProcessIdentity;
use crate::supervisor::deposits::kept::Kept;

/// Before each payload: what it is, the payload's length, tag, index, a number, four bytes of nothing, object.
pub(super) const HEAD: usize = 32;
/// Of a journal that is valid no payload is longer.
const LONGEST: usize = 1 << 20;

const KEPT: u32 = 1;
/// A slot is empty; its payload says nothing.
pub(super) const LEFT: u32 = 2;
/// Without what follows, nobody owns the tag.
const OWNED: u32 = 3;
/// A lease of the version before: without the peer and the session.
const LEASED_BEFORE: u32 = 4;
const ENDED: u32 = 5;
const LEASED: u32 = 6;

/// Where an entry is in a journal.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(in super::super) struct At(pub(super) u64);

/// What is appended.
pub(in super::super) enum Record<'a> {
    /// A deposit, and the number of its descriptor, where it has one.
    Kept(&'a Kept, Option<ObjectNumber>),
    /// A slot is empty.
    Left(Slot),
    /// Who owns a tag, if anybody does.
    Owned(Tag, Option<ProcessIdentity>),
    /// A lease, and the number of its connection.
    Leased(&'a Leased, ObjectNumber),
    /// A lease has ended.
    Ended(&'a Leased),
}

/// What stands before a payload.
pub(super) struct Head {
    what: u32,
    pub(super) length: usize,
    pub(super) slot: Slot,
    /// The depositor's own, or a pid.
    pub(super) number: i32,
    pub(super) object: Option<ObjectNumber>,
}

/// What a head and its payload say. Of an owner and a lease that were noted under another kernel there is nothing.
pub(super) enum Said {
    Kept,
    Left,
    Owned(Option<ProcessIdentity>),
    Leased(Option<Leased>),
    Ended(u64),
}

impl Record<'_> {
    /// How many bytes it has.
    pub(in super::super) fn size(&self) -> usize {
        HEAD + self.to_bytes([0; 16]).1.len()
    }

    /// Returns what is appended to a memory with this mark.
    pub(super) fn to_bytes(&self, mark: Mark) -> ([u8; HEAD], Cow<'_, [u8]>) {
        let of = |tag| Slot { tag, index: Index::MIN };
        let (what, slot, number, object, payload) = match self {
            Self::Kept(kept, object) => {
                (KEPT, kept.slot, kept.ufd, *object, Cow::Borrowed(&*kept.payload))
            }
            Self::Left(slot) => (LEFT, *slot, -1, None, Cow::Borrowed(&[][..])),
            Self::Owned(tag, None) => (OWNED, of(*tag), 0, None, Cow::Borrowed(&[][..])),
            Self::Owned(tag, Some(owner)) => {
                (OWNED, of(*tag), owner.pid, None, Cow::Owned(owner_to_bytes(mark, *owner)))
            }
            Self::Leased(leased, object) => {
                let payload = Cow::Owned(lease::to_bytes(mark, leased));
                (LEASED, leased.lease.slot, leased.lease.pid, Some(*object), payload)
            }
            Self::Ended(Leased { lease, .. }) => {
                let payload = lease.number.to_ne_bytes().to_vec();
                (ENDED, lease.slot, lease.pid, None, Cow::Owned(payload))
            }
        };
        let length = payload.len();
        (Head { what, length, slot, number, object }.to_bytes(), payload)
    }
}

fn owner_to_bytes(mark: Mark, ProcessIdentity { number, start, .. }: ProcessIdentity) -> Vec<u8> {
    [&mark[..], &number.to_ne_bytes(), &start.to_ne_bytes()].concat()
}

impl Head {
    fn to_bytes(&self) -> [u8; HEAD] {
        let fields: [&[u8]; 7] = [
            &self.what.to_ne_bytes(),
            // Payloads are far shorter.
            &u32::try_from(self.length).unwrap_or(u32::MAX).to_ne_bytes(),
            &i32::from(self.slot.tag.get()).to_ne_bytes(),
            &self.slot.index.get().to_ne_bytes(),
            &self.number.to_ne_bytes(),
            &[0; 4],
            &self.object.map_or(0, |object| object.0).to_ne_bytes(),
        ];
        let mut bytes = [0; HEAD];
        bytes.copy_from_slice(&fields.concat());
        bytes
    }

    /// Reads one, or says what is wrong with it.
    pub(super) fn read(bytes: &[u8; HEAD]) -> Result<Self, String> {
        let mut fields = Fields(bytes);
        let what = u32::from_ne_bytes(fields.take());
        let length = u32::from_ne_bytes(fields.take()) as usize;
        let tag = i32::from_ne_bytes(fields.take());
        let index = i32::from_ne_bytes(fields.take());
        let number = i32::from_ne_bytes(fields.take());
        fields.take::<4>();
        let object = Some(u64::from_ne_bytes(fields.take())).filter(|object| *object != 0);
        let slot = i16::try_from(tag).ok().and_then(|tag| Slot::new(tag, index));
        let slot = slot.ok_or("names no slot")?;
        if length > LONGEST {
            return Err(format!("has a payload of {length} bytes"));
        }
        Ok(Self { what, length, slot, number, object: object.map(ObjectNumber) })
    }

    /// Returns what it says with this payload, in a memory with this mark; or what is wrong with it.
    pub(super) fn say(&self, mark: Mark, payload: &[u8]) -> Result<Said, String> {
        Ok(match self.what {
            KEPT => Said::Kept,
            LEFT => Said::Left,
            OWNED => Said::Owned(self.owner(mark, payload)),
            LEASED => {
                Said::Leased(lease::from_bytes(mark, (self.slot, self.number), payload, false))
            }
            LEASED_BEFORE => {
                Said::Leased(lease::from_bytes(mark, (self.slot, self.number), payload, true))
            }
            ENDED => Said::Ended(u64::from_ne_bytes(Fields(payload).take())),
            other => return Err(format!("has an entry of kind {other}")),
        })
    }

    fn owner(&self, mark: Mark, payload: &[u8]) -> Option<ProcessIdentity> {
        let mut fields = Fields(payload);
        let is_of_this_kernel = fields.take() == mark;
        let [number, start] = [(); 2].map(|()| u64::from_ne_bytes(fields.take()));
        is_of_this_kernel.then_some(ProcessIdentity { pid: self.number, number, start })
    }
}
