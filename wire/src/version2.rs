//! Version 2 of the protocol: what may be asked once HEL has been answered with HEL.
//!
//! A client that sends HEL and gets HEL back may send a [`Request`] wherever it may send one of
//! version 1; it is answered by one [`Answer`], or by a [`crate::Reply`] that tells a failure.
//! Both travel as [`Extended`] messages, without descriptors.
//!
//! Where the layout says zero, zero is written, and anything is read; the same holds for the flags, but for one of
//! FOUND.

pub use fdbroker_types::Kind;

pub use crate::inspected::Inspected;
pub use crate::route::Route;

use crate::fields::{Body, Fields};
use crate::message::cut;
use crate::{Errno, Extended, Fault, Hello, Index, Limits, Slot, Tag, opcode};

/// The longest name that can be asked for, in bytes.
pub const MAX_NAME: usize = 255;
/// The longest text of a [`Report`], in bytes.
pub const MAX_REPORT: usize = 60_000;

/// What of version 2 a client knows, or a broker grants: the flags of a HEL.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Features(i32);

impl Features {
    /// FIND and LIST.
    pub const LISTING: Self = Self(1);
    /// RELOAD, PURGE, STATUS, LEASES and END_LEASE.
    pub const OPERATE: Self = Self(2);
    /// GET_MANY, ADD_MANY and DEL_MANY.
    pub const MANY: Self = Self(4);
    /// CLAIM, RELEASE, READY and WITHDRAW; and being told by EVENT.
    pub const CLAIM: Self = Self(8);
    /// INSPECT.
    pub const INSPECT: Self = Self(16);
    /// All that are specified.
    pub const ALL: Self =
        Self(Self::LISTING.0 | Self::OPERATE.0 | Self::MANY.0 | Self::CLAIM.0 | Self::INSPECT.0);

    /// The features of a HEL, those that nobody knows included.
    pub const fn from_flags(flags: i32) -> Self {
        Self(flags)
    }

    /// As they stand in a HEL.
    pub const fn flags(self) -> i32 {
        self.0
    }

    /// Whether all of these are among them.
    pub const fn contains(self, others: Self) -> bool {
        self.0 & others.0 == others.0
    }

    /// Those that are among both: what a broker that serves these grants to whom asks for those.
    pub const fn and(self, others: Self) -> Self {
        Self(self.0 & others.0)
    }
}

/// The HEL that a client begins version 2 with.
pub const fn greeting(known: Features) -> Hello {
    Hello { tags: 0, flags: known.0, key: 0 }
}

/// What a client asks.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Request {
    /// FIND: which slot or tag is it that has this name?
    Find(Name),
    /// LIST: which slots are there?
    List {
        /// In this tag; none stands for all.
        tag: Option<Tag>,
        /// Only those behind this slot, in the order of tag and index.
        after: Option<Slot>,
    },
    /// RELOAD: read the policy again.
    Reload,
    /// PURGE: delete what is in this slot; none stands for every deposit that no rule reaches.
    Purge(Option<Slot>),
    /// STATUS: how are you?
    Status,
    /// LEASES: who has what on terms? As many as a report has room for.
    Leases {
        /// Only leases with greater numbers; 0 for the first ones.
        after: u64,
    },
    /// END_LEASE: end the lease of this number.
    EndLease(u64),
    /// INSPECT: which of these are there? As many as a report has room for.
    Inspect {
        /// Of which sort.
        what: Inspected,
        /// Only those behind the one that had this number; 0 for the first ones.
        after: u64,
    },
}

/// What a broker answers when it does not fail.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Answer {
    /// FOUND answers FIND.
    Found(Found),
    /// LISTING answers LIST.
    Listing(Listing),
    /// REPORT answers RELOAD, PURGE, STATUS, LEASES, END_LEASE and INSPECT.
    Report(Report),
}

/// A name to look up: 1 to [`MAX_NAME`] bytes of UTF-8 without NUL.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Name(String);

impl Name {
    /// Returns the name of this text, or `None` if it is empty, too long, or has a NUL in it.
    pub fn new(text: impl Into<String>) -> Option<Self> {
        let text = text.into();
        let fits = (1..=MAX_NAME).contains(&text.len()) && !text.contains('\0');
        fits.then_some(Self(text))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// What a name means.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Found {
    /// A slot that users fill.
    Slot(Slot),
    /// A slot that the broker itself fills: each payload is the broker's.
    Resource(Slot),
    /// A whole tag.
    Tag(Tag),
}

impl Found {
    /// Returns the slot, of either kind, or `None` for a tag.
    #[must_use]
    pub const fn slot(self) -> Option<Slot> {
        match self {
            Self::Slot(slot) | Self::Resource(slot) => Some(slot),
            Self::Tag(_) => None,
        }
    }

    /// The flags of the message: clients that know none leave them aside.
    const fn flags(self) -> u8 {
        match self {
            Self::Resource(_) => IS_RESOURCE,
            Self::Slot(_) | Self::Tag(_) => 0,
        }
    }
}

/// One slot of a listing.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Entry {
    /// Which.
    pub slot: Slot,
    /// What it holds; `None` if that is not known, as of a device that is opened for each request.
    pub kind: Option<Kind>,
    /// The broker itself fills the slot.
    pub resource: bool,
    /// No rule of the policy reaches the slot. Only operators are told.
    pub unreachable: bool,
    /// It is lost when the broker ends, although a service manager keeps others. Only deposits are.
    pub here_only: bool,
    /// How its connections lead to their server; `None` if it is no connection of the broker's.
    pub route: Option<Route>,
    /// The user id of its depositor; `None` if that is not told.
    pub owner: Option<u32>,
    /// How many bytes of payload it has; `None` if that is not told.
    pub payload: Option<u32>,
    /// The resource's name, or the slot's by the name of its tag; may be empty.
    pub name: String,
}

/// A part of the answer to a LIST, as large as one message may be.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Listing {
    more: bool,
    entries: Vec<Entry>,
    /// Of all entries, in bytes.
    size: usize,
}

impl Listing {
    /// An empty one, with nothing behind it.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes another entry; or says no, and that there is more, when there is no room for it.
    /// In an empty listing there is room for every name of up to 65000 bytes.
    #[must_use = "an entry that found no room belongs into the next listing"]
    pub fn push(&mut self, entry: Entry) -> bool {
        let size = self.size + ENTRY_HEAD + entry.name.len();
        let fits = LISTING_HEAD + size <= Limits::PEER.body && self.entries.len() < MAX_ENTRIES;
        match fits {
            true => {
                self.entries.push(entry);
                self.size = size;
            }
            false => self.more = true,
        }
        fits
    }

    /// Whether there is more to ask for, behind the last of these.
    pub fn more(&self) -> bool {
        self.more
    }

    /// Marks the slots whose deposits are lost when the broker ends.
    pub fn mark_here_only(&mut self, is_here_only: impl Fn(Slot) -> bool) {
        self.entries.iter_mut().for_each(|entry| entry.here_only = is_here_only(entry.slot));
    }

    /// The entries.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// The entries, to keep.
    pub fn into_entries(self) -> Vec<Entry> {
        self.entries
    }
}

/// What became of a request, in sentences for people.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Report {
    /// Why it was not done; `None` if it was.
    pub error: Option<Errno>,
    /// What there is to say. Of more than [`MAX_REPORT`] bytes the first lines are sent, and one that says so.
    pub text: String,
}

impl Request {
    /// The message as it is sent.
    pub fn into_extended<F>(self) -> Extended<F> {
        let mut out = Body::default();
        let op = match self {
            Self::Find(Name(name)) => {
                out.0 = name.into_bytes();
                opcode::FIND
            }
            Self::List { tag, after } => {
                out.i16(tag.map_or(NONE_16, Tag::get)).i16(0);
                out.i16(after.map_or(NONE_16, |slot| slot.tag.get())).i16(0);
                out.i32(after.map_or(NONE_32, |slot| slot.index.get()));
                opcode::LIST
            }
            Self::Reload => opcode::RELOAD,
            Self::Purge(slot) => {
                out.i16(slot.map_or(NONE_16, |slot| slot.tag.get())).i16(0);
                out.i32(slot.map_or(NONE_32, |slot| slot.index.get()));
                opcode::PURGE
            }
            Self::Status => opcode::STATUS,
            Self::Leases { after } => {
                out.u64(after);
                opcode::LEASES
            }
            Self::EndLease(number) => {
                out.u64(number);
                opcode::END_LEASE
            }
            Self::Inspect { what, after } => {
                out.i16(what.number()).i16(0).i32(0).u64(after);
                opcode::INSPECT
            }
        };
        extended(op, out)
    }

    /// Reads a request; its descriptors, if somebody gave it any, are dropped.
    ///
    /// # Errors
    /// What to answer instead: EPROTO when it is no request of this version, EINVAL when it is
    /// one and makes no sense. The connection goes on.
    pub fn from_extended<F>(message: Extended<F>) -> Result<Self, Fault> {
        let Extended { op, body, descriptors, .. } = message;
        if !matches!(
            op,
            opcode::FIND
                | opcode::LIST
                | opcode::RELOAD
                | opcode::PURGE
                | opcode::STATUS
                | opcode::LEASES
                | opcode::END_LEASE
                | opcode::INSPECT
        ) {
            return Err(UNKNOWN);
        }
        if !descriptors.is_empty() {
            return Err(UNASKED);
        }
        if op == opcode::FIND {
            let name =
                String::from_utf8(body.into_vec()).ok().and_then(Name::new).ok_or(BAD_NAME)?;
            return Ok(Self::Find(name));
        }
        Self::read(op, &mut Fields(&body)).ok_or(BAD_REQUEST)
    }

    fn read(op: i16, fields: &mut Fields<'_>) -> Option<Self> {
        let request = match op {
            opcode::LIST => {
                let tag = fields.optional_tag()?;
                fields.i16()?;
                Self::List { tag, after: fields.after()? }
            }
            opcode::RELOAD => Self::Reload,
            opcode::PURGE => Self::Purge(fields.optional_slot()?),
            opcode::STATUS => Self::Status,
            opcode::LEASES => Self::Leases { after: fields.u64()? },
            opcode::END_LEASE => Self::EndLease(fields.u64()?),
            opcode::INSPECT => {
                let what = Inspected::from_number(fields.i16()?)?;
                fields.i16()?;
                fields.i32()?;
                Self::Inspect { what, after: fields.u64()? }
            }
            _ => return None,
        };
        fields.end().map(|()| request)
    }
}

impl Answer {
    /// The message as it is sent.
    pub fn into_extended<F>(self) -> Extended<F> {
        let mut out = Body::default();
        let op = match self {
            Self::Found(found) => {
                out.found(found);
                return Extended { flags: found.flags(), ..extended(opcode::FOUND, out) };
            }
            Self::Listing(listing) => {
                out.0.reserve_exact(LISTING_HEAD + listing.size);
                out.listing(&listing);
                opcode::LISTING
            }
            Self::Report(report) => {
                out.i32(-report.error.map_or(0, |errno| i32::from(errno.get())));
                out.bytes(fitting(report.text).as_bytes());
                opcode::REPORT
            }
        };
        extended(op, out)
    }

    /// Reads an answer; its descriptors, if somebody gave it any, are dropped.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn from_extended<F>(message: Extended<F>) -> Result<Self, Fault> {
        if !message.descriptors.is_empty() {
            return Err(UNASKED);
        }
        let mut fields = Fields(&message.body);
        match message.op {
            opcode::FOUND => fields.found(message.flags).map(Self::Found),
            opcode::LISTING => fields.listing().map(Self::Listing),
            opcode::REPORT => fields.report().map(Self::Report),
            _ => return Err(UNKNOWN),
        }
        .ok_or(BAD_ANSWER)
    }
}

/// The last line of a report that had more to say.
const NO_ROOM: &str = "(a report has no room for the rest)\n";
const NONE_16: i16 = -1;
const NONE_32: i32 = -1;
const IS_SLOT: i16 = 0;
const IS_TAG: i16 = 1;
const IS_RESOURCE: u8 = 1;
const RESOURCE: u8 = 1;
const UNREACHABLE: u8 = 2;
const HERE_ONLY: u8 = 16;
const KIND_UNKNOWN: u8 = 255;
const OWNER_UNTOLD: u32 = u32::MAX;
const LISTING_HEAD: usize = 4;
const ENTRY_HEAD: usize = 18;
const MAX_ENTRIES: usize = 32767;

pub(crate) const UNKNOWN: Fault = Fault::survivable(Errno::PROTO, "the opcode is not served");
pub(crate) const UNASKED: Fault =
    Fault::survivable(Errno::INVAL, "this opcode takes no descriptors");
const BAD_NAME: Fault =
    Fault::survivable(Errno::INVAL, "a name is 1 to 255 bytes of UTF-8 without NUL");
pub(crate) const BAD_REQUEST: Fault = Fault::survivable(Errno::INVAL, "malformed request");
pub(crate) const BAD_ANSWER: Fault = Fault::survivable(Errno::INVAL, "malformed answer");

pub(crate) fn extended<F>(op: i16, body: Body) -> Extended<F> {
    Extended { op, flags: 0, body: body.0.into(), descriptors: Vec::new() }
}

impl Body {
    fn found(&mut self, found: Found) {
        match found {
            Found::Slot(slot) | Found::Resource(slot) => {
                self.i16(slot.tag.get()).i16(IS_SLOT).i32(slot.index.get());
            }
            Found::Tag(tag) => {
                self.i16(tag.get()).i16(IS_TAG).i32(NONE_32);
            }
        }
    }

    fn listing(&mut self, listing: &Listing) {
        let count = i16::try_from(listing.entries.len()).unwrap_or(i16::MAX);
        self.i16(listing.more.into()).i16(count);
        listing.entries.iter().for_each(|entry| self.entry(entry));
    }

    fn entry(&mut self, entry: &Entry) {
        let marks = u8::from(entry.resource) * RESOURCE
            + u8::from(entry.unreachable) * UNREACHABLE
            + u8::from(entry.here_only) * HERE_ONLY
            + Route::marks(entry.route);
        let payload = entry.payload.map_or(NONE_32, |size| i32::try_from(size).unwrap_or(i32::MAX));
        self.i16(entry.slot.tag.get());
        self.bytes(&[entry.kind.map_or(KIND_UNKNOWN, Kind::number), marks]);
        self.i32(entry.slot.index.get()).u32(entry.owner.unwrap_or(OWNER_UNTOLD)).i32(payload);
        // No longer than the message that `Listing::push` found room in.
        self.u16(u16::try_from(entry.name.len()).unwrap_or(u16::MAX)).bytes(entry.name.as_bytes());
    }
}

impl Fields<'_> {
    fn optional_tag(&mut self) -> Option<Option<Tag>> {
        match self.i16()? {
            NONE_16 => Some(None),
            tag => Tag::new(tag).map(Some),
        }
    }

    /// Where a listing goes on; without a tag, the index may be anything.
    fn after(&mut self) -> Option<Option<Slot>> {
        let tag = self.optional_tag()?;
        self.i16()?;
        let index = self.i32()?;
        match tag {
            Some(tag) => Some(Some(Slot { tag, index: Index::new(index)? })),
            None => Some(None),
        }
    }

    /// A slot, or −1 twice.
    fn optional_slot(&mut self) -> Option<Option<Slot>> {
        let tag = self.i16()?;
        self.i16()?;
        match (tag, self.i32()?) {
            (NONE_16, NONE_32) => Some(None),
            (tag, index) => Slot::new(tag, index).map(Some),
        }
    }

    fn found(&mut self, flags: u8) -> Option<Found> {
        let fill = if flags & IS_RESOURCE == 0 { Found::Slot } else { Found::Resource };
        let tag = Tag::new(self.i16()?)?;
        let found = match (self.i16()?, self.i32()?) {
            (IS_SLOT, index) => fill(Slot { tag, index: Index::new(index)? }),
            (IS_TAG, NONE_32) => Found::Tag(tag),
            _ => return None,
        };
        self.end().map(|()| found)
    }

    fn listing(&mut self) -> Option<Listing> {
        let more = match self.i16()? {
            0 => false,
            1 => true,
            _ => return None,
        };
        let count = usize::try_from(self.i16()?).ok()?;
        let mut listing = Listing { more, ..Listing::new() };
        for _ in 0..count {
            // Never refused, since all of them came in one message.
            listing.push(self.entry()?).then_some(())?;
        }
        self.end().map(|()| listing)
    }

    fn entry(&mut self) -> Option<Entry> {
        let tag = Tag::new(self.i16()?)?;
        let kind = Kind::from_number(self.u8()?);
        let marks = self.u8()?;
        let index = Index::new(self.i32()?)?;
        let owner = Some(self.u32()?).filter(|&uid| uid != OWNER_UNTOLD);
        let payload = match self.i32()? {
            NONE_32 => None,
            size => Some(u32::try_from(size).ok()?),
        };
        let length = self.u16()?;
        Some(Entry {
            slot: Slot { tag, index },
            kind,
            resource: marks & RESOURCE != 0,
            unreachable: marks & UNREACHABLE != 0,
            here_only: marks & HERE_ONLY != 0,
            route: Route::of_marks(marks),
            owner,
            payload,
            name: self.text(length.into())?.to_owned(),
        })
    }

    fn report(&mut self) -> Option<Report> {
        let error = match self.i32()? {
            0 => None,
            rc => Some(Errno::new(rc.checked_neg()?)?),
        };
        let text = self.rest().filter(|text| text.len() <= MAX_REPORT)?;
        Some(Report { error, text: text.to_owned() })
    }
}

/// Returns a text as long as it may be: whole lines of it, and one that says so if there were more.
fn fitting(text: String) -> String {
    if text.len() <= MAX_REPORT {
        return text;
    }
    let kept = cut(&text, MAX_REPORT - NO_ROOM.len());
    let whole = kept.rfind('\n').map_or(kept, |end| cut(kept, end + 1));
    [whole, NO_ROOM].concat()
}
