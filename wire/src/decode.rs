//! The decoder: takes the bytes and descriptors of each recvmsg(2), and returns complete messages.
//!
//! **Binding descriptors to messages.** One recvmsg of a stream may return several messages, and
//! the descriptors of the last of them together. It never reads past a send that carried
//! descriptors. So descriptors wait in a queue; a complete message that announces n of them takes n
//! from its front. A message violates that if descriptors came no later than its last byte, and are
//! left when it has taken its own. All are dropped, the message is answered with EINVAL, and the
//! connection ends.
//!
//! A decoder holds at most one incomplete message and what it was fed since it was last drained.

use std::collections::VecDeque;
use std::fmt;

use zeroize::Zeroize;

use crate::frame::{Frame, Limits, frame, i16_at, i32_at, i64_at, split_flags};
use crate::payload::reserve;
use crate::size::{ADD_HEAD, EXTENDED_HEAD, REPLY_HEAD};
use crate::{Add, Errno, Extended, Fault, Hello, Info, Message, Reply, Slot, Tag, opcode};

/// Turns a stream of bytes and descriptors (of type `F`) into messages.
pub struct Decoder<F> {
    limits: Limits,
    bytes: Vec<u8>,
    start: usize,
    /// How many bytes were fed in all.
    fed: u64,
    descriptors: VecDeque<Arrived<F>>,
    /// What the last complete message was.
    opcode: Option<i16>,
    dead: bool,
}

/// What waits for the message that claims it.
#[derive(Debug)]
struct Arrived<F> {
    /// The descriptor; none stands for all that one read brought when the kernel cut some of
    /// them off (MSG_CTRUNC). It keeps its place, so that its message does not claim what
    /// belongs to a later one.
    descriptor: Option<F>,
    /// How many bytes had been fed with it: a message that starts there or later has no claim.
    end: u64,
}

impl<F> Decoder<F> {
    /// An empty decoder.
    pub fn new(limits: Limits) -> Self {
        let (bytes, descriptors) = (Vec::new(), VecDeque::new());
        Self { limits, bytes, start: 0, fed: 0, descriptors, opcode: None, dead: false }
    }

    /// Takes the bytes and descriptors of one recvmsg(2).
    ///
    /// `truncated` says that the kernel set MSG_CTRUNC; the descriptors that still came are
    /// then dropped, and the message concerned is answered with EMFILE. After a fatal fault
    /// everything is dropped at once.
    pub fn feed(
        &mut self,
        bytes: &[u8],
        descriptors: impl IntoIterator<Item = F>,
        truncated: bool,
    ) {
        if self.dead {
            return;
        }
        self.compact();
        reserve(&mut self.bytes, bytes.len());
        self.bytes.extend_from_slice(bytes);
        self.fed += bytes.len() as u64;
        let end = self.fed;
        if truncated {
            descriptors.into_iter().for_each(drop);
            self.descriptors.push_back(Arrived { descriptor: None, end });
        } else {
            let arrived = descriptors.into_iter().map(|one| Arrived { descriptor: Some(one), end });
            self.descriptors.extend(arrived);
        }
    }

    /// How many bytes wait to be decoded: the part of a message, once [`Decoder::message`] has
    /// given none.
    pub fn pending(&self) -> usize {
        self.rest().len()
    }

    /// The bytes that wait to be decoded.
    pub fn rest(&self) -> &[u8] {
        &self.bytes[self.start..]
    }

    /// The opcode of the complete message that was given last, also of one with a fault.
    pub fn opcode(&self) -> Option<i16> {
        self.opcode
    }

    /// The next complete message, or what was wrong with it; none until more is fed.
    pub fn message(&mut self) -> Option<Result<Message<F>, Fault>> {
        if self.dead {
            return None;
        }
        let found = match frame(&self.bytes[self.start..], self.limits) {
            Frame::Lost(fault) => Err(fault),
            Frame::Unknown { descriptors } => self.in_progress(descriptors)?,
            Frame::Known { length, descriptors } if length > self.pending() => {
                self.in_progress(descriptors)?
            }
            Frame::Known { length, descriptors } => self.complete(length, descriptors),
        };
        if let Err(Fault { fatal: true, .. }) = found {
            self.die();
        }
        Some(found)
    }

    /// Nothing complete is left. Says whether more descriptors came already than the message in
    /// progress may announce, so that nobody makes us hold more by sending it slowly.
    fn in_progress(&self, announced: usize) -> Option<Result<Message<F>, Fault>> {
        let claimed = if self.pending() == 0 { 0 } else { announced };
        (self.descriptors.len() > claimed).then(|| Err(surplus(self.descriptors.front())))
    }

    fn complete(&mut self, length: usize, announced: usize) -> Result<Message<F>, Fault> {
        let body = self.start..self.start + length;
        self.opcode = i16_at(&self.bytes[body.clone()], 0);
        let message = self.claimed(body.clone(), length, announced);
        self.bytes[body].zeroize();
        message
    }

    fn claimed(
        &mut self,
        body: std::ops::Range<usize>,
        length: usize,
        announced: usize,
    ) -> Result<Message<F>, Fault> {
        self.start += length;
        let claim = self.claim(announced);
        let position = self.fed - self.pending() as u64;
        let left = self.descriptors.get(claim.unwrap_or(0));
        if left.is_some_and(|left| left.end <= position) {
            return Err(surplus(left));
        }
        let claimed = self.descriptors.drain(..claim?);
        parse(&self.bytes[body], claimed.filter_map(|arrived| arrived.descriptor))
    }

    /// Returns how many descriptors from the front of the queue belong to a message that announced
    /// so many: all of them. If not all are there, those that came for it are dropped.
    fn claim(&mut self, announced: usize) -> Result<usize, Fault> {
        let cut_off = |arrived: &Arrived<F>| arrived.descriptor.is_none();
        let fault = match self.descriptors.iter().take(announced).position(cut_off) {
            Some(position) => {
                self.descriptors.drain(..=position);
                NO_ROOM
            }
            None if self.descriptors.len() < announced => {
                self.descriptors.clear();
                MISSING
            }
            None => return Ok(announced),
        };
        Err(fault)
    }

    fn compact(&mut self) {
        // Of the part of a message that moves to the front, no copy stays behind.
        let rest = self.pending();
        self.bytes.copy_within(self.start.., 0);
        self.bytes[rest..].zeroize();
        self.bytes.truncate(rest);
        self.start = 0;
        if self.bytes.is_empty() && self.bytes.capacity() > KEPT_CAPACITY {
            self.bytes = Vec::new();
        }
    }

    fn die(&mut self) {
        *self = Self::new(self.limits);
        self.dead = true;
    }
}

impl<F> fmt::Debug for Decoder<F> {
    /// What it was fed may be secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Decoder with {} bytes, ", self.pending())?;
        write!(f, "{} descriptors", self.descriptors.len())
    }
}

impl<F> Drop for Decoder<F> {
    fn drop(&mut self) {
        self.bytes.zeroize();
    }
}

/// What is wrong with a message that left this one in the queue.
fn surplus<F>(left: Option<&Arrived<F>>) -> Fault {
    match left {
        Some(Arrived { descriptor: None, .. }) => NO_ROOM_UNASKED,
        _ => SURPLUS,
    }
}

/// The room that an idle decoder keeps.
const KEPT_CAPACITY: usize = 4096;

/// Reads the fields of one complete message. `frame` has checked its length.
fn parse<F>(bytes: &[u8], mut descriptors: impl Iterator<Item = F>) -> Result<Message<F>, Fault> {
    let short = Fault::fatal(Errno::PROTO, "message too short");
    let op = i16_at(bytes, 0).ok_or(short)?;
    let second = i16_at(bytes, 2).ok_or(short)?;
    Ok(match op {
        opcode::HELLO => Message::Hello(Hello {
            tags: second,
            flags: i32_at(bytes, 4).ok_or(short)?,
            key: i64_at(bytes, 8).ok_or(short)?,
        }),
        opcode::ADD => Message::Add(Add {
            slot: slot(bytes)?,
            ufd: i32_at(bytes, 8).ok_or(short)?,
            payload: bytes.get(ADD_HEAD..).ok_or(short)?.into(),
            descriptor: descriptors.next(),
        }),
        opcode::DEL => Message::Del(slot(bytes)?),
        opcode::GET => Message::Get(slot(bytes)?),
        opcode::TAG => Message::Tag(Tag::new(second).ok_or(BAD_TAG)?),
        opcode::INFO => Message::Info(Info {
            used: i32_at(bytes, 4).ok_or(short)?,
            total: i32_at(bytes, 8).ok_or(short)?,
        }),
        opcode::REPLY => Message::Reply(Reply { rc: second, text: text(&bytes[REPLY_HEAD..]) }),
        _ => Message::Extended(Extended {
            op,
            flags: split_flags(second).0,
            body: bytes.get(EXTENDED_HEAD..).ok_or(short)?.into(),
            descriptors: descriptors.collect(),
        }),
    })
}

const SURPLUS: Fault = Fault::fatal(Errno::INVAL, "more descriptors came than were announced");
const NO_ROOM_UNASKED: Fault =
    Fault::fatal(Errno::MFILE, "no room for the descriptors, and none was expected");
const NO_ROOM: Fault = Fault::survivable(Errno::MFILE, "no room for the descriptor");
const MISSING: Fault =
    Fault::survivable(Errno::INVAL, "a descriptor was announced and did not come");
const BAD_TAG: Fault = Fault::survivable(Errno::INVAL, "tag out of range");
const BAD_INDEX: Fault = Fault::survivable(Errno::INVAL, "index out of range");

fn slot(bytes: &[u8]) -> Result<Slot, Fault> {
    let tag = i16_at(bytes, 2).and_then(Tag::new).ok_or(BAD_TAG)?;
    let index = i32_at(bytes, 4).and_then(crate::Index::new).ok_or(BAD_INDEX)?;
    Ok(Slot { tag, index })
}

/// The text up to its NUL; bytes that are no UTF-8 are replaced.
fn text(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|&byte| byte == 0).unwrap_or(bytes.len());
    String::from_utf8_lossy(&bytes[..end]).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::get;

    /// Feeds and decodes one message, and has the next feed begin.
    fn decode(decoder: &mut Decoder<()>, bytes: &[u8]) {
        decoder.feed(bytes, [], false);
        decoder.message().unwrap().unwrap();
        decoder.feed(&[], [], false);
    }

    #[test]
    fn what_has_been_decoded_takes_no_room() {
        let mut decoder = Decoder::new(Limits::PEER);
        let small = get(Slot::new(1, 2).unwrap());
        decode(&mut decoder, &small);
        assert!(decoder.bytes.capacity() > 0, "a little room is kept");
        let body = vec![7; 60_000].into();
        let large = Extended::<()> { op: 80, flags: 0, body, descriptors: Vec::new() };
        decode(&mut decoder, &Message::Extended(large).to_bytes());
        assert!(decoder.bytes.capacity() <= KEPT_CAPACITY, "{}", decoder.bytes.capacity());
        (0..1000).for_each(|_| decode(&mut decoder, &small));
        assert!(decoder.bytes.capacity() <= KEPT_CAPACITY, "{}", decoder.bytes.capacity());
    }

    #[test]
    fn of_what_has_been_decoded_no_byte_stays() {
        let mut decoder = Decoder::<()>::new(Limits::PEER);
        let next = get(Slot::new(1, 2).unwrap());
        let secret = crate::add_head(Slot::new(3, 4).unwrap(), -1, 6);
        decoder.feed(&[&secret[..], b"secret", &next].concat(), [], false);
        decoder.message().unwrap().unwrap();
        let (decoded, rest) = decoder.bytes.split_at(decoder.start);
        assert!(decoded.len() == 22 && decoded.iter().all(|byte| *byte == 0), "{decoded:?}");
        assert_eq!(rest, next);
    }

    #[test]
    fn how_much_a_decoder_holds_is_shown_and_not_what() {
        let mut decoder = Decoder::new(Limits::PEER);
        decoder.feed(&crate::add_head(Slot::new(3, 4).unwrap(), 5, 6), ["kept"], false);
        assert_eq!(decoder.message(), None);
        assert_eq!(format!("{decoder:?}"), "Decoder with 16 bytes, 1 descriptors");
        assert_eq!(decoder.rest().len(), decoder.pending());
    }
}
