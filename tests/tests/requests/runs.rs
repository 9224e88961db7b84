//! What is recorded of many slots that are asked for at once: neighbours of which the same came are
//! one record, and nothing is given that no record names.

use std::collections::BTreeMap;
use std::time::Duration;

use fdbroker::{Broker, Error, Index, ManyDeposits, NewDeposit, Tag};
use fdbroker_tests::claims::{BOTH, LIVE, SERIAL};
use fdbroker_tests::{
    Answer, Daemon, HelperProcess, Ids, Line, Peer, fixtures, needs_root, request, wait_for,
};
use fdbroker_wire::claim::State;

/// One tag in which what may be got changes: by rules that allow and one that denies, and around a
/// resource.
const MIXED: &str = r#"
[tags.web]
id = 1

[resources.null]
slot = "web/5"
device = "/dev/null"

[[rules]]
id = "all but getting"
allow = ["add", "del"]
slots = ["web/*"]
anyone = true

[[rules]]
id = "lower"
allow = ["get"]
slots = ["web/0-19"]
anyone = true

[[rules]]
id = "upper"
allow = ["get"]
slots = ["web/20-29"]
anyone = true

[[rules]]
id = "not this one"
deny = ["get"]
slots = ["web/12"]
anyone = true

[[rules]]
id = "kept"
deny = ["del"]
slots = ["web/24-25"]
anyone = true

[[rules]]
id = "of somebody else"
allow = ["get", "del"]
slots = ["web/7-8", "web/22"]
user = 64131
"#;

fn tag() -> Tag {
    Tag::new(1).unwrap()
}

fn indices(numbers: impl IntoIterator<Item = i32>) -> Vec<Index> {
    numbers.into_iter().map(|number| Index::new(number).unwrap()).collect()
}

fn broker(daemon: &Daemon) -> Broker {
    Broker::connect_to(daemon.socket()).unwrap()
}

/// Deposits a payload in each of these slots.
#[track_caller]
fn fill(broker: &mut Broker, numbers: impl IntoIterator<Item = i32>) {
    let new = |index| NewDeposit { index, descriptor: None, payload: b"x" };
    let deposits: Vec<_> = indices(numbers).into_iter().map(new).collect();
    assert!(broker.add_many(tag(), &deposits).unwrap().iter().all(Result::is_ok));
}

/// The records of a right, but those that a resource was opened.
fn of(daemon: &Daemon, right: &str) -> Vec<Line> {
    daemon.log().decisions().into_iter().filter(|line| line.right == right).collect()
}

/// Verdict, slots, name and rule.
fn said(lines: &[Line]) -> Vec<(&str, &str, &str, &str)> {
    let rule = |line: &'_ Line| line.rule.as_deref().unwrap_or("none").to_owned().leak() as &str;
    lines.iter().map(|line| (&*line.verdict, &*line.slot, &*line.name, rule(line))).collect()
}

/// The slots that a record names.
fn named(line: &Line) -> Vec<i32> {
    let (_, slots) = line.slot.split_once('/').unwrap();
    let (first, last) = slots.split_once('-').unwrap_or((slots, slots));
    let slots: Vec<i32> = (first.parse().unwrap()..=last.parse().unwrap()).collect();
    let number = u32::try_from(slots.len()).unwrap();
    assert_eq!(line.slots, (number > 1).then_some(number), "{line:?}");
    slots
}

#[test]
fn neighbours_that_are_given_are_one_record_for_each_answer() {
    let daemon = Daemon::open().start();
    let mut broker = broker(&daemon);
    fill(&mut broker, 0..300);
    let got = broker.get_many(tag(), &indices(0..300)).unwrap();
    assert!(got.iter().all(|(_, found)| found.is_ok()));
    let records = of(&daemon, "get");
    assert_eq!(
        said(&records),
        [
            ("granted", "1/0-252", "open/0-252", "all to everyone"),
            ("granted", "1/253-299", "open/253-299", "all to everyone"),
        ]
    );
    assert_eq!((records[0].slots, records[1].slots), (Some(253), Some(47)));
    assert!(records.iter().all(|line| line.reason == "done" && line.uid == Ids::own().uid));
}

#[test]
fn a_run_ends_where_another_rule_decides_at_a_refusal_and_at_a_resource() {
    let daemon = Daemon::with_policy(MIXED).start();
    let mut broker = broker(&daemon);
    fill(&mut broker, (0..33).filter(|index| *index != 5 && *index != 15));
    let got = broker.get_many(tag(), &indices(0..33)).unwrap();
    assert_eq!(outcomes(&got), "xxxxxoxxxxxxrxx-xxxxxxxxxxxxxxrrr");
    let records = of(&daemon, "get");
    assert_eq!(
        said(&records),
        [
            ("granted", "1/0-4", "web/0-4", "lower"),
            ("granted", "1/5", "null", "lower"),
            ("granted", "1/6-11", "web/6-11", "lower"),
            ("refused", "1/12", "web/12", "not this one"),
            ("granted", "1/13-14", "web/13-14", "lower"),
            ("failed", "1/15", "web/15", "lower"),
            ("granted", "1/16-19", "web/16-19", "lower"),
            ("granted", "1/20-29", "web/20-29", "upper"),
            ("refused", "1/30-32", "web/30-32", "none"),
        ]
    );
    // What was opened has its record too, before that of the decision.
    let opened = daemon.log().audit().into_iter().find(|line| line.kind == "open").unwrap();
    assert_eq!((&*opened.slot, &*opened.verdict), ("1/5", "granted"));
}

#[test]
fn slots_that_are_no_neighbours_in_the_question_are_records_of_their_own() {
    let daemon = Daemon::open().start();
    let mut broker = broker(&daemon);
    fill(&mut broker, 0..10);
    let asked = indices([3, 3, 2, 1, 7, 8, 4]);
    let got = broker.get_many(tag(), &asked).unwrap();
    assert_eq!(got.iter().map(|(index, _)| *index).collect::<Vec<_>>(), asked);
    let records = of(&daemon, "get");
    let slots: Vec<_> = records.iter().map(|line| &*line.slot).collect();
    assert_eq!(slots, ["1/3", "1/3", "1/2", "1/1", "1/7-8", "1/4"]);
    let of_one = records.iter().filter(|line| !line.slot.contains('-'));
    assert!(of_one.into_iter().all(|line| line.slots.is_none()));
}

#[test]
fn what_is_taken_is_recorded_as_got_in_a_run_and_as_deleted_each_by_itself() {
    let daemon = Daemon::with_policy(MIXED).start();
    let mut broker = broker(&daemon);
    fill(&mut broker, 20..30);
    let taken = broker.take_many(tag(), &indices(20..30)).unwrap();
    assert_eq!(outcomes(&taken), "xxxxrrxxxx");
    assert_eq!(outcomes(&broker.get_many(tag(), &indices(20..30)).unwrap()), "----xx----");
    let records = of(&daemon, "get");
    let slots: Vec<_> = records.iter().map(|line| (&*line.verdict, &*line.slot)).collect();
    // Of the second question too: what is left is what was refused before.
    let asked_again = [("failed", "1/20-23"), ("granted", "1/24-25"), ("failed", "1/26-29")];
    assert_eq!(slots[slots.len() - 3..], asked_again);
    let given: Vec<i32> = records[..records.len() - 3].iter().flat_map(named).collect();
    assert_eq!(given, [20, 21, 22, 23, 26, 27, 28, 29]);
    let deleted = of(&daemon, "del");
    let refused: Vec<_> = deleted.iter().filter(|line| line.verdict == "refused").collect();
    assert_eq!(refused.len(), 1);
    assert_eq!((&*refused[0].slot, refused[0].rule.as_deref()), ("1/24-25", Some("kept")));
    let gone = deleted.iter().filter(|line| line.reason == "taken").flat_map(named);
    assert_eq!(gone.collect::<Vec<_>>(), given);
}

#[test]
fn what_others_deposited_ends_a_run_of_what_may_be_taken() {
    if !needs_root("deposits of another user among many") {
        return;
    }
    let policy = "[tags.web]\nid = 1\n[[rules]]\nid = \"no replace\"\nslots = [\"*\"]\n\
                  anyone = true\nallow = [\"get\", \"add\", \"del\"]\n";
    let daemon = Daemon::with_policy(policy).start();
    let mut broker = broker(&daemon);
    fill(&mut broker, [0, 1, 4]);
    let mut theirs = HelperProcess::user(64132).connect(&daemon);
    theirs.add((1, 2), "theirs").done();
    theirs.add((1, 3), "theirs").done();
    assert_eq!(outcomes(&broker.take_many(tag(), &indices(0..5)).unwrap()), "xxrrx");
    let refused: Vec<_> =
        of(&daemon, "del").into_iter().filter(|it| it.reason != "taken").collect();
    assert_eq!(said(&refused), [("refused", "1/2-3", "web/2-3", "no replace")]);
    assert!(refused[0].reason.starts_with("uid 64132 deposited it"), "{refused:?}");
    assert_eq!(outcomes(&broker.get_many(tag(), &indices(0..5)).unwrap()), "--xx-");
}

#[test]
fn a_serial_tag_is_waited_for_once_and_then_served_in_runs() {
    let daemon = Daemon::with_policy(&fixtures::serial()).start();
    let mut owner = broker(&daemon);
    fill(&mut owner, 0..100);
    let mut waiter = HelperProcess::same().connect(&daemon);
    waiter.send(&request::hello(), &[]);
    waiter.receive().unwrap();
    let asked: Vec<u8> = (0..100).flat_map(i32::to_ne_bytes).collect();
    waiter.send(&request::extended(74, &[&[1, 0, 0, 0], &asked[..]].concat()), &[]);
    assert!(!waiter.is_answered(Duration::from_millis(200)), "answered before its turn");
    assert!(of(&daemon, "get").is_empty(), "recorded before its turn");
    drop(owner);
    let mut answer = Vec::new();
    while answer.len() < 12 + 17 * 100 {
        answer.extend(waiter.receive().unwrap().bytes);
    }
    let records = of(&daemon, "get");
    let slots: Vec<_> = records.iter().map(|line| (&*line.verdict, &*line.slot)).collect();
    assert_eq!(slots, [("granted", "1/0"), ("granted", "1/1-99")]);
}

#[test]
fn of_a_tag_that_is_taken_over_neither_side_takes_a_run_and_the_old_one_never_again() {
    let daemon = Daemon::of_claims();
    for tag in BOTH {
        let mut old = daemon.owner(tag);
        for index in 0..5 {
            old.add((tag, index), "x").done();
        }
        let mut new = daemon.greeted();
        assert_eq!(new.claim(tag, LIVE), State::Granted);
        for side in [&mut old, &mut new] {
            assert_eq!(many(side, tag, true), [libc::EBUSY; 5]);
            assert_eq!(many(side, tag, false), [0; 5]);
        }
        new.ready(tag).done();
        assert_eq!(many(&mut old, tag, true), [libc::ESTALE; 5]);
        let of_a_serial_tag = if tag == SERIAL { libc::ESTALE } else { 0 };
        assert_eq!(many(&mut old, tag, false), [of_a_serial_tag; 5]);
        assert_eq!(many(&mut new, tag, true), [0; 5]);
    }
}

/// GET_MANY of the first five slots, with take or without; returns the error number of each.
fn many(peer: &mut Peer, tag: i16, take: bool) -> [i32; 5] {
    let indices: Vec<u8> = (0..5).flat_map(i32::to_ne_bytes).collect();
    let head = [tag, i16::from(take)].map(i16::to_ne_bytes).concat();
    let answer = match peer.ask(&request::extended(74, &[&head[..], &indices].concat()), &[]) {
        Answer::Extended { op: 75, body } => body,
        other => panic!("expected GOT_MANY, got {other:?}"),
    };
    let mut rest = &answer[4..];
    [(); 5].map(|()| {
        let [rc, _, nob] =
            [4, 8, 12].map(|at| i32::from_ne_bytes(rest[at..at + 4].try_into().unwrap()));
        rest = &rest[16 + usize::try_from(nob).unwrap()..];
        -rc
    })
}

#[test]
fn a_refusal_of_a_run_that_repeats_is_counted_like_any_other() {
    let daemon = Daemon::with_policy(MIXED).start();
    let mut broker = broker(&daemon);
    for _ in 0..50 {
        assert_eq!(outcomes(&broker.get_many(tag(), &indices(40..140)).unwrap()), "r".repeat(100));
    }
    // Another run of the tag is counted with it.
    broker.get_many(tag(), &indices(40..141)).unwrap();
    let records = wait_for("all are told", || {
        let lines = of(&daemon, "get");
        let told: u32 = lines.iter().map(|line| line.count.max(1)).sum();
        (told == 51).then_some(lines)
    });
    // At most one more record for each second that it took.
    assert!((4..20).contains(&records.len()), "{records:#?}");
    assert!(records.iter().all(|line| line.slot.starts_with("1/40-1")), "{records:#?}");
    assert_eq!(records.iter().map(asked_for).sum::<u32>(), 50 * 100 + 101);
}

/// How many slots were asked for, each time counted.
fn asked_for(line: &Line) -> u32 {
    line.slots.unwrap_or(line.count.max(1))
}

#[test]
fn whatever_is_asked_each_outcome_is_named_by_just_one_record() {
    let daemon = Daemon::with_policy(MIXED).start();
    let mut broker = broker(&daemon);
    let mut random = Random(7);
    let mut expected = Tally::new();
    for round in 0..60 {
        fill(&mut broker, (0..33).filter(|index| *index != 5 && random.below(3) > 0));
        let mut asked = Vec::new();
        while asked.len() < 60 {
            let first = random.below(36);
            asked.extend(first..first + 1 + random.below(12));
        }
        let got = match random.below(3) {
            0 => broker.take_many(tag(), &indices(asked.clone())).unwrap(),
            _ => broker.get_many(tag(), &indices(asked.clone())).unwrap(),
        };
        for (index, found) in &got {
            *expected.entry((verdict(found), index.get())).or_default() += 1;
        }
        // What was given is on record before it is answered; of what repeats, the count comes later.
        assert_eq!(granted(&recorded(&daemon)), granted(&expected), "round {round}: {asked:?}");
    }
    assert_eq!(granted(&recorded(&daemon)), granted(&expected));
    // What is not granted is counted with the span of its slots: it adds up.
    for verdict in ["refused", "failed"] {
        let of = |(key, number): (&(&str, i32), &u32)| (key.0 == verdict).then_some(*number);
        let all: u32 = expected.iter().filter_map(of).sum();
        let told = || -> u32 {
            let lines = daemon.log().decisions().into_iter();
            lines.filter(|line| line.verdict == verdict).map(|line| asked_for(&line)).sum()
        };
        wait_for("all are told", || (told() == all).then_some(()));
    }
}

/// How often each result came, and of which slot.
type Tally = BTreeMap<(&'static str, i32), u32>;

/// What the records say of what was asked for.
fn recorded(daemon: &Daemon) -> Tally {
    let mut tally = Tally::new();
    let given = |line: &Line| {
        line.verdict == "granted" && matches!(&*line.right, "get" | "del") && line.reason != "taken"
    };
    for line in daemon.log().decisions().into_iter().filter(given) {
        for index in named(&line) {
            *tally.entry(("granted", index)).or_default() += line.count.max(1);
        }
    }
    tally
}

fn granted(tally: &Tally) -> Vec<(i32, u32)> {
    let granted = tally.iter().filter(|((verdict, _), _)| *verdict == "granted");
    granted.map(|((_, index), number)| (*index, *number)).collect()
}

fn verdict<T>(found: &Result<T, Error>) -> &'static str {
    match found {
        Ok(_) => "granted",
        Err(Error::Refused { .. }) => "refused",
        Err(_) => "failed",
    }
}

/// A letter for the result of each slot. An `o` is a descriptor without a payload.
fn outcomes(got: &ManyDeposits) -> String {
    let letter = |(_, found): &(Index, Result<fdbroker::Deposit, Error>)| match found {
        Ok(deposit) if deposit.descriptor.is_some() => 'o',
        Ok(_) => 'x',
        Err(Error::Refused { .. }) => 'r',
        Err(Error::Absent { .. }) => '-',
        Err(_) => '?',
    };
    got.iter().map(letter).collect()
}

/// Numbers that look random, and are the same each time (a linear congruence).
struct Random(u64);

impl Random {
    fn below(&mut self, limit: i32) -> i32 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        i32::try_from((self.0 >> 33) % u64::from(limit.unsigned_abs())).unwrap()
    }
}
