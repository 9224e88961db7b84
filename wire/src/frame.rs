//! Where one message ends and how many descriptors it announces, told from its first bytes.
//!
//! Nothing here takes memory: a length is judged before anybody makes room for it.

use crate::size::{
    ADD_HEAD, EXTENDED_HEAD, HELLO_SIZE, INFO_SIZE, REPLY_HEAD, SLOT_SIZE, TAG_SIZE,
};
use crate::{Errno, Fault, MAX_DESCRIPTORS, MAX_PAYLOAD, MAX_RECORD, MAX_TEXT, opcode};

/// How much a decoder takes from the other end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// The largest payload of an ADD, in bytes.
    pub payload: usize,
    /// The largest body of an extended message, in bytes.
    pub body: usize,
}

impl Limits {
    /// What a broker takes from a peer, and a client from a broker.
    pub const PEER: Self = Self { payload: MAX_PAYLOAD, body: 65536 };
    /// What worker and supervisor take from each other: payloads with their record before
    /// them, and a policy file of up to 16 MiB.
    pub const CONTROL: Self = Self { payload: MAX_PAYLOAD + MAX_RECORD, body: 17 << 20 };

    /// The largest message under these limits, in bytes.
    pub fn message(&self) -> usize {
        (ADD_HEAD + self.payload)
            .max(EXTENDED_HEAD + self.body)
            .max(REPLY_HEAD + MAX_TEXT)
            .max(HELLO_SIZE)
    }
}

/// What the first bytes of a message say.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Frame {
    /// Too few bytes to tell even how long it will be; it announces at most this many descriptors.
    Unknown { descriptors: usize },
    /// `length` bytes in all, `descriptors` of them announced.
    Known { length: usize, descriptors: usize },
    /// No end can be found: the stream is out of step from here on.
    Lost(Fault),
}

/// Judges the message that starts with `bytes`.
pub(crate) fn frame(bytes: &[u8], limits: Limits) -> Frame {
    let Some(op) = i16_at(bytes, 0) else {
        return Frame::Unknown { descriptors: MAX_DESCRIPTORS };
    };
    match op {
        opcode::HELLO => known(HELLO_SIZE),
        opcode::ADD => add(bytes, limits),
        opcode::DEL | opcode::GET => known(SLOT_SIZE),
        opcode::TAG => known(TAG_SIZE),
        opcode::INFO => known(INFO_SIZE),
        opcode::REPLY => reply(bytes),
        opcode::FIRST_EXTENDED.. => extended(bytes, limits),
        _ => Frame::Lost(Fault::fatal(Errno::PROTO, "unknown opcode")),
    }
}

fn known(length: usize) -> Frame {
    Frame::Known { length, descriptors: 0 }
}

fn add(bytes: &[u8], limits: Limits) -> Frame {
    let (Some(ufd), Some(nob)) = (i32_at(bytes, 8), i32_at(bytes, 12)) else {
        return Frame::Unknown { descriptors: 1 };
    };
    match usize::try_from(nob) {
        Ok(nob) if nob <= limits.payload => {
            Frame::Known { length: ADD_HEAD + nob, descriptors: usize::from(ufd >= 0) }
        }
        _ => Frame::Lost(Fault::fatal(Errno::INVAL, "payload size out of range")),
    }
}

fn reply(bytes: &[u8]) -> Frame {
    let Some(nob) = i16_at(bytes, 4) else { return Frame::Unknown { descriptors: 0 } };
    match usize::try_from(nob) {
        Ok(nob) if (1..=MAX_TEXT).contains(&nob) => known(REPLY_HEAD + nob),
        _ => Frame::Lost(Fault::fatal(Errno::PROTO, "text size out of range")),
    }
}

fn extended(bytes: &[u8], limits: Limits) -> Frame {
    let (Some(flags), Some(length)) = (i16_at(bytes, 2), i32_at(bytes, 4)) else {
        return Frame::Unknown { descriptors: MAX_DESCRIPTORS };
    };
    let (_, descriptors) = split_flags(flags);
    match usize::try_from(length) {
        Ok(length) if length <= limits.body && descriptors <= MAX_DESCRIPTORS => {
            Frame::Known { length: EXTENDED_HEAD + length, descriptors }
        }
        _ => Frame::Lost(Fault::fatal(Errno::PROTO, "message too long")),
    }
}

/// An extended message's own flags, and the number of its descriptors.
pub(crate) fn split_flags(flags: i16) -> (u8, usize) {
    let flags = u16::from_ne_bytes(flags.to_ne_bytes());
    let [own, count] = flags.to_be_bytes();
    (own, usize::from(count))
}

/// Returns the bytes at `offset` as an array, or `None` if there are too few.
fn array_at<const N: usize>(bytes: &[u8], offset: usize) -> Option<[u8; N]> {
    bytes.get(offset..)?.first_chunk().copied()
}

pub(crate) fn i16_at(bytes: &[u8], offset: usize) -> Option<i16> {
    array_at(bytes, offset).map(i16::from_ne_bytes)
}

pub(crate) fn i32_at(bytes: &[u8], offset: usize) -> Option<i32> {
    array_at(bytes, offset).map(i32::from_ne_bytes)
}

pub(crate) fn i64_at(bytes: &[u8], offset: usize) -> Option<i64> {
    array_at(bytes, offset).map(i64::from_ne_bytes)
}

/// Writes the fixed fields of a message one behind the other.
pub(crate) struct Head {
    bytes: [u8; 16],
    length: usize,
}

impl Head {
    pub(crate) fn new(op: i16) -> Self {
        Self { bytes: [0; 16], length: 0 }.i16(op)
    }

    pub(crate) fn i16(self, value: i16) -> Self {
        self.put(&value.to_ne_bytes())
    }

    pub(crate) fn i32(self, value: i32) -> Self {
        self.put(&value.to_ne_bytes())
    }

    pub(crate) fn i64(self, value: i64) -> Self {
        self.put(&value.to_ne_bytes())
    }

    fn put(mut self, field: &[u8]) -> Self {
        let end = self.length + field.len();
        self.bytes[self.length..end].copy_from_slice(field);
        self.length = end;
        self
    }

    /// The fields as an array of exactly their size.
    pub(crate) fn done<const N: usize>(self) -> [u8; N] {
        debug_assert_eq!(self.length, N);
        let mut out = [0; N];
        out.copy_from_slice(&self.bytes[..N]);
        out
    }
}
