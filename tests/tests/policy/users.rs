//! Real users ask for every right on every kind of slot; what they get is compared with what the
//! policy says, as the policy crate decides it, and with a table written by hand.

use fdbroker_policy::{
    Findings, Gid, LookupError, Names, Policy, Right, Slot, SourceText, Target, Uid,
};
use fdbroker_tests::{Answer, Daemon, HelperProcess, Ids, Peer, fixtures, needs_root};

/// Deposits what others find; may do everything.
const KEEPER: u32 = 64100;

const POLICY: &str = r#"
[tags.devices]
id = 1

[tags.web]
id = 10
serial = false

[tags.secrets]
id = 2

[resources.null]
slot = "devices/0"
device = "/dev/null"

[resources.config]
slot = "web/900"
file = "FILE"

[[rules]]
id = "keeper"
allow = ["*"]
slots = ["*"]
user = 64100

[[rules]]
id = "one user takes the device"
allow = ["get"]
slots = ["null"]
user = 64101

[[rules]]
id = "a group, primary or supplementary, keeps its sockets"
allow = ["add", "get", "del", "tag"]
slots = ["web/*"]
group = 64150

[[rules]]
id = "replacers"
allow = ["get", "add", "del", "replace"]
slots = ["web/0-999"]
user = 64104

[[rules]]
id = "readers"
allow = ["get"]
slots = ["web/0-999", "secrets/*"]
user = [64105, 64101]

[[rules]]
id = "counters"
allow = ["tag"]
slots = ["web/*", "secrets/*"]
group = 64151

[[rules]]
id = "one index is nobody's"
deny = ["*"]
slots = ["web/13"]
group = [64150, 64151]

[[rules]]
id = "the banned"
deny = ["*"]
slots = ["*"]
group = 64199

[[rules]]
id = "anyone may look at one slot"
allow = ["get"]
slots = ["secrets/7"]
anyone = true
"#;

/// Who asks.
fn people() -> Vec<Ids> {
    let ids = |uid, gid, groups: &[u32]| Ids { uid, gid, groups: groups.to_vec() };
    vec![
        ids(0, 0, &[]),
        ids(0, 0, &[64150]),
        ids(KEEPER, KEEPER, &[]),
        ids(KEEPER, KEEPER, &[64199]),
        ids(64101, 64101, &[]),
        ids(64102, 64102, &[64150]),
        ids(64102, 64150, &[]),
        ids(64102, 64102, &[]),
        ids(64103, 64151, &[64149, 64150]),
        ids(64104, 64104, &[]),
        ids(64104, 64104, &[64199, 64150]),
        ids(64105, 64105, &[64151]),
        ids(64106, 64106, &[]),
    ]
}

/// What may lie in a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Holding {
    Resource,
    Own,
    Other,
    Nothing,
}

/// Slots of every kind, and what they hold.
const SLOTS: [((i16, i32), Holding); 15] = [
    ((1, 0), Holding::Resource),
    ((10, 900), Holding::Resource),
    ((10, 1), Holding::Own),
    ((10, 2), Holding::Other),
    ((10, 3), Holding::Nothing),
    ((10, 13), Holding::Other),
    ((10, 2000), Holding::Own),
    ((10, 2001), Holding::Other),
    ((10, 2002), Holding::Nothing),
    ((2, 7), Holding::Other),
    ((2, 8), Holding::Other),
    ((2, 9), Holding::Nothing),
    ((1, 1), Holding::Other),
    ((77, 0), Holding::Nothing),
    ((77, i32::MAX), Holding::Nothing),
];

struct NoNames;

impl Names for NoNames {
    fn user(&self, _: &str) -> Result<Option<Uid>, LookupError> {
        Ok(None)
    }

    fn group(&self, _: &str) -> Result<Option<Gid>, LookupError> {
        Ok(None)
    }
}

/// A daemon, and its policy as this process reads it.
fn daemon() -> (Daemon, Policy) {
    let (daemon, policy, _) = daemon_and_text();
    (daemon, policy)
}

/// The same, with the policy's text.
fn daemon_and_text() -> (Daemon, Policy, String) {
    let builder = Daemon::with_policy("");
    let file = builder.directory().private_file("config", "content");
    let body = POLICY.replace("FILE", file.to_str().unwrap());
    let text = format!("version = 1\n{body}");
    let policy = load(&text).expect("the policy loads");
    (builder.policy(&body).start(), policy, text)
}

fn load(text: &str) -> Result<Policy, Findings> {
    fdbroker_policy::load(&[SourceText::new("policy", text)], &NoNames)
}

/// A test of a policy: that it grants or refuses this.
fn test_of(policy: &Policy, ids: &Ids, right: Right, place: (i16, i32), grants: bool) -> String {
    let Some(tag) = policy.tag(slot(place).tag) else { return String::new() };
    let groups = [&[ids.gid], &ids.groups[..]].concat();
    let expect = if grants { "granted" } else { "refused" };
    format!(
        "[[tests]]\nuser = {}\ngroup = {groups:?}\nright = \"{right}\"\nslot = \"{}/{}\"\nexpect = \"{expect}\"\n",
        ids.uid, tag.name, place.1
    )
}

fn slot((tag, index): (i16, i32)) -> Slot {
    Slot::new(tag, index).unwrap()
}

fn decides(policy: &Policy, ids: &Ids, right: Right, target: Target) -> bool {
    let groups: Vec<Gid> = ids.groups.iter().copied().map(Gid).collect();
    let peer = fdbroker_policy::Peer::new(Uid(ids.uid), Gid(ids.gid), &groups);
    policy.outcome(&peer, right, target, fdbroker_policy::Moment::new(0, 0)).is_granted()
}

/// What must come of it: 0, or an error number.
fn expected(policy: &Policy, ids: &Ids, right: Right, place: (i16, i32), holding: Holding) -> i32 {
    let may = |right| decides(policy, ids, right, Target::Slot(slot(place)));
    let foreign = holding == Holding::Other && ids.uid != KEEPER;
    match (right, holding) {
        _ if !may(right) => libc::EACCES,
        (Right::Get, Holding::Nothing) | (Right::Del, Holding::Nothing) => libc::ENOENT,
        (Right::Get, _) => 0,
        _ if foreign && !may(Right::Replace) => libc::EACCES,
        _ => 0,
    }
}

/// Puts into the slot what is to lie there; whether that can be.
fn prepare(keeper: &mut Peer, own: &mut Peer, place: (i16, i32), holding: Holding) -> bool {
    match keeper.del(place).errno() {
        0 | libc::ENOENT => {}
        // A resource, or a tag that is not declared: nobody can put anything there.
        errno => assert_eq!(errno, libc::EACCES),
    }
    match holding {
        Holding::Resource | Holding::Nothing => true,
        Holding::Own => own.add(place, "own").errno() == 0,
        Holding::Other => {
            keeper.add(place, "the keeper's").done();
            true
        }
    }
}

fn ask(peer: &mut Peer, right: Right, place: (i16, i32)) -> Answer {
    match right {
        Right::Get => peer.get(place),
        Right::Add => peer.add(place, "new"),
        Right::Del => peer.del(place),
        Right::Tag
        | Right::Claim
        | Right::Replace
        | Right::List
        | Right::Inspect
        | Right::Operate => {
            unreachable!("not a request about a slot")
        }
    }
}

#[test]
fn every_user_gets_on_every_kind_of_slot_what_the_policy_says() {
    if !needs_root("users with every right on every kind of slot") {
        return;
    }
    let (daemon, policy) = daemon();
    let mut keeper = HelperProcess::user(KEEPER).connect(&daemon);
    let (mut granted, mut refused) = (0, 0);
    for ids in people() {
        let mut peer = HelperProcess::who_is(ids.clone()).connect(&daemon);
        for (place, holding) in SLOTS {
            for right in [Right::Get, Right::Add, Right::Del] {
                if !prepare(&mut keeper, &mut peer, place, holding) {
                    continue;
                }
                let answer = ask(&mut peer, right, place).errno();
                let expected = expected(&policy, &ids, right, place, holding);
                assert_eq!(answer, expected, "{ids:?} asks {right} of {place:?}, {holding:?}");
                if answer == libc::EACCES { refused += 1 } else { granted += 1 }
            }
        }
    }
    assert!(granted > 50 && refused > 100, "the table is lopsided: {granted} {refused}");
}

#[test]
fn what_the_broker_answers_passes_as_tests_of_its_policy() {
    if !needs_root("users whose answers become tests of the policy") {
        return;
    }
    let (daemon, policy, text) = daemon_and_text();
    let mut keeper = HelperProcess::user(KEEPER).connect(&daemon);
    let mut tests = String::new();
    for ids in people() {
        let mut peer = HelperProcess::who_is(ids.clone()).connect(&daemon);
        // Where nothing lies, or a resource, no right is asked for but the one to do it.
        for (place, holding) in SLOTS.into_iter().filter(|(_, it)| *it != Holding::Other) {
            for right in [Right::Get, Right::Add, Right::Del] {
                if prepare(&mut keeper, &mut peer, place, holding) {
                    let granted = ask(&mut peer, right, place).errno() != libc::EACCES;
                    tests += &test_of(&policy, &ids, right, place, granted);
                    let contrary = test_of(&policy, &ids, right, place, !granted);
                    let is_one = place == (1, 0);
                    assert!(!is_one || load(&format!("{text}{contrary}")).is_err(), "{contrary}");
                }
            }
        }
    }
    assert!(tests.matches("granted").count() > 20 && tests.matches("refused").count() > 100);
    load(&format!("{text}{tests}")).unwrap_or_else(|findings| panic!("{findings}"));
}

#[test]
fn every_user_counts_the_tags_that_the_policy_says() {
    if !needs_root("users that count tags") {
        return;
    }
    let (daemon, policy) = daemon();
    let mut counted = 0;
    for ids in people() {
        let mut peer = HelperProcess::who_is(ids.clone()).connect(&daemon);
        for tag in [1, 2, 10, 77] {
            let target = Target::Tag(slot((tag, 0)).tag);
            let may = decides(&policy, &ids, Right::Tag, target);
            let expected = if may { 0 } else { libc::EACCES };
            assert_eq!(peer.tag(tag).errno(), expected, "{ids:?} counts tag {tag}");
            counted += i32::from(may);
        }
    }
    assert!(counted > 5, "hardly anybody could count anything: {counted}");
}

#[test]
fn what_the_policy_says_is_what_one_would_read_in_it() {
    if !needs_root("users and a table written by hand") {
        return;
    }
    let (daemon, _) = daemon();
    let mut keeper = HelperProcess::user(KEEPER).connect(&daemon);
    keeper.add((10, 2), "the keeper's").done();
    keeper.add((10, 13), "the keeper's").done();
    keeper.add((2, 7), "for anyone to look at").done();
    let refused = libc::EACCES;
    let ids = |uid, groups: &[u32]| Ids { uid, gid: uid, groups: groups.to_vec() };
    // Who; get of the device, of the keeper's deposit, of the denied slot, of the common one;
    // overwriting the keeper's deposit; counting tag 10.
    for (who, outcomes) in [
        (ids(0, &[]), [refused, refused, refused, 0, refused, refused]),
        (ids(64101, &[]), [0, 0, 0, 0, refused, refused]),
        (ids(64102, &[]), [refused, refused, refused, 0, refused, refused]),
        (ids(64102, &[64150]), [refused, 0, refused, 0, refused, 0]),
        (ids(64105, &[64199]), [refused, refused, refused, refused, refused, refused]),
        (ids(64105, &[64151]), [refused, 0, refused, 0, refused, 0]),
        (ids(64106, &[]), [refused, refused, refused, 0, refused, refused]),
        (ids(64104, &[]), [refused, 0, 0, 0, 0, refused]),
    ] {
        let mut peer = HelperProcess::who_is(who.clone()).connect(&daemon);
        let found = [
            peer.get((1, 0)).errno(),
            peer.get((10, 2)).errno(),
            peer.get((10, 13)).errno(),
            peer.get((2, 7)).errno(),
            peer.add((10, 2), "overwritten").errno(),
            peer.tag(10).errno(),
        ];
        assert_eq!(found, outcomes, "{who:?}");
    }
}

#[test]
fn the_user_that_started_the_broker_has_no_more_rights_than_the_policy_gives() {
    let policy = fixtures::OPEN.replace("anyone = true", "user = 64999");
    let daemon = Daemon::with_policy(&policy).start();
    let mut peer = daemon.connect();
    assert_eq!(peer.get((1, 0)).errno(), libc::EACCES);
    assert_eq!(peer.add((1, 0), "x").errno(), libc::EACCES);
    assert_eq!(peer.tag(1).errno(), libc::EACCES);
}
