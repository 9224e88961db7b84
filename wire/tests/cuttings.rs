//! Whatever is sent, and however it is cut: the same comes out, none is lost, little is held.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod support;

use fdbroker_wire::{Control, Decoder, Errno, Limits, MAX_DESCRIPTORS, Message, opcode};
use proptest::collection::vec;
use proptest::prelude::*;
use support::{
    Ledger, Outcome, Read, Send, Token, alone, decode, drain, message, plain_message, reads,
};

/// Sizes of reads: mostly a few bytes, or all there is.
fn sizes() -> impl Strategy<Value = Vec<usize>> {
    vec(prop_oneof![6 => 1..40_usize, 2 => 40..5000_usize, 1 => Just(usize::MAX)], 1..12)
}

/// A message and, in the same send, some without descriptors behind it.
fn send() -> impl Strategy<Value = Send> {
    (message(), vec(plain_message(), 0..3)).prop_map(|(first, others)| {
        let mut send = alone(&first);
        others.iter().for_each(|message| send.bytes.extend(message.to_bytes()));
        send
    })
}

/// Bytes that look like messages to begin with, and then less and less.
fn damaged_bytes() -> impl Strategy<Value = Vec<u8>> {
    let damage = vec((any::<prop::sample::Index>(), any::<u8>()), 0..4);
    (vec(message(), 1..6), damage, any::<prop::sample::Index>()).prop_map(|(sent, damage, end)| {
        let mut bytes: Vec<u8> = sent.iter().flat_map(Message::to_bytes).collect();
        for (at, byte) in damage {
            let at = at.index(bytes.len().min(200));
            bytes[at] = byte;
        }
        bytes.truncate(end.index(bytes.len()) + 1);
        bytes
    })
}

fn anything() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![vec(any::<u8>(), 0..300), damaged_bytes()]
}

/// Everything in one piece, as far as the kernel's rule allows.
const WHOLE: &[usize] = &[usize::MAX];

fn is_fatal(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Fault(_, true))
}

proptest! {
    #[test]
    fn every_message_comes_out_as_it_was_written(sent in message()) {
        let mut decoder = Decoder::new(Limits::PEER);
        let send = alone(&sent);
        decoder.feed(&send.bytes, send.descriptors, false);
        prop_assert_eq!(decoder.message(), Some(Ok(sent)));
        prop_assert_eq!(decoder.message(), None);
        prop_assert_eq!(decoder.pending(), 0);
    }

    #[test]
    fn no_cutting_of_honest_messages_shows(sends in vec(send(), 1..8), sizes in sizes()) {
        let whole = decode(Limits::PEER, &reads(&sends, WHOLE));
        prop_assert!(whole.iter().all(|outcome| matches!(outcome, Outcome::Message(..))));
        let bytes: Vec<u8> = sends.iter().flat_map(|send| send.bytes.clone()).collect();
        let descriptors: Vec<u32> = sends.iter().flat_map(|s| s.descriptors.clone()).collect();
        let (mut came, mut brought) = (Vec::new(), Vec::new());
        for outcome in &whole {
            if let Outcome::Message(bytes, descriptors) = outcome {
                came.extend_from_slice(bytes);
                brought.extend_from_slice(descriptors);
            }
        }
        prop_assert_eq!(came, bytes);
        prop_assert_eq!(brought, descriptors);
        prop_assert_eq!(decode(Limits::PEER, &reads(&sends, &sizes)), whole);
    }

    #[test]
    fn no_cutting_of_arbitrary_bytes_shows(bytes in anything(), sizes in sizes()) {
        let sends = [Send { bytes, descriptors: Vec::new() }];
        let whole = decode(Limits::PEER, &reads(&sends, WHOLE));
        prop_assert_eq!(decode(Limits::PEER, &reads(&sends, &sizes)), whole);
    }

    #[test]
    fn a_surplus_ends_the_connection_at_its_message_however_it_is_cut(
        before in vec(send(), 0..4),
        guilty in message(),
        extra in vec(any::<u32>(), 1..4),
        after in vec(send(), 0..3),
        sizes in sizes(),
    ) {
        let honest = decode(Limits::PEER, &reads(&before, WHOLE));
        let mut guilty = alone(&guilty);
        guilty.descriptors.extend(extra);
        prop_assume!(guilty.descriptors.len() <= MAX_DESCRIPTORS);
        let sends = [before, vec![guilty], after].concat();
        let outcomes = decode(Limits::PEER, &reads(&sends, &sizes));
        prop_assert_eq!(&outcomes[..honest.len()], &honest[..]);
        prop_assert_eq!(&outcomes[honest.len()..], &[Outcome::Fault(Errno::INVAL, true)]);
    }

    #[test]
    fn a_message_whose_descriptors_were_cut_off_takes_no_other_messages(
        before in vec(send(), 0..3),
        unlucky in message().prop_filter("carries none", |m| support::announced(m) > 0),
        after in vec(send(), 0..3),
        sizes in sizes(),
    ) {
        let position = decode(Limits::PEER, &reads(&before, WHOLE)).len();
        let mut unlucky = alone(&unlucky);
        unlucky.descriptors = vec![CUT_OFF; unlucky.descriptors.len()];
        let sends = [before, vec![unlucky], after.clone()].concat();
        let mut rest = decode_cut_off(&reads(&sends, &sizes)).split_off(position);
        prop_assert_eq!(rest.remove(0), Outcome::Fault(Errno::MFILE, false));
        prop_assert_eq!(rest, decode(Limits::PEER, &reads(&after, WHOLE)));
    }

    #[test]
    fn nothing_makes_a_decoder_panic_or_hold_more_than_its_limits(
        sends in vec((anything(), vec(any::<u32>(), 0..6)), 0..8),
        sizes in sizes(),
    ) {
        let sends: Vec<Send> = sends
            .into_iter()
            .map(|(bytes, descriptors)| Send { bytes, descriptors })
            .collect();
        for limits in [Limits::PEER, Limits::CONTROL] {
            let outcomes = decode(limits, &reads(&sends, &sizes));
            let end = outcomes.iter().position(is_fatal);
            prop_assert!(end.is_none_or(|end| end + 1 == outcomes.len()), "spoke after its end");
        }
    }

    #[test]
    fn reads_that_were_cut_off_at_random_do_no_harm(
        fed in vec((anything(), vec(any::<u32>(), 0..6), any::<bool>()), 0..12),
    ) {
        let ledger = Ledger::default();
        let mut decoder = Decoder::new(Limits::PEER);
        let mut outcomes = Vec::new();
        for (bytes, descriptors, truncated) in fed {
            decoder.feed(&bytes, ledger.tokens(&descriptors), truncated);
            drain(&mut decoder, &mut outcomes);
            prop_assert!(decoder.pending() < Limits::PEER.message());
            prop_assert!(ledger.live() <= MAX_DESCRIPTORS);
        }
        drop(decoder);
        prop_assert_eq!(ledger.live(), 0);
    }

    #[test]
    fn no_extended_message_makes_the_control_channel_panic(
        op in opcode::FIRST_EXTENDED..110,
        body in vec(any::<u8>(), 0..80),
        descriptors in vec(any::<u32>(), 0..3),
    ) {
        let message = fdbroker_wire::Extended { op, flags: 0, body: body.into(), descriptors };
        if let Ok(control) = Control::from_extended(message) {
            let again = Control::from_extended(control.clone().into_extended());
            prop_assert_eq!(again, Ok(control));
        }
    }
}

/// The number of a descriptor that finds no room.
const CUT_OFF: u32 = u32::MAX;

/// As [`decode`], in a process that has no room for descriptors of the number [`CUT_OFF`].
fn decode_cut_off(reads: &[Read]) -> Vec<Outcome> {
    let ledger = Ledger::default();
    let mut decoder: Decoder<Token> = Decoder::new(Limits::PEER);
    let mut outcomes = Vec::new();
    for read in reads {
        let truncated = read.descriptors.first() == Some(&CUT_OFF);
        let arrived = if truncated { Vec::new() } else { ledger.tokens(&read.descriptors) };
        decoder.feed(&read.bytes, arrived, truncated);
        drain(&mut decoder, &mut outcomes);
    }
    drop(decoder);
    assert_eq!(ledger.live(), 0);
    outcomes
}
