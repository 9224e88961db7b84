//! Peers that try what they have no right to, or try to learn something from being refused.

use fdbroker_tests::{Daemon, HelperProcess, Ids, Peer, fixtures, is_root, needs_root, request};

const OWNER: u32 = 64101;
const STRANGER: u32 = 64103;

/// The owner has every right but to replace; the stranger may use slots 0 to 9 only, also
/// without replacing; the superintendent may replace.
const POLICY: &str = r#"
[tags.shared]
id = 1

[resources.config]
slot = "shared/500"
file = "FILE"

[[rules]]
id = "owner"
allow = ["get", "add", "del", "tag"]
slots = ["shared/*"]
user = [64101, OWN]

[[rules]]
id = "stranger"
allow = ["get", "add", "del"]
slots = ["shared/0-9"]
user = 64103

[[rules]]
id = "superintendent"
allow = ["add", "del", "replace"]
slots = ["shared/0-9"]
user = 64104
"#;

fn daemon() -> Daemon {
    let builder = Daemon::with_policy("");
    let file = builder.directory().private_file("config", "content");
    let policy = POLICY.replace("FILE", file.to_str().unwrap());
    // Without root everybody is the owner.
    let own = if is_root() { OWNER } else { Ids::own().uid };
    builder.policy(&policy.replace("OWN", &own.to_string())).start()
}

#[test] // attack 29
fn probing_without_a_right_gives_the_same_answer_whether_there_is_something_or_not() {
    let daemon = daemon();
    let full = [(1, 20), (1, 21)];
    let mut owner =
        if is_root() { HelperProcess::user(OWNER).connect(&daemon) } else { daemon.connect() };
    owner.add(full[0], "secret").done();
    owner.add_descriptor(full[1], fixtures::file_saying("secret"), "").done();
    let places = [full[0], full[1], (1, 22), (1, 500), (1, i32::MAX), (7, 0)];
    if !needs_root("somebody without a right") {
        return;
    }
    let mut stranger = HelperProcess::user(STRANGER).connect(&daemon);
    let (del, get) = (request::del, request::get);
    let add = |place| request::add(place, -1, b"x");
    for (name, ask) in [("get", &get as &dyn Fn(_) -> Vec<u8>), ("del", &del), ("add", &add)] {
        let answers: Vec<_> = places.iter().map(|place| raw(&mut stranger, &ask(*place))).collect();
        assert!(answers.windows(2).all(|two| two[0] == two[1]), "{name}: {answers:?}");
        assert_eq!(i16::from_ne_bytes([answers[0][2], answers[0][3]]), -13, "{name}");
    }
    let counted: Vec<_> = [1, 7].map(|tag| raw(&mut stranger, &request::tag(tag))).into();
    assert_eq!(counted[0], counted[1], "a tag that is declared answers otherwise");
}

/// The bytes of an answer, as they come.
fn raw(peer: &mut Peer, bytes: &[u8]) -> Vec<u8> {
    peer.send(bytes, &[]);
    peer.receive().unwrap().bytes
}

#[test] // attack 30
fn what_someone_else_deposited_is_neither_overwritten_nor_deleted_without_replace() {
    let daemon = daemon();
    if !needs_root("a deposit of somebody else") {
        return;
    }
    let mut owner = HelperProcess::user(OWNER).connect(&daemon);
    let mut stranger = HelperProcess::user(STRANGER).connect(&daemon);
    owner.add((1, 0), "the owner's").done();
    assert_eq!(stranger.get((1, 0)).payload(), b"the owner's");
    assert_eq!(stranger.add((1, 0), "the stranger's").errno(), libc::EACCES);
    assert_eq!(stranger.del((1, 0)).errno(), libc::EACCES);
    assert_eq!(owner.get((1, 0)).payload(), b"the owner's");
    stranger.add((1, 1), "the stranger's").done();
    assert_eq!(owner.add((1, 1), "the owner's").errno(), libc::EACCES);
    stranger.add((1, 1), "the stranger's, again").done();
    stranger.del((1, 1)).done();
    owner.add((1, 1), "the owner's").done();
}

#[test] // attack 30, after the worker was replaced
fn whose_deposit_it_is_outlives_the_worker() {
    let daemon = daemon();
    if !needs_root("a deposit of somebody else") {
        return;
    }
    HelperProcess::user(OWNER).connect(&daemon).add((1, 0), "the owner's").done();
    daemon.kill_worker();
    let mut stranger = HelperProcess::user(STRANGER).connect(&daemon);
    assert_eq!(stranger.add((1, 0), "the stranger's").errno(), libc::EACCES);
    assert_eq!(stranger.del((1, 0)).errno(), libc::EACCES);
    HelperProcess::user(OWNER).connect(&daemon).del((1, 0)).done();
}

#[test] // attack 30, with the right
fn whoever_may_replace_overwrites_and_deletes_what_others_deposited() {
    let daemon = daemon();
    if !needs_root("a deposit of somebody else") {
        return;
    }
    let mut owner = HelperProcess::user(OWNER).connect(&daemon);
    let mut superintendent = HelperProcess::user(64104).connect(&daemon);
    owner.add((1, 0), "the owner's").done();
    superintendent.add((1, 0), "replaced").done();
    assert_eq!(owner.get((1, 0)).payload(), b"replaced");
    assert_eq!(owner.del((1, 0)).errno(), libc::EACCES, "it is the superintendent's now");
    superintendent.del((1, 0)).done();
    owner.add((1, 0), "the owner's").done();
    superintendent.del((1, 0)).done();
}

#[test] // attack 30, the policy's own slots
fn a_resources_slot_is_neither_overwritten_nor_deleted_by_anyone() {
    let daemon = daemon();
    let mut owner =
        if is_root() { HelperProcess::user(OWNER).connect(&daemon) } else { daemon.connect() };
    assert_eq!(owner.add((1, 500), "mine").errno(), libc::EACCES);
    assert_eq!(owner.del((1, 500)).errno(), libc::EACCES);
    assert_eq!(fixtures::content(owner.get((1, 500)).descriptor()), "content");
}

#[test] // attack 31
fn no_name_or_text_of_a_peer_can_forge_a_line_of_the_log() {
    let id = "x 2026-01-01T00:00:00Z info granted \\\"uid=0\\\" \\u2028 \u{202e}";
    let policy = fixtures::OPEN.replace("all to everyone", id);
    for format in ["text", "json"] {
        let daemon = Daemon::with_policy(&policy).log_format(format).start();
        let own = daemon.directory().join("uid=0\nverdict=granted\u{1b}[2J");
        let mut peer = HelperProcess::same().try_connect(daemon.socket(), Some(&own)).unwrap();
        let before = daemon.log().text().lines().count();
        peer.add((1, 0), "payload\nforged line\n\u{1b}[2J").done();
        peer.get((1, 0)).payload();
        peer.get((9, 9));
        let text = daemon.log().text();
        let lines: Vec<&str> = text.split('\n').skip(before).collect();
        assert_eq!(lines.len(), 4, "three records and the end of the last: {lines:?}");
        assert!(!text.contains(|c: char| c != '\n' && c.is_control()), "{format}: {text:?}");
        assert!(!text.contains("forged line"), "{format}: {text:?}");
        assert!(!lines.iter().any(|line| line.starts_with("2026-01-01")), "{format}: {lines:?}");
    }
}

#[test] // attack 31, the administrator's own names
fn a_rule_whose_id_would_break_a_line_is_not_loaded() {
    for id in ["x\\ny", "x\\ry", "x\\u001b[2J", "x\\u0085y", "x\\u007fy"] {
        let policy = fixtures::OPEN.replace("all to everyone", id);
        let (status, said) = Daemon::with_policy(&policy).fail();
        assert_eq!(status, 78, "{id}: {said}");
    }
}
