//! The decoder: bytes cut anywhere, descriptors attached anywhere, some cut off by the kernel.
//!
//! It never panics; no descriptor is lost, doubled or given out of order; each message gets as
//! many as its own head announces; a message written again is what was read; what is held is
//! bounded; after a fatal fault nothing comes; and without descriptors, no cutting shows.
#![no_main]

use fdbroker_fuzz::{Input, Ledger, Token};
use fdbroker_wire::{Decoder, Fault, Limits, MAX_DESCRIPTORS, Message};
use libfuzzer_sys::fuzz_target;

/// One recvmsg(2).
struct Read {
    length: usize,
    descriptors: usize,
    truncated: bool,
}

fuzz_target!(|data: &[u8]| {
    let mut input = Input::new(data);
    let limits = if input.below(2) == 0 { Limits::PEER } else { Limits::CONTROL };
    let count = usize::from(input.below(16));
    let reads: Vec<Read> = (0..count).map(|_| read(&mut input)).collect();
    let stream = input.rest();
    take_apart(limits, stream, &reads);
    assert_eq!(
        plain(limits, stream, reads.iter().map(|read| read.length)),
        plain(limits, stream, []),
        "a cut shows"
    );
});

fn read(input: &mut Input<'_>) -> Read {
    let length = usize::from(input.byte()) + 1;
    let kind = input.byte();
    let descriptors = match kind & 7 {
        0..4 => 0,
        4..6 => 1,
        6 => usize::from(kind >> 4),
        _ => MAX_DESCRIPTORS,
    };
    Read { length, descriptors, truncated: kind & 8 != 0 && kind & 7 != 0 }
}

fn take_apart(limits: Limits, stream: &[u8], reads: &[Read]) {
    let ledger = Ledger::default();
    let mut decoder = Decoder::new(limits);
    let (mut fed, mut last, mut dead) = (0, None, false);
    let whole = Read { length: usize::MAX, descriptors: 0, truncated: false };
    for read in reads.iter().chain([&whole]) {
        let end = stream.len().min(fed + read.length.min(stream.len()));
        decoder.feed(&stream[fed..end], ledger.tokens(read.descriptors), read.truncated);
        fed = end;
        loop {
            let before = fed - decoder.pending();
            let Some(found) = decoder.message() else { break };
            assert!(!dead, "it spoke after its end");
            let after = fed - decoder.pending();
            match found {
                Ok(message) => check(message, &stream[before..after], &mut last),
                Err(fault) => dead = fault.fatal,
            }
        }
        assert!(decoder.pending() < limits.message(), "{} bytes held", decoder.pending());
        assert!(ledger.live() <= MAX_DESCRIPTORS, "{} descriptors held", ledger.live());
    }
    drop(decoder);
    assert_eq!(ledger.live(), 0, "descriptors were lost");
}

/// Compares a message with the bytes that it was read from.
fn check(message: Message<Token>, bytes: &[u8], last: &mut Option<u32>) {
    let (announced, exact) = match &message {
        Message::Add(_) => {
            (usize::from(i32::from_ne_bytes(bytes[8..12].try_into().unwrap()) >= 0), true)
        }
        Message::Extended(_) => {
            let flags = u16::from_ne_bytes(bytes[2..4].try_into().unwrap());
            (usize::from(flags & 0xff), true)
        }
        // A text is cut at its NUL, and the zero of an INF may be anything.
        Message::Reply(_) | Message::Info(_) => (0, false),
        _ => (0, true),
    };
    if exact {
        assert_eq!(message.to_bytes(), bytes, "{message:?}");
    }
    let brought = match message {
        Message::Add(add) => add.descriptor.into_iter().collect(),
        Message::Extended(message) => message.descriptors,
        _ => Vec::new(),
    };
    assert_eq!(brought.len(), announced, "not what was announced");
    for token in brought {
        assert!(last.is_none_or(|last| last < token.number), "given twice or out of order");
        *last = Some(token.number);
    }
}

/// What comes out of bytes without descriptors.
fn plain(
    limits: Limits,
    stream: &[u8],
    lengths: impl IntoIterator<Item = usize>,
) -> Vec<Result<Message<()>, Fault>> {
    let mut decoder = Decoder::new(limits);
    let (mut rest, mut found) = (stream, Vec::new());
    for length in lengths.into_iter().chain([usize::MAX]) {
        let (now, later) = rest.split_at(length.min(rest.len()));
        rest = later;
        decoder.feed(now, [], false);
        found.extend(std::iter::from_fn(|| decoder.message()));
    }
    found
}
