//! Messages about many slots come out as they were said, and no bytes make their readers fail.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use fdbroker_wire::many::{DEPOSIT_HEAD, Deposit, ManyAnswer, ManyRequest, ROOM};
use fdbroker_wire::{Decoder, Errno, Extended, Index, Limits, MAX_PAYLOAD, Message, Tag, opcode};
use proptest::collection::vec;
use proptest::prelude::*;

fn tag() -> impl Strategy<Value = Tag> {
    (0..=i16::MAX).prop_map(|tag| Tag::new(tag).unwrap())
}

fn index() -> impl Strategy<Value = Index> {
    (0..=i32::MAX).prop_map(|index| Index::new(index).unwrap())
}

fn errno() -> impl Strategy<Value = Errno> {
    (1..4096_i32).prop_map(|errno| Errno::new(errno).unwrap())
}

fn deposit() -> impl Strategy<Value = Deposit<u32>> {
    let rest = (vec(any::<u8>(), 0..40), prop_oneof![Just(None), any::<u32>().prop_map(Some)]);
    (index(), 0..=i32::MAX, rest).prop_map(|(index, number, (payload, descriptor))| Deposit {
        index,
        ufd: descriptor.map_or(-1, |_| number),
        payload: payload.into(),
        descriptor,
    })
}

fn request() -> impl Strategy<Value = ManyRequest<u32>> {
    let indices = || vec(index(), 1..=253);
    prop_oneof![
        (tag(), indices(), any::<bool>()).prop_map(|(tag, indices, take)| ManyRequest::Get {
            tag,
            indices,
            take
        }),
        (tag(), vec(deposit(), 1..=253))
            .prop_map(|(tag, deposits)| ManyRequest::Add { tag, deposits }),
        (tag(), indices()).prop_map(|(tag, indices)| ManyRequest::Del { tag, indices }),
    ]
}

fn answer() -> impl Strategy<Value = ManyAnswer<u32>> {
    let got = prop_oneof![deposit().prop_map(Ok), (index(), errno()).prop_map(Err)];
    let done = prop_oneof![Just(Ok(())), errno().prop_map(Err)];
    prop_oneof![
        (tag(), vec(got, 1..=253)).prop_map(|(tag, outcomes)| ManyAnswer::Got { tag, outcomes }),
        (tag(), vec(done, 1..=253)).prop_map(|(tag, outcomes)| ManyAnswer::Done { tag, outcomes }),
    ]
}

/// The message as it arrives.
fn sent(message: Extended<u32>) -> Extended<u32> {
    let descriptors = message.descriptors.clone();
    let mut decoder = Decoder::new(Limits::PEER);
    decoder.feed(&Message::Extended(message).to_bytes(), descriptors, false);
    match decoder.message() {
        Some(Ok(Message::Extended(message))) => message,
        other => panic!("{other:?}"),
    }
}

proptest! {
    #[test]
    fn every_request_comes_out_as_it_was_written(request in request()) {
        let came = ManyRequest::from_extended(sent(request.clone().into_extended()));
        prop_assert_eq!(came, Ok(request));
    }

    #[test]
    fn every_answer_comes_out_as_it_was_written(answer in answer()) {
        let came = ManyAnswer::from_extended(sent(answer.clone().into_extended()));
        prop_assert_eq!(came, Ok(answer));
    }

    #[test]
    fn no_body_makes_a_reader_fail(
        op in 70..80_i16,
        body in vec(any::<u8>(), 0..300),
        descriptors in vec(any::<u32>(), 0..5),
    ) {
        let message = Extended { op, flags: 0, body: body.into(), descriptors };
        let _ = ManyRequest::from_extended(message.clone());
        let _ = ManyAnswer::from_extended(message);
    }

    #[test]
    fn a_descriptor_too_many_or_too_few_is_refused(request in request(), more in any::<bool>()) {
        let mut message = request.into_extended();
        let had = message.descriptors.pop();
        prop_assume!(more || had.is_some());
        if more {
            message.descriptors.extend(had.into_iter().chain([7]));
        }
        prop_assert!(ManyRequest::from_extended(message).is_err());
    }

    #[test]
    fn an_answer_that_brings_a_descriptor_too_many_is_refused(answer in answer()) {
        let mut message = answer.into_extended();
        message.descriptors.push(7);
        prop_assert!(ManyAnswer::from_extended(message).is_err());
    }

    #[test]
    fn a_body_that_is_a_byte_too_long_or_too_short_is_refused(
        request in request(),
        answer in answer(),
        more in any::<bool>(),
    ) {
        let cut = |mut message: Extended<u32>| {
            let mut body = message.body.to_vec();
            body.resize(if more { body.len() + 1 } else { body.len() - 1 }, 0);
            message.body = body.into();
            message
        };
        prop_assert!(ManyRequest::from_extended(cut(request.into_extended())).is_err());
        prop_assert!(ManyAnswer::from_extended(cut(answer.into_extended())).is_err());
    }
}

#[test]
fn a_payload_of_the_largest_size_is_taken_and_a_larger_one_is_not() {
    let (tag, index) = (Tag::new(1).unwrap(), Index::new(0).unwrap());
    for size in [MAX_PAYLOAD, MAX_PAYLOAD + 1] {
        let payload = vec![7; size].into();
        let deposits = vec![Deposit { index, ufd: -1, payload, descriptor: None }];
        let request = ManyRequest::<u32>::Add { tag, deposits };
        let came = ManyRequest::from_extended(request.into_extended());
        assert_eq!(came.is_ok(), size == MAX_PAYLOAD, "{size}");
    }
}

#[test]
fn none_and_more_than_a_message_has_room_for_are_refused() {
    let tag = Tag::new(1).unwrap();
    for number in [0, 254, 1000] {
        let indices = vec![Index::new(5).unwrap(); number];
        let request = ManyRequest::<u32>::Del { tag, indices };
        assert!(ManyRequest::from_extended(request.into_extended()).is_err(), "{number}");
        let answer = ManyAnswer::<u32>::Done { tag, outcomes: vec![Ok(()); number] };
        assert!(ManyAnswer::from_extended(answer.into_extended()).is_err(), "{number}");
    }
}

#[test]
fn each_opcode_is_of_a_request_or_of_an_answer_or_of_neither() {
    let requests = [opcode::GET_MANY, opcode::ADD_MANY, opcode::DEL_MANY];
    let answers = [opcode::GOT_MANY, opcode::DONE_MANY];
    for op in opcode::FIRST_EXTENDED..opcode::FIRST_PRIVATE {
        assert_eq!(ManyRequest::<u32>::is(op), requests.contains(&op), "{op}");
        assert_eq!(ManyAnswer::<u32>::is(op), answers.contains(&op), "{op}");
    }
}

#[test]
fn deposits_that_take_all_the_room_make_the_largest_message() {
    let tag = Tag::new(1).unwrap();
    let payload = vec![7; ROOM / 2 - DEPOSIT_HEAD];
    let deposit = |index| Deposit {
        index: Index::new(index).unwrap(),
        ufd: -1,
        payload: payload.clone().into(),
        descriptor: None,
    };
    let request = ManyRequest::<u32>::Add { tag, deposits: vec![deposit(0), deposit(1)] };
    let message = request.clone().into_extended();
    assert_eq!(message.body.len(), Limits::PEER.body);
    assert_eq!(ManyRequest::from_extended(sent(message)), Ok(request));
}

#[test]
fn a_slot_of_which_nothing_is_given_has_neither_payload_nor_descriptor() {
    let got = |ufd: i32, payload: &[u8]| {
        let size = i32::try_from(payload.len()).unwrap();
        let head = [&7_i16.to_ne_bytes()[..], &1_i16.to_ne_bytes()].concat();
        let outcome = [5, -2, ufd, size].map(i32::to_ne_bytes).concat();
        let body = [&head[..], &outcome, payload].concat().into();
        let descriptors = Vec::<u32>::new();
        ManyAnswer::from_extended(Extended { op: opcode::GOT_MANY, flags: 0, body, descriptors })
    };
    let (tag, index) = (Tag::new(7).unwrap(), Index::new(5).unwrap());
    let nothing = ManyAnswer::Got { tag, outcomes: vec![Err((index, Errno::new(2).unwrap()))] };
    assert_eq!(got(-1, b""), Ok(nothing));
    for (ufd, payload) in [(0, &b""[..]), (3, b""), (-1, b"x"), (0, b"x")] {
        assert!(got(ufd, payload).is_err(), "{ufd} {payload:?}");
    }
}
