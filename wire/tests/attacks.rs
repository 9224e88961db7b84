//! What a hostile peer may send, one by one, and what the decoder makes of it.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod support;

use fdbroker_wire::{
    Decoder, Errno, Extended, Limits, MAX_DESCRIPTORS, MAX_TEXT, Message, Slot, add_head, del, get,
    opcode, tag,
};
use support::{Ledger, Outcome, Read, decode};

fn slot() -> Slot {
    "10/3".parse().unwrap()
}

fn read(bytes: &[u8], descriptors: &[u32]) -> Read {
    Read { bytes: bytes.to_vec(), descriptors: descriptors.to_vec() }
}

fn peer(reads: &[Read]) -> Vec<Outcome> {
    decode(Limits::PEER, reads)
}

fn message(bytes: &[u8], descriptors: &[u32]) -> Outcome {
    Outcome::Message(bytes.to_vec(), descriptors.to_vec())
}

const SURVIVABLE: Outcome = Outcome::Fault(Errno::INVAL, false);
const FATAL: Outcome = Outcome::Fault(Errno::INVAL, true);

#[test]
fn an_add_that_does_not_bring_its_descriptor_is_invalid_and_the_next_request_counts() {
    let bytes = [&add_head(slot(), 5, 0)[..], &get(slot())].concat();
    assert_eq!(peer(&[read(&bytes, &[])]), [SURVIVABLE, message(&get(slot()), &[])]);
}

#[test]
fn a_hundred_requests_in_one_write_come_out_in_order() {
    let requests: Vec<_> = (0..100).map(|index| get(Slot::new(1, index).unwrap())).collect();
    let expected: Vec<_> = requests.iter().map(|request| message(request, &[])).collect();
    assert_eq!(peer(&[read(&requests.concat(), &[])]), expected);
}

#[test]
fn the_descriptor_of_an_add_does_not_go_to_the_plain_request_before_it() {
    let add = add_head(slot(), 5, 0);
    let bytes = [&get(slot())[..], &add].concat();
    assert_eq!(peer(&[read(&bytes, &[7])]), [message(&get(slot()), &[]), message(&add, &[7])]);
}

#[test]
fn descriptors_on_requests_that_take_none_end_the_connection() {
    let requests = [
        get(slot()).to_vec(),
        del(slot()).to_vec(),
        tag(slot().tag).to_vec(),
        add_head(slot(), -1, 0).to_vec(),
    ];
    for request in requests {
        assert_eq!(peer(&[read(&request, &[7])]), [FATAL]);
        assert_eq!(peer(&[read(&request[..3], &[7]), read(&request[3..], &[])]), [FATAL]);
    }
}

#[test]
fn numbers_that_are_out_of_range_are_invalid() {
    let minus = (-1_i32).to_ne_bytes();
    let patched = |bytes: &[u8], at: usize, field: &[u8]| {
        let mut bytes = bytes.to_vec();
        bytes[at..at + field.len()].copy_from_slice(field);
        bytes
    };
    for request in [get(slot()), del(slot())] {
        assert_eq!(peer(&[read(&patched(&request, 2, &minus[..2]), &[])]), [SURVIVABLE]);
        assert_eq!(peer(&[read(&patched(&request, 4, &minus), &[])]), [SURVIVABLE]);
    }
    let add = add_head(slot(), 5, 0);
    assert_eq!(peer(&[read(&patched(&add, 2, &minus[..2]), &[7])]), [SURVIVABLE]);
    assert_eq!(peer(&[read(&patched(&add, 4, &minus), &[7])]), [SURVIVABLE]);
    for size in [-1_i32, 32769, i32::MAX] {
        let request = patched(&add, 12, &size.to_ne_bytes());
        assert_eq!(peer(&[read(&request, &[7])]), [FATAL], "a payload of {size} bytes");
    }
}

#[test]
fn a_payload_larger_than_what_follows_is_waited_for() {
    let mut decoder: Decoder<u32> = Decoder::new(Limits::PEER);
    decoder.feed(&add_head(slot(), -1, 32768), [], false);
    assert_eq!(decoder.message(), None);
    assert_eq!(decoder.pending(), 16);
}

/// The head of an extended message that announces a body and descriptors.
fn extended_head(length: i32, descriptors: u8) -> Vec<u8> {
    let flags = i16::from(descriptors);
    [&80_i16.to_ne_bytes()[..], &flags.to_ne_bytes(), &length.to_ne_bytes()].concat()
}

#[test]
fn a_body_or_payload_of_the_largest_size_is_waited_for_and_one_byte_more_ends_the_connection() {
    for limits in [Limits::PEER, Limits::CONTROL] {
        let [payload, body] = [limits.payload, limits.body].map(|it| i32::try_from(it).unwrap());
        let add = |size: i32| [&add_head(slot(), -1, 0)[..12], &size.to_ne_bytes()].concat();
        for head in [add(payload), extended_head(body, 0)] {
            assert_eq!(decode(limits, &[read(&head, &[])]), []);
        }
        for head in [add(payload + 1), add(-1)] {
            assert_eq!(decode(limits, &[read(&head, &[])]), [FATAL]);
        }
        for length in [body + 1, i32::MAX, -1] {
            let outcomes = decode(limits, &[read(&extended_head(length, 0), &[])]);
            assert_eq!(outcomes, [Outcome::Fault(Errno::PROTO, true)], "a body of {length} bytes");
        }
        assert_eq!(limits.message(), 8 + limits.body);
    }
    let sizes = [Limits::PEER, Limits::CONTROL].map(|limits| (limits.payload, limits.body));
    assert_eq!(sizes, [(32 << 10, 64 << 10), ((32 << 10) + 285, 17 << 20)]);
}

#[test]
fn an_extended_message_that_announces_more_than_253_descriptors_ends_the_connection() {
    assert_eq!(peer(&[read(&extended_head(9, 253), &[])]), []);
    for announced in [254, 255] {
        let outcomes = peer(&[read(&extended_head(0, announced), &[])]);
        assert_eq!(outcomes, [Outcome::Fault(Errno::PROTO, true)], "{announced}");
    }
}

#[test]
fn more_descriptors_than_an_add_announces_are_dropped_and_end_the_connection() {
    let many: Vec<u32> = (0..253).collect();
    assert_eq!(peer(&[read(&add_head(slot(), 5, 0), &many)]), [FATAL]);
    assert_eq!(peer(&[read(&add_head(slot(), 5, 0), &[1, 2])]), [FATAL]);
}

#[test]
fn an_add_with_the_number_0_brings_its_descriptor() {
    let add = add_head(slot(), 0, 0);
    assert_eq!(peer(&[read(&add, &[7])]), [message(&add, &[7])]);
    assert_eq!(peer(&[read(&add, &[])]), [SURVIVABLE]);
}

#[test]
fn the_first_bytes_of_a_message_bring_no_more_descriptors_than_its_kind_can_have() {
    let add = add_head(slot(), 5, 0);
    assert_eq!(peer(&[read(&add[..8], &[7])]), [], "it may be the one that it announces");
    assert_eq!(peer(&[read(&add[..8], &[7, 8])]), [FATAL]);
    let reply = opcode::REPLY.to_ne_bytes();
    assert_eq!(peer(&[read(&reply, &[])]), []);
    assert_eq!(peer(&[read(&reply, &[7])]), [FATAL]);
}

#[test]
fn a_reply_without_a_text_or_with_one_that_is_too_long_ends_the_connection() {
    let largest = i16::try_from(MAX_TEXT).unwrap();
    let head = |size: i16| [opcode::REPLY, 0, size].map(i16::to_ne_bytes).concat();
    assert_eq!(peer(&[read(&head(largest), &[])]), []);
    for size in [0, -1, largest + 1, i16::MAX] {
        let outcomes = peer(&[read(&head(size), &[])]);
        assert_eq!(outcomes, [Outcome::Fault(Errno::PROTO, true)], "{size}");
    }
}

#[test]
fn a_head_that_comes_byte_by_byte_brings_no_more_descriptors_than_one_message_may_have() {
    let many: Vec<u32> = (0..253).collect();
    let head = add_head(slot(), 5, 0);
    let reads: Vec<_> = head.iter().map(|&byte| read(&[byte], &many)).collect();
    assert_eq!(peer(&reads), [FATAL]);
}

#[test]
fn a_deposit_whose_descriptor_found_no_room_is_refused_and_never_a_payload_alone() {
    let ledger = Ledger::default();
    let mut decoder = Decoder::new(Limits::PEER);
    decoder.feed(&add_head(slot(), 5, 0), ledger.tokens(&[1, 2, 3]), true);
    let fault = decoder.message().unwrap().unwrap_err();
    assert_eq!((fault.errno, fault.fatal), (Errno::MFILE, false));
    assert_eq!(ledger.live(), 0);

    decoder.feed(&add_head(slot(), 5, 0), ledger.tokens(&[4]), false);
    let Message::Add(add) = decoder.message().unwrap().unwrap() else { panic!("no ADD") };
    assert_eq!(add.descriptor.unwrap().number, 4);
}

#[test]
fn descriptors_that_found_no_room_and_were_not_announced_end_the_connection() {
    let mut decoder: Decoder<u32> = Decoder::new(Limits::PEER);
    decoder.feed(&get(slot()), [], true);
    let fault = decoder.message().unwrap().unwrap_err();
    assert_eq!((fault.errno, fault.fatal), (Errno::MFILE, true));
    assert_eq!(decoder.message(), None);
}

#[test]
fn a_message_of_253_descriptors_gets_all_of_them() {
    let descriptors: Vec<u32> = (0..253).collect();
    let body = b"all at once".to_vec();
    let sent =
        Extended { op: 77, flags: 0x81, body: body.into(), descriptors: descriptors.clone() };
    let bytes = Message::Extended(sent).to_bytes();
    let reads = [read(&bytes[..1], &descriptors), read(&bytes[1..], &[])];
    assert_eq!(peer(&reads), [message(&bytes, &descriptors)]);
    assert_eq!(descriptors.len(), MAX_DESCRIPTORS);
}

#[test]
fn opcodes_that_nobody_knows_end_the_connection_unless_their_length_is_known() {
    for op in [-1_i16, 7, 63, i16::MIN] {
        let outcomes = peer(&[read(&op.to_ne_bytes(), &[])]);
        assert_eq!(outcomes, [Outcome::Fault(Errno::PROTO, true)], "{op}");
    }
    let unknown =
        Extended::<u32> { op: 64, flags: 0, body: vec![0; 9].into(), descriptors: vec![] };
    let unknown = Message::Extended(unknown).to_bytes();
    let bytes = [&unknown[..], &get(slot())].concat();
    assert_eq!(peer(&[read(&bytes, &[])]), [message(&unknown, &[]), message(&get(slot()), &[])]);
}
