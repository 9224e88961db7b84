//! A client's end of a conversation: answers and events in any order and cut anywhere, some
//! requests given up, and in the end bytes of a broker that keeps to nothing.
//!
//! Each answer goes to the oldest request that has none, with its own bytes and descriptors; of
//! each tag the latest event is told; nothing that was given up is told; no descriptor is lost.
#![no_main]

use std::collections::VecDeque;

use fdbroker::fuzzing::Conversation;
use fdbroker_fuzz::{Input, Ledger, Token};
use fdbroker_wire::claim::{Event, What};
use fdbroker_wire::version2::Features;
use fdbroker_wire::{Add, Hello, Message, Slot, Tag, hello};
use libfuzzer_sys::fuzz_target;

/// What the model expects.
#[derive(Default)]
struct Expected {
    /// The request, its payload, and the number of its descriptor.
    answers: VecDeque<(u64, usize, Option<u32>)>,
    /// Of each tag the latest, those that came last behind.
    events: VecDeque<(i16, i32)>,
}

fuzz_target!(|data: &[u8]| {
    let mut input = Input::new(data);
    let ledger = Ledger::default();
    converse(&mut input, &ledger);
    assert_eq!(ledger.live(), 0, "descriptors were lost");
});

fn converse(input: &mut Input<'_>, ledger: &Ledger) {
    let mut real = Conversation::default();
    let mut expected = Expected::default();
    greet(&mut real);
    let mut open = VecDeque::new();
    for _ in 0..input.below(40) {
        let (what, argument) = (input.byte(), input.byte());
        match what & 3 {
            0 => open.push_back((real.ask(), true)),
            1 => give_up(&mut real, &mut open, argument),
            2 => answer(&mut real, &mut open, ledger, &mut expected, (what, argument)),
            _ => event(&mut real, &mut expected, (what, argument)),
        }
        drain(&mut real, &mut expected, what & 0x80 != 0);
        assert_eq!(real.waiting(), u64::try_from(open.len()).unwrap());
    }
    drain(&mut real, &mut expected, true);
    nonsense(input, real, ledger);
}

fn greet(real: &mut Conversation<Token>) {
    let request = real.ask();
    let granted = Hello { tags: 1, flags: Features::ALL.flags(), key: 9 };
    real.feed(&hello(granted), Vec::new(), false);
    let (answered, _) = real.answer().expect("it is right").expect("it is there");
    assert_eq!(answered, request);
}

fn give_up(real: &mut Conversation<Token>, open: &mut VecDeque<(u64, bool)>, which: u8) {
    if open.is_empty() {
        return;
    }
    let at = usize::from(which) % open.len();
    real.give_up(open[at].0);
    open[at].1 = false;
}

fn answer(
    real: &mut Conversation<Token>,
    open: &mut VecDeque<(u64, bool)>,
    ledger: &Ledger,
    expected: &mut Expected,
    (what, size): (u8, u8),
) {
    let Some((request, wanted)) = open.pop_front() else { return };
    let tokens = ledger.tokens(usize::from(what & 4 != 0));
    let number = tokens.first().map(|token| token.number);
    let slot = Slot::new(1, 1).unwrap();
    let ufd = if tokens.is_empty() { -1 } else { 5 };
    let payload = vec![b'x'; size.into()];
    if wanted {
        expected.answers.push_back((request, payload.len(), number));
    }
    let message = Add::<Token> { slot, ufd, payload: payload.into(), descriptor: None };
    feed(real, &Message::Add(message).to_bytes(), tokens, what);
}

fn event(real: &mut Conversation<Token>, expected: &mut Expected, (what, claim): (u8, u8)) {
    let (tag, claim) = (i16::from(what >> 2 & 3), i32::from(claim));
    expected.events.retain(|(other, _)| *other != tag);
    expected.events.push_back((tag, claim));
    let tag = Tag::new(tag).unwrap();
    let left = std::time::Duration::ZERO;
    let event = Event { tag, what: What::Left, claim, pid: 7, uid: 8, left };
    feed(real, &Message::Extended(event.into_extended::<Token>()).to_bytes(), Vec::new(), what);
}

/// Feeds a message in two parts, cut at a place that `how` tells; descriptors come with the first.
fn feed(real: &mut Conversation<Token>, bytes: &[u8], tokens: Vec<Token>, how: u8) {
    let (first, second) = bytes.split_at(usize::from(how >> 4).clamp(1, bytes.len()));
    real.feed(first, tokens, false);
    real.feed(second, Vec::new(), false);
}

fn drain(real: &mut Conversation<Token>, expected: &mut Expected, events: bool) {
    while let Some((request, answer)) = real.answer().expect("nothing is wrong") {
        let Some(Message::Add(add)) = answer else { panic!("another answer: {answer:?}") };
        let found = (request, add.payload.len(), add.descriptor.map(|token| token.number));
        assert_eq!(Some(found), expected.answers.pop_front());
    }
    assert!(expected.answers.is_empty(), "no answer came to {:?}", expected.answers);
    if events {
        let told: Vec<_> = std::iter::from_fn(|| real.event()).collect();
        let told: Vec<_> = told.iter().map(|event| (event.tag.get(), event.claim)).collect();
        assert_eq!(told, expected.events.drain(..).collect::<Vec<_>>());
    }
}

fn nonsense(input: &mut Input<'_>, mut real: Conversation<Token>, ledger: &Ledger) {
    for _ in 0..8 {
        real.ask();
        let (count, size) = (usize::from(input.below(3)), usize::from(input.byte()));
        let truncated = count == 2 && size % 2 == 0;
        real.feed(input.bytes(size), ledger.tokens(count), truncated);
        while let Ok(Some(_)) = real.answer() {}
    }
}
