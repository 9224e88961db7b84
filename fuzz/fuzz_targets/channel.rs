//! What worker and supervisor say to each other, and what a worker makes of it at its start; and what two brokers say of
//! which one takes over.
//!
//! A message that reads is written and read as the same; no bytes make a worker panic, or leave a
//! descriptor open that it does not hold.
#![no_main]

use std::os::fd::{AsRawFd, OwnedFd};

use fdbroker_fuzz::{Input, Ledger, Token};
use fdbroker_wire::{Control, Decoder, Handover, Limits, Message};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let mut input = Input::new(data);
    let counts: Vec<usize> = (0..8).map(|_| usize::from(input.below(3))).collect();
    let cuts: Vec<usize> = (0..8).map(|_| usize::from(input.word())).collect();
    let stream = input.rest();
    let ledger = Ledger::default();
    for message in messages(stream, &counts, &cuts, |count| ledger.tokens(count)) {
        again(message);
    }
    assert_eq!(ledger.live(), 0, "descriptors were lost");
    let free = lowest_free();
    let received = messages(stream, &counts, &cuts, open);
    if let Ok(deposits) = fdbrokerd::fuzzing::restore(received) {
        assert!(deposits * 16 <= stream.len(), "{deposits} deposits");
    }
    assert_eq!(lowest_free(), free, "descriptors were left open");
});

/// The messages of a stream that comes in parts, some with descriptors.
fn messages<F>(
    stream: &[u8],
    counts: &[usize],
    cuts: &[usize],
    open: impl Fn(usize) -> Vec<F>,
) -> Vec<Message<F>> {
    let mut decoder = Decoder::new(Limits::CONTROL);
    let (mut rest, mut found) = (stream, Vec::new());
    for (count, cut) in counts.iter().zip(cuts) {
        let (now, later) = rest.split_at((*cut).min(rest.len()));
        rest = later;
        decoder.feed(now, open(*count), false);
        found.extend(std::iter::from_fn(|| decoder.message()).filter_map(Result::ok));
    }
    decoder.feed(rest, [], false);
    found.extend(std::iter::from_fn(|| decoder.message()).filter_map(Result::ok));
    found
}

fn again(message: Message<Token>) {
    let Message::Extended(message) = message else { return };
    if Handover::is(&message) {
        let Ok(handover) = Handover::from_extended(message) else { return };
        let written = handover.into_extended();
        let body = written.body.clone();
        let read = Handover::from_extended(written).expect("what was written can be read");
        return assert_eq!(read.into_extended().body, body);
    }
    let Ok(control) = Control::from_extended(message) else { return };
    let written = control.into_extended();
    let body = written.body.clone();
    let read = Control::from_extended(written).expect("what was written can be read");
    assert_eq!(read.into_extended().body, body);
}

fn open(count: usize) -> Vec<OwnedFd> {
    (0..count).map(|_| std::fs::File::open("/dev/null").unwrap().into()).collect()
}

/// The number that the next descriptor gets.
fn lowest_free() -> i32 {
    std::fs::File::open("/dev/null").unwrap().as_raw_fd()
}
