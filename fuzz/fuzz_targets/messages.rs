//! What peers and a broker say to each other in version 2: whatever reads as a message is
//! written and read again as the same, with the descriptors that it had.
#![no_main]

use fdbroker_fuzz::{Input, Ledger, Token};
use fdbroker_wire::claim::{ClaimRequest, Claimed, Event};
use fdbroker_wire::many::{ManyAnswer, ManyRequest};
use fdbroker_wire::version2::{Answer, Request};
use fdbroker_wire::{Extended, Limits, MAX_DESCRIPTORS, Slot, Tag, opcode};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let mut input = Input::new(data);
    let op = opcode::FIRST_EXTENDED + i16::from(input.below(32));
    let count = usize::from(input.below(4));
    let body = input.rest();
    let ledger = Ledger::default();
    let message =
        || Extended { op, flags: 0, body: body.to_vec().into(), descriptors: ledger.tokens(count) };
    again(message(), Request::from_extended, Request::into_extended);
    again(message(), Answer::from_extended, Answer::into_extended);
    again(message(), ManyRequest::from_extended, ManyRequest::into_extended);
    again(message(), ManyAnswer::from_extended, ManyAnswer::into_extended);
    again(message(), ClaimRequest::from_extended, ClaimRequest::into_extended);
    again(message(), Claimed::from_extended, Claimed::into_extended);
    again(message(), Event::from_extended, |event| {
        event.map_or(
            Extended { op, flags: 0, body: body.to_vec().into(), descriptors: Vec::new() },
            Event::into_extended,
        )
    });
    assert_eq!(ledger.live(), 0, "descriptors were lost");
    texts(body);
});

/// Reads a message, writes it, and reads and writes it again: both times it must be the same.
fn again<T, E: std::fmt::Debug>(
    message: Extended<Token>,
    read: impl Fn(Extended<Token>) -> Result<T, E>,
    write: impl Fn(T) -> Extended<Token>,
) {
    let numbers: Vec<u32> = message.descriptors.iter().map(|token| token.number).collect();
    let Ok(first) = read(message) else { return };
    let written = write(first);
    assert!(written.body.len() <= Limits::PEER.body, "{} bytes", written.body.len());
    assert!(written.descriptors.len() <= MAX_DESCRIPTORS);
    let kept: Vec<u32> = written.descriptors.iter().map(|token| token.number).collect();
    assert!(kept == numbers || kept.is_empty(), "{kept:?} of {numbers:?}");
    let body = written.body.clone();
    let second = write(read(written).expect("what was written can be read"));
    assert_eq!(second.body, body);
}

fn texts(body: &[u8]) {
    let Ok(text) = std::str::from_utf8(body) else { return };
    if let Ok(slot) = text.parse::<Slot>() {
        assert_eq!(slot.to_string().parse(), Ok(slot));
    }
    if let Ok(tag) = text.parse::<Tag>() {
        assert_eq!(tag.to_string().parse(), Ok(tag));
    }
}
