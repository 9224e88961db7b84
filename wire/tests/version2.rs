//! Version 2: what is written comes out again, byte for byte as the page says; and what is not
//! of it is refused, whatever it is.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use fdbroker_wire::version2::{
    Answer, Entry, Features, Found, Inspected, Kind, Listing, MAX_NAME, MAX_REPORT, Name, Report,
    Request, Route, greeting,
};
use fdbroker_wire::{
    Decoder, Errno, Extended, Fault, Hello, Index, Limits, Message, Slot, Tag, opcode,
};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

fn tag() -> impl Strategy<Value = Tag> {
    prop_oneof![0..=i16::MAX, Just(0), Just(i16::MAX)].prop_map(|tag| Tag::new(tag).unwrap())
}

fn slot() -> impl Strategy<Value = Slot> {
    let index = prop_oneof![0..=i32::MAX, Just(0), Just(i32::MAX)];
    (tag(), index).prop_map(|(tag, index)| Slot { tag, index: Index::new(index).unwrap() })
}

fn request() -> impl Strategy<Value = Request> {
    prop_oneof![
        "[^\\x00]{1,60}".prop_map(|name| Request::Find(Name::new(name).unwrap())),
        (option::of(tag()), option::of(slot()))
            .prop_map(|(tag, after)| Request::List { tag, after }),
        Just(Request::Reload),
        option::of(slot()).prop_map(Request::Purge),
        Just(Request::Status),
        any::<u64>().prop_map(|after| Request::Leases { after }),
        any::<u64>().prop_map(Request::EndLease),
        (0..3_usize, any::<u64>())
            .prop_map(|(what, after)| Request::Inspect { what: Inspected::ALL[what], after }),
    ]
}

fn answer() -> impl Strategy<Value = Answer> {
    let errno = (1..4096_i32).prop_map(|errno| Errno::new(errno).unwrap());
    prop_oneof![
        slot().prop_map(|slot| Answer::Found(Found::Slot(slot))),
        slot().prop_map(|slot| Answer::Found(Found::Resource(slot))),
        tag().prop_map(|tag| Answer::Found(Found::Tag(tag))),
        (any::<bool>(), vec(entry(), 0..20)).prop_map(|(more, entries)| {
            let mut listing = Listing::new();
            for entry in entries {
                assert!(listing.push(entry));
            }
            if more {
                break_off(&mut listing);
            }
            Answer::Listing(listing)
        }),
        (option::of(errno), "(.|\n){0,200}")
            .prop_map(|(error, text)| Answer::Report(Report { error, text })),
    ]
}

fn entry() -> impl Strategy<Value = Entry> {
    let kind = (0..22_u8).prop_map(|number| Kind::from_number(number).unwrap());
    let owner = option::of(0..u32::MAX);
    let payload = option::of(0..=i32::MAX.unsigned_abs());
    let routes = [None, Some(Route::Direct), Some(Route::Relayed), Some(Route::KtlsOrRelayed)];
    let route = (0..routes.len()).prop_map(move |at| routes[at]);
    let flags = (any::<(bool, bool, bool)>(), route);
    (slot(), option::of(kind), flags, owner, payload, ".{0,80}").prop_map(
        |(slot, kind, ((resource, unreachable, here_only), route), owner, payload, name)| Entry {
            slot,
            kind,
            resource,
            unreachable,
            here_only,
            route,
            owner,
            payload,
            name,
        },
    )
}

/// What arrives at the other end.
fn carried(message: Extended<u32>) -> Extended<u32> {
    let mut decoder = Decoder::new(Limits::PEER);
    let descriptors = message.descriptors.clone();
    decoder.feed(&Message::Extended(message).to_bytes(), descriptors, false);
    let Some(Ok(Message::Extended(came))) = decoder.message() else { panic!("no message") };
    came
}

fn message(op: i16, body: &[u8]) -> Extended<u32> {
    Extended { op, flags: 0, body: body.into(), descriptors: Vec::new() }
}

fn refused<T: std::fmt::Debug>(outcome: Result<T, Fault>) -> Errno {
    let fault = outcome.unwrap_err();
    assert!(!fault.fatal, "{fault:?}");
    fault.errno
}

/// An entry of which nothing is told but slot and name.
fn plain_entry(index: i32, name: String) -> Entry {
    Entry {
        slot: Slot::new(1, index).unwrap(),
        kind: None,
        resource: false,
        unreachable: false,
        here_only: false,
        route: None,
        owner: None,
        payload: None,
        name,
    }
}

/// Has a listing say that there is more, by an entry that finds no room.
fn break_off(listing: &mut Listing) {
    assert!(!listing.push(plain_entry(0, "x".repeat(65536))));
}

proptest! {
    #[test]
    fn every_request_comes_out_as_it_was_written(sent in request()) {
        let came = Request::from_extended(carried(sent.clone().into_extended()));
        prop_assert_eq!(came, Ok(sent));
    }

    #[test]
    fn every_answer_comes_out_as_it_was_written(sent in answer()) {
        let came = Answer::from_extended(carried(sent.clone().into_extended()));
        prop_assert_eq!(came, Ok(sent));
    }

    #[test]
    fn no_body_makes_reading_panic_and_what_is_read_is_written_the_same_way(
        op in opcode::FIRST_EXTENDED..80,
        body in vec(prop_oneof![any::<u8>(), 0..3_u8, Just(0xff)], 0..80),
        descriptors in vec(any::<u32>(), 0..3),
    ) {
        let sent = Extended { op, flags: 0, body: body.into(), descriptors };
        if let Ok(request) = Request::from_extended(sent.clone()) {
            let again = Request::from_extended(request.clone().into_extended::<u32>());
            prop_assert_eq!(again, Ok(request));
        }
        if let Ok(answer) = Answer::from_extended(sent) {
            let again = Answer::from_extended(answer.clone().into_extended::<u32>());
            prop_assert_eq!(again, Ok(answer));
        }
    }

    #[test]
    fn damage_to_a_listing_is_told_or_makes_another_listing(
        sent in answer(), at in any::<prop::sample::Index>(), byte in any::<u8>(), end in any::<prop::sample::Index>(),
    ) {
        let mut message = sent.into_extended::<u32>();
        let position = at.index(message.body.len());
        message.body[position] = byte;
        message.body = message.body[..end.index(message.body.len()) + 1].into();
        if let Ok(Answer::Listing(listing)) = Answer::from_extended(message.clone()) {
            prop_assert!(listing.entries().len() * 18 <= message.body.len());
        }
    }
}

#[test]
fn the_bytes_are_those_of_the_page() {
    let slot = Slot::new(10, 3).unwrap();
    let [tag, index] = [&10_i16.to_ne_bytes()[..], &3_i32.to_ne_bytes()];
    let (none16, none32) = (&[0xff; 2][..], &[0xff; 4][..]);
    let zero = &[0, 0][..];
    let inspect = [&[2, 0][..], zero, zero, zero, &5_u64.to_ne_bytes()].concat();
    let requests = [
        (64, Request::Find(Name::new("web/3").unwrap()), b"web/3".to_vec()),
        (
            66,
            Request::List { tag: None, after: None },
            [none16, zero, none16, zero, none32].concat(),
        ),
        (
            66,
            Request::List { tag: Some(slot.tag), after: Some(slot) },
            [tag, zero, tag, zero, index].concat(),
        ),
        (68, Request::Reload, Vec::new()),
        (70, Request::Purge(None), [none16, zero, none32].concat()),
        (70, Request::Purge(Some(slot)), [tag, zero, index].concat()),
        (72, Request::Status, Vec::new()),
        (86, Request::Leases { after: 3 }, 3_u64.to_ne_bytes().to_vec()),
        (88, Request::EndLease(4), 4_u64.to_ne_bytes().to_vec()),
        (90, Request::Inspect { what: Inspected::Sessions, after: 5 }, inspect),
    ];
    for (op, request, body) in requests {
        assert_eq!(request.into_extended(), message(op, &body));
    }

    let mut listing = Listing::new();
    let mut entry = plain_entry(3, "web/3".into());
    entry.slot = slot;
    assert!(listing.push(entry.clone()));
    entry.kind = Some(Kind::TcpListener);
    (entry.resource, entry.unreachable) = (true, true);
    (entry.owner, entry.payload) = (Some(33), Some(5));
    entry.name.clear();
    assert!(listing.push(entry));
    break_off(&mut listing);
    let two = 2_i16.to_ne_bytes();
    let one = 1_i16.to_ne_bytes();
    let length = 5_u16.to_ne_bytes();
    let untold = [tag, &[255, 0], index, none32, none32, &length, b"web/3"].concat();
    let owner = 33_u32.to_ne_bytes();
    let size = 5_i32.to_ne_bytes();
    let told = [tag, &[7, 3], index, &owner, &size, zero].concat();
    let refused = (-13_i32).to_ne_bytes();
    let answers = [
        (65, Answer::Found(Found::Slot(slot)), [tag, zero, index].concat()),
        (65, Answer::Found(Found::Tag(slot.tag)), [tag, &one, none32].concat()),
        (67, Answer::Listing(listing), [&one[..], &two, &untold, &told].concat()),
        (
            69,
            Answer::Report(Report { error: Some(Errno::ACCES), text: "no".into() }),
            [&refused[..], b"no"].concat(),
        ),
    ];
    for (op, answer, body) in answers {
        assert_eq!(answer.into_extended(), message(op, &body));
    }
    // A client that knows no flags reads the slot all the same.
    let resource = Extended { flags: 1, ..message(65, &[tag, zero, index].concat()) };
    assert_eq!(Answer::Found(Found::Resource(slot)).into_extended(), resource);
}

#[test]
fn what_is_no_request_is_told_apart_from_one_that_makes_no_sense() {
    for op in [65, 67, 69, 71, 73, 95, 96, 103, i16::MAX] {
        assert_eq!(refused(Request::from_extended(message(op, &[]))), Errno::PROTO, "{op}");
    }
    let minus_two = (-2_i16).to_ne_bytes();
    let one = 1_i16.to_ne_bytes();
    let senseless = [
        (64, vec![]),
        (64, vec![b'x'; MAX_NAME + 1]),
        (64, b"a\0b".to_vec()),
        (64, vec![0xff]),
        (66, vec![]),
        (66, vec![0xff; 11]),
        (66, vec![0xff; 13]),
        (66, [&minus_two[..], &[0xff; 10]].concat()),
        (66, [&[0xff; 4][..], &one, &[0, 0], &[0xff; 4]].concat()),
        (68, vec![0]),
        (70, vec![]),
        (70, [&one[..], &[0; 2], &[0xff; 4]].concat()),
        (70, [&[0xff; 2][..], &[0; 6]].concat()),
        (72, vec![0]),
    ];
    for (op, body) in senseless {
        let outcome = Request::from_extended(message(op, &body));
        assert_eq!(refused(outcome), Errno::INVAL, "{op} {body:?}");
    }
    let with_descriptor = Extended { descriptors: vec![7], ..message(72, &[]) };
    assert_eq!(refused(Request::from_extended(with_descriptor)), Errno::INVAL);
    assert!(Name::new("x".repeat(MAX_NAME)).is_some());
}

#[test]
fn what_is_no_answer_is_told_apart_from_one_that_makes_no_sense() {
    for op in [64, 66, 68, 70, 71, 72, 96, i16::MAX] {
        assert_eq!(refused(Answer::from_extended(message(op, &[]))), Errno::PROTO, "{op}");
    }
    let shorts = |shorts: &[i16]| shorts.iter().flat_map(|it| it.to_ne_bytes()).collect();
    let found = |tag: i16, what: i16, index: i32| {
        [&tag.to_ne_bytes()[..], &what.to_ne_bytes(), &index.to_ne_bytes()].concat()
    };
    assert!(Answer::from_extended(message(65, &found(1, 0, 3))).is_ok());
    let report = |length: usize| [&[0; 4][..], &vec![b'x'; length]].concat();
    assert!(Answer::from_extended(message(69, &report(MAX_REPORT))).is_ok());
    let senseless: [(i16, Vec<u8>); 14] = [
        (65, vec![]),
        (65, found(-1, 0, 3)),
        (65, found(1, 0, -1)),
        (65, found(1, 1, 3)),
        (65, found(1, 2, -1)),
        (65, [&found(1, 0, 3)[..], &[0]].concat()),
        (67, vec![]),
        (67, shorts(&[2, 0])),
        (67, shorts(&[-1, 0])),
        (67, shorts(&[0, -1])),
        (67, [&[0; 4][..], &[0]].concat()),
        (69, vec![0; 3]),
        (69, report(MAX_REPORT + 1)),
        (69, vec![0, 0, 0, 0, 0xff]),
    ];
    for (op, body) in senseless {
        assert_eq!(refused(Answer::from_extended(message(op, &body))), Errno::INVAL, "{op}");
    }
    let with_descriptor = Extended { descriptors: vec![7], ..message(65, &found(1, 0, 3)) };
    assert_eq!(refused(Answer::from_extended(with_descriptor)), Errno::INVAL);
}

#[test]
fn a_listing_takes_as_much_as_a_message_may_have_and_says_that_there_is_more() {
    for name in [0, 1, 13, 255] {
        let mut listing = Listing::new();
        let mut count = 0;
        while listing.push(plain_entry(count, "x".repeat(name))) {
            count += 1;
        }
        assert!(listing.more());
        assert_eq!(usize::try_from(count).unwrap(), (65536 - 4) / (18 + name));
        let came = Answer::from_extended(carried(Answer::Listing(listing.clone()).into_extended()));
        assert_eq!(came, Ok(Answer::Listing(listing)));
    }
    let mut listing = Listing::new();
    assert!(listing.push(plain_entry(0, "x".repeat(65000))));
    assert!(!Listing::new().push(plain_entry(0, "x".repeat(65536))));
}

#[test]
fn a_listing_that_announces_more_entries_than_it_has_is_refused() {
    let body = [&0_i16.to_ne_bytes()[..], &i16::MAX.to_ne_bytes(), &[0; 18]].concat();
    refused(Answer::from_extended(message(67, &body)));
    let body = [&0_i16.to_ne_bytes()[..], &0_i16.to_ne_bytes(), &[0; 18]].concat();
    refused(Answer::from_extended(message(67, &body)));
}

#[test]
fn a_report_that_is_too_long_ends_with_a_whole_line_and_says_so() {
    let came = |text: &str| {
        let report = Report { error: None, text: text.to_owned() };
        let sent = Answer::Report(report).into_extended::<u32>();
        let Ok(Answer::Report(came)) = Answer::from_extended(sent) else { panic!("no report") };
        assert!(came.text.len() <= MAX_REPORT);
        came.text
    };
    let fits = "x".repeat(MAX_REPORT);
    assert_eq!(came(&fits), fits);
    let lines: String = (0..MAX_REPORT).map(|number| format!("uid={number}\n")).collect();
    let cut = came(&lines);
    let (whole, said) = cut.split_at(cut.rfind('(').unwrap());
    assert_eq!(said, "(a report has no room for the rest)\n");
    assert!(lines.starts_with(whole) && whole.ends_with('\n'));
    assert!(whole.len() > MAX_REPORT - 100);
    // Without lines, at a character.
    assert!(came(&"é".repeat(MAX_REPORT)).ends_with(&format!("é{said}")));
    for rc in [5, i32::MIN, -4096] {
        refused(Answer::from_extended(message(69, &i32::to_ne_bytes(rc))));
    }
}

#[test]
fn numbers_and_names_of_kinds_are_each_others() {
    for (number, kind) in (0..).zip(Kind::ALL) {
        assert_eq!(kind.number(), number);
        assert_eq!(Kind::from_number(number), Some(kind));
        assert_eq!(Kind::from_name(kind.name()), Some(kind));
    }
    assert_eq!(Kind::from_number(22), None);
    assert_eq!(Kind::from_number(255), None);
}

#[test]
fn features_are_asked_for_in_a_hello() {
    assert_eq!(greeting(Features::ALL), Hello { tags: 0, flags: 31, key: 0 });
    let asked = Features::from_flags(0x7fff_fff1);
    let granted = asked.and(Features::ALL);
    assert_eq!(granted.flags(), 17);
    assert!(granted.contains(Features::LISTING) && !granted.contains(Features::OPERATE));
    assert!(!granted.contains(Features::from_flags(3)), "one of two is not both");
    assert!(Features::ALL.contains(granted) && !granted.contains(Features::ALL));
}
