//! Messages about ownership come out as they were said, and no bytes make their readers fail.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::time::Duration;

use fdbroker_wire::claim::{ClaimRequest, Claimed, Event, MAX_TIME, Mode, State, What};
use fdbroker_wire::{Decoder, Errno, Extended, Limits, Message, Tag, opcode};
use proptest::collection::vec;
use proptest::prelude::*;

fn tag() -> impl Strategy<Value = Tag> {
    (0..=i16::MAX).prop_map(|tag| Tag::new(tag).unwrap())
}

fn time(from: u64) -> impl Strategy<Value = Duration> {
    (from..=3_600_000).prop_map(Duration::from_millis)
}

fn mode() -> impl Strategy<Value = Mode> {
    prop_oneof![Just(Mode::Live), Just(Mode::Quiesced), Just(Mode::Again)]
}

fn request() -> impl Strategy<Value = ClaimRequest> {
    prop_oneof![
        (tag(), mode(), time(1), any::<bool>()).prop_map(|(tag, mode, time, settle)| {
            ClaimRequest::Claim { tag, mode, time, settle }
        }),
        tag().prop_map(ClaimRequest::Release),
        (tag(), any::<i32>()).prop_map(|(tag, claim)| ClaimRequest::ReleaseTo { tag, claim }),
        tag().prop_map(ClaimRequest::Ready),
        tag().prop_map(ClaimRequest::Withdraw),
    ]
}

fn claimed() -> impl Strategy<Value = Claimed> {
    let state = prop_oneof![Just(State::Waiting), Just(State::Granted), Just(State::Owned)];
    (tag(), state, any::<i32>()).prop_map(|(tag, state, claim)| Claimed { tag, state, claim })
}

fn event() -> impl Strategy<Value = Event> {
    let what = (0..What::ALL.len()).prop_map(|place| What::ALL[place]);
    (tag(), what, any::<i32>(), any::<i32>(), any::<u32>(), time(0))
        .prop_map(|(tag, what, claim, pid, uid, left)| Event { tag, what, claim, pid, uid, left })
}

/// The message as it arrives.
fn sent(message: Extended<u32>) -> Extended<u32> {
    let mut decoder = Decoder::new(Limits::PEER);
    decoder.feed(&Message::Extended(message).to_bytes(), [], false);
    match decoder.message() {
        Some(Ok(Message::Extended(message))) => message,
        other => panic!("{other:?}"),
    }
}

proptest! {
    #[test]
    fn every_request_comes_out_as_it_was_written(request in request()) {
        prop_assert_eq!(ClaimRequest::from_extended(sent(request.into_extended())), Ok(request));
    }

    #[test]
    fn every_answer_comes_out_as_it_was_written(claimed in claimed()) {
        prop_assert_eq!(Claimed::from_extended(sent(claimed.into_extended())), Ok(claimed));
    }

    #[test]
    fn every_event_comes_out_as_it_was_written(event in event()) {
        prop_assert_eq!(Event::from_extended(sent(event.into_extended())), Ok(Some(event)));
    }

    #[test]
    fn no_body_makes_a_reader_fail(op in 78..88_i16, body in vec(any::<u8>(), 0..40)) {
        let message = || Extended::<u32> { op, flags: 0, body: body.clone().into(), descriptors: vec![] };
        let _ = ClaimRequest::from_extended(message());
        let _ = Claimed::from_extended(message());
        let _ = Event::from_extended(message());
    }

    #[test]
    fn a_body_that_is_a_byte_too_long_or_too_short_is_refused(
        request in request(),
        claimed in claimed(),
        event in event(),
        more in any::<bool>(),
    ) {
        let cut = |mut message: Extended<u32>| {
            let mut body = message.body.to_vec();
            body.resize(if more { body.len() + 1 } else { body.len() - 1 }, 0);
            message.body = body.into();
            message
        };
        prop_assert!(ClaimRequest::from_extended(cut(request.into_extended())).is_err());
        prop_assert!(Claimed::from_extended(cut(claimed.into_extended())).is_err());
        prop_assert!(Event::from_extended(cut(event.into_extended())).is_err());
    }

    #[test]
    fn a_time_beyond_its_limit_is_sent_as_the_limit(tag in tag(), beyond in 0..u64::MAX / 2) {
        let claim = |time| ClaimRequest::Claim { tag, mode: Mode::Live, time, settle: true };
        let asked = claim(MAX_TIME.saturating_add(Duration::from_millis(beyond)));
        let came = ClaimRequest::from_extended(sent(asked.into_extended()));
        prop_assert_eq!(came, Ok(claim(MAX_TIME)));
    }
}

fn body(op: i16, fields: &[&[u8]]) -> Extended<u32> {
    Extended { op, flags: 0, body: fields.concat().into(), descriptors: Vec::new() }
}

#[test]
fn what_is_no_claim_is_refused() {
    let claim = |tag: i16, mode: i16, time: i32| {
        let fields = [&tag.to_ne_bytes()[..], &mode.to_ne_bytes(), &time.to_ne_bytes()];
        ClaimRequest::from_extended(body(opcode::CLAIM, &fields)).map_err(|fault| fault.errno)
    };
    assert!(claim(7, 0, 1).is_ok());
    for (tag, mode, time) in [(-1, 0, 1), (7, 3, 1), (7, -1, 1), (7, 0, 0), (7, 0, -1)] {
        assert_eq!(claim(tag, mode, time), Err(Errno::INVAL), "{tag} {mode} {time}");
    }
    assert_eq!(claim(7, 0, 3_600_001), Err(Errno::INVAL));
}

#[test]
fn an_event_of_a_later_version_is_left_aside() {
    let fields = [&7_i16.to_ne_bytes()[..], &99_i16.to_ne_bytes(), &[0; 16]];
    assert_eq!(Event::from_extended(body(opcode::EVENT, &fields)), Ok(None));
}

#[test]
fn each_opcode_is_of_its_own_kind_and_of_no_other() {
    let claims = [opcode::CLAIM, opcode::RELEASE, opcode::READY, opcode::WITHDRAW];
    for op in opcode::FIRST_EXTENDED..opcode::FIRST_PRIVATE {
        assert_eq!(ClaimRequest::is(op), claims.contains(&op), "{op}");
        assert_eq!(Event::is(&body(op, &[])), op == opcode::EVENT, "{op}");
    }
}

#[test]
fn the_layout_of_a_claim_is_what_the_documentation_says() {
    let tag = Tag::new(7).unwrap();
    let written = |mode, settle| {
        let time = Duration::from_millis(1500);
        let claim = ClaimRequest::Claim { tag, mode, time, settle };
        claim.into_extended::<u32>().body
    };
    let numbers =
        |mode: i16| [&7i16.to_ne_bytes()[..], &mode.to_ne_bytes(), &1500i32.to_ne_bytes()].concat();
    assert_eq!(written(Mode::Live, false), numbers(0));
    assert_eq!(written(Mode::Quiesced, true), numbers(0x101));
    assert_eq!(written(Mode::Again, true), numbers(0x102));
}

#[test]
fn what_brings_descriptors_unasked_is_told_that() {
    let tag = Tag::new(7).unwrap();
    let unasked = ClaimRequest::from_extended(brings(ClaimRequest::Ready(tag).into_extended()));
    let unasked = unasked.unwrap_err();
    let claimed = Claimed { tag, state: State::Owned, claim: 0 };
    assert_eq!(Claimed::from_extended(brings(claimed.into_extended())), Err(unasked));
    let (what, left) = (What::Left, Duration::ZERO);
    let event = Event { tag, what, claim: 1, pid: 2, uid: 3, left };
    assert_eq!(Event::from_extended(brings(event.into_extended())), Err(unasked));
}

fn brings(message: Extended<u32>) -> Extended<u32> {
    Extended { descriptors: vec![5], ..message }
}

#[test]
fn nobody_brings_descriptors_with_these() {
    let mut message = ClaimRequest::Ready(Tag::new(1).unwrap()).into_extended::<u32>();
    message.descriptors.push(3);
    let fault = ClaimRequest::from_extended(message).unwrap_err();
    assert_eq!((fault.errno, fault.fatal), (Errno::INVAL, false));
}
