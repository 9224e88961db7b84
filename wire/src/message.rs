//! The messages themselves, and how each is written.
//!
//! ADD has a large variable part, and offers its head apart. So a sender can gather head and
//! payload in one sendmsg(2) without copying.

use crate::frame::Head;
use crate::size::{
    ADD_HEAD, EXTENDED_HEAD, HELLO_SIZE, INFO_SIZE, REPLY_HEAD, SLOT_SIZE, TAG_SIZE,
};
use crate::{Errno, MAX_DESCRIPTORS, MAX_TEXT, Payload, Slot, Tag, opcode};

/// A complete message, with the descriptors (of type `F`) that belong to it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Message<F> {
    /// HEL: asks for version 2.
    Hello(Hello),
    /// ADD: a deposit, on its way in or out.
    Add(Add<F>),
    /// DEL: asks to delete a deposit.
    Del(Slot),
    /// REP: success or failure.
    Reply(Reply),
    /// TAG: asks how much a tag holds.
    Tag(Tag),
    /// INF: how much a tag holds.
    Info(Info),
    /// GET: asks for a deposit.
    Get(Slot),
    /// Any opcode from 64 up.
    Extended(Extended<F>),
}

/// HEL, 16 bytes: what a client of version 2 sends first, and gets back.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Hello {
    /// How many tags the peer can see; 0 in the question.
    pub tags: i16,
    /// The features known, or granted.
    pub flags: i32,
    /// The broker's instance number; 0 in the question.
    pub key: i64,
}

/// ADD, 16 bytes and the payload.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Add<F> {
    /// Where.
    pub slot: Slot,
    /// The number the descriptor had in the process that deposited it, or negative for a
    /// deposit without one. Given back unchanged.
    pub ufd: i32,
    /// The bytes deposited, as many as the decoder's limits allow.
    pub payload: Payload,
    /// The descriptor; there is one if, and only if, `ufd` is not negative.
    pub descriptor: Option<F>,
}

/// REP, 6 bytes and a text: the answer to what has no other answer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Reply {
    /// 0, or an error number negated.
    pub rc: i16,
    /// A short sentence, without its closing NUL.
    pub text: String,
}

impl Reply {
    /// Returns the error that this reply carries, or `None` if it reports success.
    pub fn error(&self) -> Option<Errno> {
        Errno::new(-i32::from(self.rc))
    }
}

/// INF, 12 bytes: the answer to a TAG.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Info {
    /// The largest used index plus one; 0 when the tag is empty. Where the largest index is
    /// 2³¹−1, one more cannot be written: it stays 2³¹−1.
    pub used: i32,
    /// The sum of the payload sizes in bytes, at most 2³¹−1.
    pub total: i32,
}

/// Any message with an opcode from 64 up: i16 op · i16 flags · i32 length · the body.
///
/// The low eight bits of the flags on the wire are the number of descriptors that travel with the
/// message. So even an unknown message can be skipped with its descriptors. The high eight bits are
/// the opcode's own.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Extended<F> {
    /// The opcode.
    pub op: i16,
    /// The opcode's own flags.
    pub flags: u8,
    /// What follows the head.
    pub body: Payload,
    /// The descriptors, at most [`MAX_DESCRIPTORS`].
    pub descriptors: Vec<F>,
}

impl<F> Extended<F> {
    /// The head to send before the body.
    ///
    /// A body of 2 GiB or more, or more than [`MAX_DESCRIPTORS`] descriptors, cannot be sent:
    /// the head then names a length that every decoder refuses.
    pub fn head(&self) -> [u8; EXTENDED_HEAD] {
        let count = u8::try_from(self.descriptors.len().min(MAX_DESCRIPTORS)).unwrap_or(u8::MAX);
        let length = i32::try_from(self.body.len()).unwrap_or(-1);
        Head::new(self.op)
            .i16(i16::from_ne_bytes(u16::from_be_bytes([self.flags, count]).to_ne_bytes()))
            .i32(length)
            .done()
    }
}

impl<F> Message<F> {
    /// The whole message as bytes; its descriptors travel beside them, on the first byte.
    pub fn to_bytes(&self) -> Vec<u8> {
        match self {
            Self::Hello(message) => hello(*message).to_vec(),
            Self::Add(add) => joined(&add_head(add.slot, add.ufd, add.payload.len()), &add.payload),
            Self::Del(slot) => del(*slot).to_vec(),
            Self::Get(slot) => get(*slot).to_vec(),
            Self::Tag(number) => tag(*number).to_vec(),
            Self::Info(message) => info(*message).to_vec(),
            Self::Reply(message) => reply(message.rc, &message.text),
            Self::Extended(message) => joined(&message.head(), &message.body),
        }
    }
}

/// The bytes of a HEL.
pub fn hello(hello: Hello) -> [u8; HELLO_SIZE] {
    Head::new(opcode::HELLO).i16(hello.tags).i32(hello.flags).i64(hello.key).done()
}

/// The head of an ADD; `payload` bytes follow it. A payload beyond 2³¹−1 bytes is announced
/// with a length that every decoder refuses.
pub fn add_head(slot: Slot, ufd: i32, payload: usize) -> [u8; ADD_HEAD] {
    Head::new(opcode::ADD)
        .i16(slot.tag.get())
        .i32(slot.index.get())
        .i32(ufd)
        .i32(i32::try_from(payload).unwrap_or(-1))
        .done()
}

/// The bytes of a DEL.
pub fn del(slot: Slot) -> [u8; SLOT_SIZE] {
    Head::new(opcode::DEL).i16(slot.tag.get()).i32(slot.index.get()).done()
}

/// The bytes of a GET.
pub fn get(slot: Slot) -> [u8; SLOT_SIZE] {
    Head::new(opcode::GET).i16(slot.tag.get()).i32(slot.index.get()).done()
}

/// The bytes of a TAG.
pub fn tag(tag: Tag) -> [u8; TAG_SIZE] {
    Head::new(opcode::TAG).i16(tag.get()).done()
}

/// The bytes of an INF.
pub fn info(info: Info) -> [u8; INFO_SIZE] {
    Head::new(opcode::INFO).i16(0).i32(info.used).i32(info.total).done()
}

/// The bytes of a REP. A text that is too long is cut, at a character's edge, to fit
/// [`MAX_TEXT`] with its closing NUL; a NUL inside it ends it.
pub fn reply(rc: i16, text: &str) -> Vec<u8> {
    let text = fitting(text);
    let length = i16::try_from(text.len() + 1).unwrap_or(i16::MAX);
    let head: [u8; REPLY_HEAD] = Head::new(opcode::REPLY).i16(rc).i16(length).done();
    let mut bytes = Vec::with_capacity(REPLY_HEAD + text.len() + 1);
    bytes.extend_from_slice(&head);
    bytes.extend_from_slice(text.as_bytes());
    bytes.push(0);
    bytes
}

fn fitting(text: &str) -> &str {
    cut(text.split('\0').next().unwrap_or_default(), MAX_TEXT - 1)
}

/// As much of the text as fits into so many bytes, cut at a character's edge.
pub(crate) fn cut(text: &str, most: usize) -> &str {
    let mut end = text.len().min(most);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

fn joined(head: &[u8], body: &[u8]) -> Vec<u8> {
    [head, body].concat()
}
