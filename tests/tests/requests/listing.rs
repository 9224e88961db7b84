//! Version 2 of the protocol: HEL, names, listings and how the broker is, with the real command and
//! library against the real daemon.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use fdbroker::{Broker, Error, Found, Kind, Slot};
use fdbroker_tests::{
    Answer, Daemon, HelperProcess, Ids, Peer, fixtures, is_root, needs_root, request, wait_until,
};

/// One uid may list all of tag `web` and nothing else; `vault` is nobody's but ours.
const LISTER: u32 = 64020;
const STRANGER: u32 = 64021;

fn policy() -> String {
    format!(
        r#"
[tags.web]
id = 10

[tags.vault]
id = 11

[tags.dev]
id = 12

[resources.null]
slot = "dev/0"
device = "/dev/null"

[resources.words]
slot = "dev/7"
file = "/etc/hostname"

[[rules]]
id = "ours"
allow = ["*"]
slots = ["*"]
user = {own}

[[rules]]
id = "operators"
allow = ["operate"]
user = {own}

[[rules]]
id = "lists"
allow = ["list"]
slots = ["web/*"]
user = {LISTER}

[[rules]]
id = "but not this one"
deny = ["list"]
slots = ["web/13"]
user = {LISTER}

[[rules]]
id = "gets"
allow = ["get"]
slots = ["vault/5"]
user = {LISTER}
"#,
        own = Ids::own().uid
    )
}

fn daemon() -> Daemon {
    Daemon::with_policy(&policy()).start()
}

fn slot(tag: i16, index: i32) -> Slot {
    Slot::new(tag, index).unwrap()
}

const FIND: i16 = 64;
const FOUND: i16 = 65;
const LIST: i16 = 66;
const LISTING: i16 = 67;
const REPORT: i16 = 69;
const PURGE: i16 = 70;
const STATUS: i16 = 72;

#[track_caller]
fn greeted(peer: &mut Peer) -> fdbroker_wire::Hello {
    match peer.ask(&request::hello(), &[]) {
        Answer::Hello(hello) => hello,
        other => panic!("{other:?}"),
    }
}

fn find(peer: &mut Peer, name: impl AsRef<[u8]>) -> Answer {
    peer.ask(&request::extended(FIND, name.as_ref()), &[])
}

#[test]
fn hel_tells_the_instance_and_how_many_tags_the_peer_may_see() {
    let daemon = daemon();
    let mut peer = daemon.connect();
    let hello = greeted(&mut peer);
    assert_eq!(hello.tags, 3);
    assert!(hello.key > 0, "{hello:?}");
    assert_eq!(greeted(&mut peer), hello, "it may be said again");
    assert_eq!(greeted(&mut daemon.connect()), hello);
    // Another worker is the same broker; another broker is not.
    daemon.kill_worker();
    assert_eq!(greeted(&mut daemon.connect()), hello);
    let other = self::daemon();
    assert_ne!(greeted(&mut other.connect()).key, hello.key);
    if needs_root("HEL of others") {
        assert_eq!(greeted(&mut HelperProcess::user(LISTER).connect(&daemon)).tags, 2);
        assert_eq!(greeted(&mut HelperProcess::user(STRANGER).connect(&daemon)).tags, 0);
    }
    let mut broker = Broker::connect_to(daemon.socket()).unwrap();
    assert_eq!(broker.instance().unwrap(), hello.key);
}

#[test]
fn only_known_features_are_granted() {
    let daemon = daemon();
    let mut peer = daemon.connect();
    for (asked, granted) in [(0, 0), (1, 1), (2, 2), (-1, 31), (i32::MIN | 33, 1)] {
        let hello = request::hello_for(asked);
        let Answer::Hello(answer) = peer.ask(&hello, &[]) else { panic!("no HEL") };
        assert_eq!(answer.flags, granted, "{asked}");
    }
}

#[test]
fn what_hel_did_not_grant_is_not_served() {
    let daemon = daemon();
    let mut peer = daemon.connect();
    for features in [0, 1, 2, 3, 0] {
        peer.ask(&request::hello_for(features), &[]);
        let list = [&(-1i16).to_ne_bytes()[..], &[0; 2], &(-1i16).to_ne_bytes(), &[0; 6]].concat();
        let purge = [&10i16.to_ne_bytes()[..], &[0; 6]].concat();
        let asked =
            [(FIND, &b"web"[..], 1), (LIST, &list, 1), (PURGE, &purge, 2), (STATUS, b"", 2)];
        for (op, body, feature) in asked {
            let answer = peer.ask(&request::extended(op, body), &[]);
            match answer {
                Answer::Failed(libc::EPROTO, text) => {
                    assert_eq!(text, "not granted by HEL");
                    assert_eq!(features & feature, 0, "opcode {op} with {features}");
                }
                _ => assert_eq!(features & feature, feature, "opcode {op} with {features}"),
            }
        }
        peer.is_served((10, 0));
    }
}

#[test]
fn before_hel_and_for_unknown_opcodes_the_answer_is_eproto_and_the_connection_lives_on() {
    let daemon = daemon();
    let mut peer = daemon.connect();
    let all = [FIND, FOUND, LIST, LISTING, 68, REPORT, 70, 71, STATUS, 73, 96, 103, 127, 32767];
    for op in all {
        let answer = peer.ask(&request::extended(op, b"web"), &[]);
        assert_eq!(answer.errno(), libc::EPROTO, "opcode {op}: {answer:?}");
        peer.is_served((10, 0));
    }
    greeted(&mut peer);
    for op in [FOUND, LISTING, REPORT, 71, 73, 96, 97, 103, 127, 32767] {
        let answer = peer.ask(&request::extended(op, b"web"), &[]);
        assert_eq!(answer.errno(), libc::EPROTO, "opcode {op}: {answer:?}");
    }
    assert!(matches!(find(&mut peer, "web"), Answer::Extended { op: FOUND, .. }));
    assert!(!daemon.log().text().contains("cut-off"));
    // Another connection has not said it.
    assert_eq!(find(&mut daemon.connect(), "web").errno(), libc::EPROTO);
}

#[test]
fn what_is_no_request_of_version_2_is_einval_and_the_connection_lives_on() {
    let daemon = daemon();
    let mut peer = daemon.connect();
    greeted(&mut peer);
    for name in [&b""[..], &[b'x'; 256], b"a\0b", b"\xff\xfe"] {
        assert_eq!(find(&mut peer, name).errno(), libc::EINVAL, "{name:?}");
    }
    assert_eq!(find(&mut peer, [b'x'; 255]).errno(), libc::EACCES);
    for op in [LIST, 68, 70, STATUS] {
        let answer = peer.ask(&request::extended(op, b"nonsense!"), &[]);
        assert_eq!(answer.errno(), libc::EINVAL, "opcode {op}: {answer:?}");
    }
    peer.is_served((10, 0));
}

#[test]
fn names_are_found_without_a_policy_file_in_every_subcommand() {
    let daemon = daemon();
    let file = daemon.directory().file("payload", "the payload", 0o644);
    daemon.says(&["add", "web/5", "--payload", file.to_str().unwrap()]);
    assert_eq!(daemon.says(&["get", "web/5"]), "the payload");
    assert_eq!(daemon.says(&["get", "10/5"]), "the payload");
    assert!(daemon.says(&["tag", "web"]).contains("11"));
    daemon.says(&["add", "vault/1", "--open", file.to_str().unwrap()]);
    let script = "cat <&4; readlink /proc/self/fd/3";
    let said = daemon.says(&["exec", "null", "vault/1", "--", "sh", "-c", script]);
    assert_eq!(said, "the payload/dev/null\n");
    daemon.says(&["del", "web/5"]);
    daemon.complains(4, &["get", "web/5"]);
    daemon.complains(4, &["del", "web/5"]);
    let said = daemon.complains(2, &["get", "web"]);
    assert!(said.contains("that is a tag"), "{said}");
    let said = daemon.complains(2, &["tag", "null"]);
    assert!(said.contains("that is a slot"), "{said}");
    daemon.complains(3, &["get", "no-such-name"]);
    daemon.complains(3, &["get", "nowhere/5"]);

    let mut broker = Broker::connect_to(daemon.socket()).unwrap();
    assert_eq!(broker.find("words").unwrap(), Found::Resource(slot(12, 7)));
    assert_eq!(broker.find("dev/7").unwrap(), Found::Resource(slot(12, 7)));
    assert_eq!(broker.find("12/8").unwrap(), Found::Slot(slot(12, 8)));
    assert!(matches!(broker.find("web").unwrap(), Found::Tag(tag) if tag.get() == 10));
    assert!(matches!(broker.find("nothing"), Err(Error::Refused { .. })));
    // After a reload it is another name.
    daemon.reload(&policy().replace("resources.words", "resources.sentences"));
    assert_eq!(broker.find("sentences").unwrap(), Found::Resource(slot(12, 7)));
    assert!(matches!(broker.find("words"), Err(Error::Refused { .. })));
}

#[test] // attack 29, by name
fn a_name_that_does_not_exist_and_one_without_a_right_read_the_same() {
    if !needs_root("a peer without rights") {
        return;
    }
    let daemon = daemon();
    daemon.connect().add((10, 1), "there").done();
    let known = ["null", "words", "dev", "vault", "web", "web/1", "web/2", "10/1", "dev/0"];
    let unknown = ["nil", "no", "tag", "web/", "web/-1", "web/01", "99/1", "-1/-1", "7", "a b"];
    let mut answers = BTreeSet::new();
    let mut peer = HelperProcess::user(STRANGER).connect(&daemon);
    greeted(&mut peer);
    for name in known.into_iter().chain(unknown) {
        let Answer::Failed(errno, text) = find(&mut peer, name) else { panic!("{name} is found") };
        answers.insert((errno, text));
    }
    assert_eq!(answers, BTreeSet::from([(libc::EACCES, "refused".to_owned())]));

    // Any right on a slot lets its holder know the slot, and no other.
    let mut peer = HelperProcess::user(LISTER).connect(&daemon);
    greeted(&mut peer);
    for (name, found) in [("vault/5", true), ("vault/6", false), ("vault", false), ("web", true)] {
        let answer = find(&mut peer, name);
        assert_eq!(
            matches!(answer, Answer::Extended { op: FOUND, .. }),
            found,
            "{name}: {answer:?}"
        );
    }
    assert_eq!(find(&mut peer, "web/13").errno(), libc::EACCES);
    for slot in ["vault/5", "web"] {
        let found = daemon.log().decisions();
        assert!(found.iter().any(|line| line.uid == LISTER && line.name == slot), "{slot}");
    }
}

#[test]
fn a_listing_shows_what_is_there_with_kinds_and_resources() {
    let daemon = daemon();
    let mut peer = daemon.connect();
    peer.add((10, 3), "payload").done();
    peer.add_descriptor((10, 4), fixtures::file_saying("x"), "").done();
    peer.add((11, 5), "secret").done();
    let mut broker = Broker::connect_to(daemon.socket()).unwrap();
    let listed = broker.list(None).unwrap();
    let outline: Vec<_> = listed
        .iter()
        .map(|entry| (entry.slot, entry.name.as_str(), entry.kind, entry.resource, entry.payload))
        .collect();
    let expected = [
        (slot(10, 3), "web/3", Some(Kind::PayloadOnly), false, Some(7)),
        (slot(10, 4), "web/4", Some(Kind::File), false, Some(0)),
        (slot(11, 5), "vault/5", Some(Kind::PayloadOnly), false, Some(6)),
        (slot(12, 0), "null", None, true, None),
        (slot(12, 7), "words", Some(Kind::File), true, None),
    ];
    assert_eq!(outline, expected);
    let own = Ids::own().uid;
    assert!(listed.iter().all(|entry| entry.owner == (!entry.resource).then_some(own)));
    assert_eq!(daemon.says(&["list", "vault"]).lines().count(), 2);
    let json: serde_json::Value =
        serde_json::from_str(&daemon.says(&["list", "--json", "12"])).unwrap();
    assert_eq!((&json[0]["name"], &json[0]["resource"]), (&"null".into(), &true.into()));
    assert_eq!(json.as_array().unwrap().len(), 2);
    let records = daemon.log().decisions();
    let last = records.last().unwrap();
    assert_eq!((&*last.right, &*last.slot, &*last.verdict), ("list", "12/*", "granted"));
}

#[test]
fn a_listing_shows_to_each_what_it_may_see_and_owners_and_sizes_to_operators_only() {
    if !needs_root("a listing of others") {
        return;
    }
    let daemon = daemon();
    let mut peer = daemon.connect();
    for place in [(10, 1), (10, 13), (11, 5), (11, 6)] {
        peer.add(place, "x").done();
    }
    let said = daemon.run_as(LISTER, &["list"]);
    assert_eq!(said.status, 0, "{said:?}");
    let rows: Vec<Vec<&str>> =
        said.out.lines().skip(1).map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(rows, [["10/1", "web/1", "none"]]);
    let said = daemon.run_as(LISTER, &["list", "--json", "web"]);
    let json: serde_json::Value = serde_json::from_str(&said.out).unwrap();
    assert_eq!((&json[0]["owner"], &json[0]["payload_bytes"]), (&().into(), &().into()));
    // Nothing to see is no error; and a tag without a right has no name.
    let nothing = daemon.run_as(STRANGER, &["list"]);
    assert_eq!(nothing.out, "");
    let told = "nothing is listed: no slot holds anything that you have the right `list` to";
    assert!(nothing.err.contains(told), "{}", nothing.err);
    assert_eq!(daemon.run_as(STRANGER, &["list", "10"]).status, 0);
    assert_eq!(daemon.run_as(STRANGER, &["list", "web"]).status, 3);
    for arguments in [&["status"][..], &["reload"], &["purge", "--all"], &["purge", "10/1"]] {
        assert_eq!(daemon.run_as(LISTER, arguments).status, 3, "{arguments:?}");
    }
    assert_eq!(peer.get((10, 1)).payload(), b"x");
}

/// Thousands of slots in tags with names as long as they may be.
const MANY: i32 = 3000;

#[test]
fn a_long_listing_comes_page_by_page_complete_and_in_order() {
    let names = ["a".repeat(64), "z".repeat(64)];
    let tags: String =
        (1..).zip(&names).map(|(id, name)| format!("[tags.{name}]\nid = {id}\n")).collect();
    let rules = fixtures::OPEN.replace("[tags.open]\nid = 1\n", &tags);
    let daemon = Daemon::with_policy(&rules).start();
    let mut peer = daemon.connect();
    fill(&mut peer, (1, 0), MANY);
    fill(&mut peer, (2, 2_147_480_000), MANY);
    let mut broker = Broker::connect_to(daemon.socket()).unwrap();
    let listed = broker.list(None).unwrap();
    let slots: Vec<Slot> = listed.iter().map(|entry| entry.slot).collect();
    let expected = (0..MANY).map(|index| slot(1, index));
    let expected: Vec<Slot> =
        expected.chain((0..MANY).map(|index| slot(2, 2_147_480_000 + index))).collect();
    assert!(slots == expected, "{} slots, in some other order", slots.len());
    assert_eq!(listed[7].name, format!("{}/7", names[0]));
    // Without the right to operate, a peer is told no more.
    assert!(listed.iter().all(|entry| entry.owner.is_none() && entry.payload.is_none()));
    let said = daemon.says(&["list", &names[1]]);
    assert_eq!(said.lines().count(), 1 + usize::try_from(MANY).unwrap());
    // One page is one record, and needs no more than one.
    let pages = daemon.log().decisions().into_iter().filter(|line| line.right == "list");
    assert!(pages.count() < 100);
}

/// Deposits payloads, as fast as they are taken.
fn fill(peer: &mut Peer, (tag, first): (i16, i32), count: i32) {
    const TOGETHER: i32 = 500;
    for start in (0..count).step_by(TOGETHER as usize) {
        let indices = start..count.min(start + TOGETHER);
        let requests: Vec<u8> = indices
            .clone()
            .flat_map(|index| request::add((tag, first + index), -1, b"x"))
            .collect();
        peer.send(&requests, &[]);
        indices.for_each(|_| peer.answer().done());
    }
}

#[test]
fn somebody_who_lists_a_hundred_thousand_slots_keeps_nobody_else_waiting() {
    const SLOTS: i32 = 100_000;
    let daemon = Daemon::open().setting("max_slots_per_uid = 200000").start();
    let mut peer = daemon.connect();
    fill(&mut peer, (1, 0), SLOTS);
    let done = AtomicBool::new(false);
    let (listed, longest) = std::thread::scope(|scope| {
        let lists = scope.spawn(|| {
            let mut broker = Broker::connect_to(daemon.socket()).unwrap();
            let listed = broker.list(None).unwrap().len();
            done.store(true, Ordering::Relaxed);
            listed
        });
        let mut longest = Duration::ZERO;
        while !done.load(Ordering::Relaxed) && !lists.is_finished() {
            let start = Instant::now();
            peer.get((1, 7)).payload();
            longest = longest.max(start.elapsed());
        }
        (lists.join().unwrap(), longest)
    });
    assert_eq!(i32::try_from(listed).unwrap(), SLOTS);
    assert!(longest < Duration::from_secs(5), "somebody waited {longest:?}");
}

#[test]
fn a_listing_that_nobody_reads_keeps_nobody_else_waiting_and_takes_no_memory() {
    let daemon = Daemon::open().setting("frame_timeout = \"1s\"").start();
    let mut peer = daemon.connect();
    fill(&mut peer, (1, 0), 5000);
    let mut unread = HelperProcess::same().connect(&daemon);
    unread.send(&request::hello(), &[]);
    let body = [-1i16, 0, -1, 0].map(i16::to_ne_bytes).concat();
    let list = request::extended(LIST, &[&body[..], &(-1i32).to_ne_bytes()].concat());
    for _ in 0..200 {
        if unread.try_send(&list, &[]).is_err() {
            break;
        }
    }
    for _ in 0..100 {
        peer.get((1, 7)).payload();
    }
    wait_until("it is cut off", || daemon.log().audit().iter().any(|line| line.kind == "cut-off"));
    peer.get((1, 7)).payload();
}

#[test]
fn status_says_how_the_broker_is_to_operators() {
    let daemon = daemon();
    let mut peer = daemon.connect();
    peer.add_descriptor((10, 1), fixtures::file_saying("x"), "").done();
    peer.add((10, 2), "x").done();
    let key = greeted(&mut peer).key;
    let said = daemon.says(&["status"]);
    let value = |key: &str| -> i64 {
        let line = said.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
        line.unwrap_or_else(|| panic!("no {key} in {said}")).parse().unwrap()
    };
    assert_eq!(value("instance"), key);
    assert_eq!((value("policy"), value("rules"), value("tags")), (0, 5, 3));
    assert_eq!((value("resources"), value("deposits"), value("connections")), (2, 2, 2));
    assert!(value("descriptor_limit") >= value("descriptors"), "{said}");
    assert!(said.contains("version="), "{said}");
    let missing = daemon.log().text().contains("there is no system call filter")
        || daemon.log().text().contains("has no Landlock domain");
    assert_eq!(said.contains("\nsandbox=full\n"), !missing, "{said}");
    daemon.reload(&policy());
    assert!(daemon.says(&["status"]).contains("policy=1\n"));
}

#[test]
fn without_a_policy_file_whoever_started_the_broker_uses_names_and_lists_and_operates() {
    let Some(builder) = Daemon::built_in("the built-in policy") else { return };
    let daemon = builder.start();
    let run = |arguments: &[&str]| {
        let said = match is_root() {
            true => daemon.run_as(fdbroker_tests::daemon::TRIER, arguments),
            false => daemon.run(arguments),
        };
        assert_eq!(said.status, 0, "{arguments:?}: {said:?}");
        said.out
    };
    run(&["add", "7/1", "--payload", "/dev/null"]);
    assert!(run(&["list"]).contains("7/1"));
    assert!(run(&["status"]).contains("deposits=1"));
    run(&["reload"]);
    assert!(run(&["list", "7"]).contains("7/1"));
}
