//! What the tests feed to a decoder: messages, descriptors that are counted, and a model of how
//! the kernel hands both out.
#![allow(dead_code, reason = "each test file uses its own part of this")]

use std::cell::Cell;
use std::collections::VecDeque;
use std::rc::Rc;

use fdbroker_wire::{
    Add, Decoder, Errno, Extended, Hello, Info, Limits, MAX_DESCRIPTORS, MAX_PAYLOAD, MAX_TEXT,
    Message, Reply, Slot, Tag, opcode,
};
use proptest::prelude::*;

/// How many tokens there are.
#[derive(Clone, Default)]
pub(crate) struct Ledger(Rc<Cell<usize>>);

/// Stands for a descriptor. Two are equal when they have the same number.
#[derive(Debug)]
pub(crate) struct Token {
    pub(crate) number: u32,
    ledger: Rc<Cell<usize>>,
}

impl Ledger {
    pub(crate) fn token(&self, number: u32) -> Token {
        self.0.set(self.0.get() + 1);
        Token { number, ledger: Rc::clone(&self.0) }
    }

    pub(crate) fn tokens(&self, numbers: &[u32]) -> Vec<Token> {
        numbers.iter().map(|&number| self.token(number)).collect()
    }

    /// How many have not been dropped.
    pub(crate) fn live(&self) -> usize {
        self.0.get()
    }
}

impl Drop for Token {
    fn drop(&mut self) {
        self.ledger.set(self.ledger.get() - 1);
    }
}

impl std::fmt::Debug for Ledger {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} tokens", self.live())
    }
}

/// One sendmsg(2): bytes, and as many descriptors on the first of them.
#[derive(Clone, Debug)]
pub(crate) struct Send {
    pub(crate) bytes: Vec<u8>,
    pub(crate) descriptors: Vec<u32>,
}

/// One recvmsg(2).
pub(crate) type Read = Send;

/// How the kernel hands out what was sent, to reads of these sizes over and over: a read goes
/// on into the next send, never past one that carried descriptors, and may end anywhere.
pub(crate) fn reads(sends: &[Send], sizes: &[usize]) -> Vec<Read> {
    let mut queue: VecDeque<Send> =
        sends.iter().filter(|send| !send.bytes.is_empty()).cloned().collect();
    let mut reads = Vec::new();
    for &size in sizes.iter().cycle() {
        if queue.is_empty() {
            break;
        }
        reads.push(read(&mut queue, size.max(1)));
    }
    reads
}

fn read(queue: &mut VecDeque<Send>, size: usize) -> Read {
    let mut read = Read { bytes: Vec::new(), descriptors: Vec::new() };
    while let Some(send) = queue.front_mut().filter(|_| read.bytes.len() < size) {
        let taken = send.bytes.len().min(size - read.bytes.len());
        read.bytes.extend(send.bytes.drain(..taken));
        read.descriptors.append(&mut send.descriptors);
        if send.bytes.is_empty() {
            queue.pop_front();
        }
        if !read.descriptors.is_empty() {
            break;
        }
    }
    read
}

/// The output of a decoder, in a form that can be compared.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Outcome {
    /// A message: its bytes, and the descriptors that it was given.
    Message(Vec<u8>, Vec<u32>),
    /// A fault: what to answer, and whether it is the end.
    Fault(Errno, bool),
}

/// Feeds reads to a decoder, draining it after each. Everything must be gone at the end, and
/// what the decoder holds in between must keep to the limits.
pub(crate) fn decode(limits: Limits, reads: &[Read]) -> Vec<Outcome> {
    let ledger = Ledger::default();
    let mut decoder = Decoder::new(limits);
    let mut outcomes = Vec::new();
    for read in reads {
        decoder.feed(&read.bytes, ledger.tokens(&read.descriptors), false);
        drain(&mut decoder, &mut outcomes);
        assert!(decoder.pending() < limits.message(), "{} bytes held", decoder.pending());
        assert!(ledger.live() <= MAX_DESCRIPTORS, "{} descriptors held", ledger.live());
    }
    drop(decoder);
    assert_eq!(ledger.live(), 0, "descriptors were lost");
    outcomes
}

/// Takes everything that is complete.
pub(crate) fn drain(decoder: &mut Decoder<Token>, outcomes: &mut Vec<Outcome>) {
    while let Some(found) = decoder.message() {
        outcomes.push(match found {
            Ok(message) => Outcome::Message(message.to_bytes(), numbers(&message)),
            Err(fault) => Outcome::Fault(fault.errno, fault.fatal),
        });
    }
}

fn numbers(message: &Message<Token>) -> Vec<u32> {
    match message {
        Message::Add(add) => add.descriptor.iter().map(|token| token.number).collect(),
        Message::Extended(message) => message.descriptors.iter().map(|t| t.number).collect(),
        _ => Vec::new(),
    }
}

/// How many descriptors a message announces.
pub(crate) fn announced(message: &Message<u32>) -> usize {
    match message {
        Message::Add(add) => usize::from(add.ufd >= 0),
        Message::Extended(message) => message.descriptors.len(),
        _ => 0,
    }
}

/// A message in a send of its own, with the descriptors that it announces.
pub(crate) fn alone(message: &Message<u32>) -> Send {
    let descriptors = match message {
        Message::Add(add) => add.descriptor.iter().copied().collect(),
        Message::Extended(message) => message.descriptors.clone(),
        _ => Vec::new(),
    };
    Send { bytes: message.to_bytes(), descriptors }
}

/// Any message that may be sent, its descriptors being arbitrary numbers.
pub(crate) fn message() -> impl Strategy<Value = Message<u32>> {
    prop_oneof![
        1 => (any::<i16>(), any::<i32>(), any::<i64>())
            .prop_map(|(tags, flags, key)| Message::Hello(Hello { tags, flags, key })),
        4 => add().prop_map(Message::Add),
        1 => slot().prop_map(Message::Del),
        1 => slot().prop_map(Message::Get),
        1 => slot().prop_map(|slot: Slot| Message::Tag(slot.tag)),
        1 => (any::<i32>(), any::<i32>()).prop_map(|(used, total)| Message::Info(Info { used, total })),
        1 => reply().prop_map(Message::Reply),
        2 => extended().prop_map(Message::Extended),
    ]
}

/// Any message that carries no descriptor.
pub(crate) fn plain_message() -> impl Strategy<Value = Message<u32>> {
    message().prop_filter("carries descriptors", |message| announced(message) == 0)
}

fn slot() -> impl Strategy<Value = Slot> {
    let tag = prop_oneof![0..=i16::MAX, Just(0), Just(i16::MAX)];
    let index = prop_oneof![0..=i32::MAX, Just(0), Just(i32::MAX)];
    (tag, index).prop_map(|(tag, index)| Slot {
        tag: Tag::new(tag).unwrap(),
        index: fdbroker_wire::Index::new(index).unwrap(),
    })
}

fn add() -> impl Strategy<Value = Add<u32>> {
    let payload = prop_oneof![
        8 => 0..100_usize,
        1 => Just(MAX_PAYLOAD - 1),
        1 => Just(MAX_PAYLOAD),
    ];
    let payload = (payload, any::<u8>()).prop_map(|(size, byte)| vec![byte; size]);
    (slot(), any::<i32>(), payload, any::<u32>()).prop_map(|(slot, ufd, payload, number)| Add {
        slot,
        ufd,
        payload: payload.into(),
        descriptor: (ufd >= 0).then_some(number),
    })
}

fn reply() -> impl Strategy<Value = Reply> {
    let text = prop_oneof!["[^\\x00]{0,40}", Just("x".repeat(MAX_TEXT - 1))];
    (any::<i16>(), text).prop_map(|(rc, text)| Reply { rc, text })
}

fn extended() -> impl Strategy<Value = Extended<u32>> {
    let count = prop_oneof![4 => 0..4_usize, 1 => Just(MAX_DESCRIPTORS)];
    let descriptors = count.prop_flat_map(|count| proptest::collection::vec(any::<u32>(), count));
    let body = proptest::collection::vec(any::<u8>(), 0..60);
    (opcode::FIRST_EXTENDED..=i16::MAX, any::<u8>(), body, descriptors).prop_map(
        |(op, flags, body, descriptors)| Extended { op, flags, body: body.into(), descriptors },
    )
}
