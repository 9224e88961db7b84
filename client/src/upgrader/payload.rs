//! The payload of a deposit that an upgrader made: its name, its role, and what belongs to it.
//!
//! Native byte order, since both ends are on one machine. The head keeps its layout in every
//! version, so that what a later one wrote can still be refused by name:
//!
//! ```text
//! 0: magic[8] · 8: u16 major · 10: u16 minor · 12: u16 role · 14: u16 length of the name · 16: name
//! ```
//!
//! Behind it come fields until the end, each `0: u16 field · 2: u16 zero · 4: u32 length · 8: bytes`. A
//! field that is not known is skipped; a field that changes what the others mean takes another
//! major version.

use super::socket_file::SocketFile;
use super::{Address, ConnectionState};

/// What a deposit of an upgrader is for.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Role {
    /// A socket that others come to.
    Listener,
    /// A connection, with its [`ConnectionState`].
    Connection,
    /// An open file.
    File,
    /// What the program stored under a name of its own.
    Stored,
}

/// A deposit's payload, taken apart.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Record {
    pub(crate) name: String,
    pub(crate) role: Role,
    /// Of a [`Role::Stored`], only `extra` means anything.
    pub(crate) state: ConnectionState,
    /// The file of a Unix socket that others come to.
    pub(crate) file: Option<SocketFile>,
    /// The program that deposits it.
    pub(crate) program: Option<String>,
}

/// What a payload turned out to be.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Found {
    /// Of an upgrader.
    Record(Box<Record>),
    /// Of an upgrader, under this name, and not to be understood by this version.
    Unreadable(String),
    /// Of somebody else.
    Foreign,
}

/// The longest name, in bytes.
pub(crate) const MAX_NAME: usize = 255;

const MAGIC: [u8; 8] = *b"\x7ffdbupg\0";
const MAJOR: u16 = 1;
const MINOR: u16 = 0;

/// The numbers of the fields.
mod field {
    pub(super) const PEER: u16 = 1;
    pub(super) const LOCAL: u16 = 2;
    pub(super) const PROTOCOL: u16 = 3;
    pub(super) const BUFFERED: u16 = 4;
    pub(super) const EXTRA: u16 = 5;
    pub(super) const FILE: u16 = 6;
    pub(super) const PROGRAM: u16 = 7;
}

impl Role {
    /// Every role, in the order of their numbers, which begin with 1.
    const ALL: [Self; 4] = [Self::Listener, Self::Connection, Self::File, Self::Stored];

    fn number(self) -> u16 {
        match self {
            Self::Listener => 1,
            Self::Connection => 2,
            Self::File => 3,
            Self::Stored => 4,
        }
    }

    fn from_number(number: u16) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.number() == number)
    }
}

impl Record {
    /// A record without a state.
    #[cfg(test)]
    pub(crate) fn plain(name: &str, role: Role) -> Self {
        Self {
            name: name.to_owned(),
            role,
            state: ConnectionState::default(),
            file: None,
            program: None,
        }
    }

    /// The payload. The name has at most [`MAX_NAME`] bytes.
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let mut out = MAGIC.to_vec();
        let length = u16::try_from(self.name.len()).unwrap_or(u16::MAX);
        for number in [MAJOR, MINOR, self.role.number(), length] {
            out.extend(number.to_ne_bytes());
        }
        out.extend(self.name.as_bytes());
        let ConnectionState { peer, local, protocol, buffered, extra } = &self.state;
        if let Some(peer) = peer {
            put(&mut out, field::PEER, &peer.to_bytes());
        }
        if let Some(local) = local {
            put(&mut out, field::LOCAL, &local.to_bytes());
        }
        if let Some(protocol) = protocol {
            put(&mut out, field::PROTOCOL, protocol.as_bytes());
        }
        for (number, bytes) in [(field::BUFFERED, buffered), (field::EXTRA, extra)] {
            if !bytes.is_empty() {
                put(&mut out, number, bytes);
            }
        }
        if let Some(file) = &self.file {
            put(&mut out, field::FILE, &file.to_bytes());
        }
        if let Some(program) = &self.program {
            put(&mut out, field::PROGRAM, program.as_bytes());
        }
        out
    }
}

impl Found {
    /// Reads a payload, of any depositor.
    pub(crate) fn read(payload: &[u8]) -> Self {
        let Some(head) = Head::read(payload) else { return Self::Foreign };
        let name = head.name.to_owned();
        match (head.major, head.role, Fields::read(head.rest)) {
            (MAJOR, Some(role), Some(Fields { state, file, program })) => {
                Self::Record(Box::new(Record { name, role, state, file, program }))
            }
            _ => Self::Unreadable(name),
        }
    }
}

/// What every version begins with.
struct Head<'a> {
    major: u16,
    role: Option<Role>,
    name: &'a str,
    rest: &'a [u8],
}

impl<'a> Head<'a> {
    fn read(payload: &'a [u8]) -> Option<Self> {
        let rest = payload.strip_prefix(&MAGIC)?;
        let (major, rest) = number(rest)?;
        let (_minor, rest) = number(rest)?;
        let (role, rest) = number(rest)?;
        let (length, rest) = number(rest)?;
        let (name, rest) = rest.split_at_checked(length.into())?;
        let name = std::str::from_utf8(name).ok().filter(|name| is_name(name))?;
        Some(Self { major, role: Role::from_number(role), name, rest })
    }
}

/// Whether a text can be a name: 1 to 255 bytes, and no NUL.
pub(crate) fn is_name(text: &str) -> bool {
    (1..=MAX_NAME).contains(&text.len()) && !text.contains('\0')
}

fn number(bytes: &[u8]) -> Option<(u16, &[u8])> {
    bytes.split_first_chunk().map(|(number, rest)| (u16::from_ne_bytes(*number), rest))
}

fn put(out: &mut Vec<u8>, field: u16, bytes: &[u8]) {
    out.extend(field.to_ne_bytes());
    out.extend([0; 2]);
    // What is longer than a payload is refused before it is deposited.
    out.extend(u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_ne_bytes());
    out.extend(bytes);
}

/// What the fields say.
#[derive(Default)]
struct Fields {
    state: ConnectionState,
    file: Option<SocketFile>,
    program: Option<String>,
}

impl Fields {
    /// Returns `None` if they are cut off, or a known one makes no sense.
    fn read(mut rest: &[u8]) -> Option<Self> {
        let mut fields = Self::default();
        while !rest.is_empty() {
            let (id, behind) = number(rest)?;
            let (_zero, behind) = number(behind)?;
            let (length, behind) = behind.split_first_chunk()?;
            let length = usize::try_from(u32::from_ne_bytes(*length)).ok()?;
            let (bytes, behind) = behind.split_at_checked(length)?;
            fields.take(id, bytes)?;
            rest = behind;
        }
        Some(fields)
    }

    fn take(&mut self, id: u16, bytes: &[u8]) -> Option<()> {
        let text = || String::from_utf8(bytes.to_vec()).ok();
        match id {
            field::PEER => self.state.peer = Some(Address::from_bytes(bytes)?),
            field::LOCAL => self.state.local = Some(Address::from_bytes(bytes)?),
            field::PROTOCOL => self.state.protocol = Some(text()?),
            field::BUFFERED => self.state.buffered = bytes.to_vec(),
            field::EXTRA => self.state.extra = bytes.to_vec(),
            field::FILE => self.file = Some(SocketFile::from_bytes(bytes)?),
            field::PROGRAM => self.program = Some(text()?),
            _ => {}
        }
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use std::net::SocketAddr;
    use std::path::PathBuf;

    use proptest::prelude::*;

    fn addresses() -> impl Strategy<Value = Option<Address>> {
        let path = "[a-z/é]{1,100}".prop_map(|path| Address::Path(PathBuf::from(path)));
        prop::option::of(prop_oneof![
            any::<SocketAddr>().prop_map(Address::Ip),
            path,
            prop::collection::vec(any::<u8>(), 0..100).prop_map(Address::Abstract),
            Just(Address::Unnamed),
        ])
    }

    fn bytes() -> impl Strategy<Value = Vec<u8>> {
        prop::collection::vec(any::<u8>(), 0..300)
    }

    prop_compose! {
        fn records()(
            name in "[^\0]{1,60}",
            role in prop::sample::select(&Role::ALL),
            peer in addresses(),
            local in addresses(),
            protocol in prop::option::of(".{0,20}"),
            buffered in bytes(),
            extra in bytes(),
            file in prop::option::of((any::<[u64; 4]>(), "[a-z/é]{1,100}")),
            program in prop::option::of(".{0,20}"),
        ) -> Record {
            let state = ConnectionState { peer, local, protocol, buffered, extra };
            let file = file.map(|(numbers, path)| SocketFile::numbered(path.into(), numbers));
            Record { name, role, state, file, program }
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_again(record in records()) {
            prop_assert_eq!(Found::read(&record.to_bytes()), Found::Record(Box::new(record)));
        }

        #[test]
        fn no_bytes_make_the_reader_fail(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            Found::read(&bytes);
            let marked: Vec<u8> = MAGIC.into_iter().chain(bytes).collect();
            Found::read(&marked);
        }

        #[test]
        fn a_payload_that_is_damaged_anywhere_is_read_as_something(
            record in records(), at in any::<prop::sample::Index>(), byte in any::<u8>(),
            cut in any::<prop::sample::Index>(),
        ) {
            let mut payload = record.to_bytes();
            let at = at.index(payload.len());
            payload[at] = byte;
            Found::read(&payload);
            payload.truncate(cut.index(payload.len()));
            Found::read(&payload);
        }

        #[test]
        fn a_field_of_a_later_version_is_skipped(
            record in records(), id in 8_u16.., later in bytes(),
        ) {
            let mut payload = record.to_bytes();
            put(&mut payload, id, &later);
            prop_assert_eq!(Found::read(&payload), Found::Record(Box::new(record)));
        }

        #[test]
        fn what_a_later_major_version_wrote_is_refused_by_name(
            record in records(), major in 2_u16.., later in bytes(),
        ) {
            let mut payload = record.to_bytes();
            payload[8..10].copy_from_slice(&major.to_ne_bytes());
            payload.extend(later);
            prop_assert_eq!(Found::read(&payload), Found::Unreadable(record.name));
        }

        #[test]
        fn what_somebody_else_deposited_is_left_to_him(bytes in bytes()) {
            prop_assume!(!bytes.starts_with(&MAGIC));
            prop_assert_eq!(Found::read(&bytes), Found::Foreign);
        }
    }

    #[test]
    fn a_later_minor_version_is_read() {
        let record = Record::plain("http", Role::Listener);
        let mut payload = record.to_bytes();
        payload[10..12].copy_from_slice(&7_u16.to_ne_bytes());
        assert_eq!(Found::read(&payload), Found::Record(Box::new(record)));
    }

    #[test]
    fn the_layout_is_what_the_documentation_says() {
        let mut record = Record::plain("ab", Role::Connection);
        record.state.extra = b"xyz".to_vec();
        let numbers = [1_u16, 0, 2, 2].map(u16::to_ne_bytes).concat();
        let field = [5_u16, 0].map(u16::to_ne_bytes).concat();
        let length = 3_u32.to_ne_bytes();
        let expected = [&b"\x7ffdbupg\0"[..], &numbers, b"ab", &field, &length, b"xyz"].concat();
        assert_eq!(record.to_bytes(), expected);
    }
}
