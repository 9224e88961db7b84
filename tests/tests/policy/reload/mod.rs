//! A policy that changes while the broker runs: what takes over, what stays, and who is told.

mod notices;
mod reach;
mod signal;
mod storm;

use std::fs;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixDatagram;
use std::time::Duration;

use fdbroker_tests::{
    Answer, Builder, Daemon, Directory, HelperProcess, Ids, Line, PATIENCE, Peer, fixtures,
    needs_root, process, request, wait_for, wait_until,
};
use rustix::fs::{SeekFrom, seek};

/// Long enough to see that no answer comes; whatever comes later makes the test fail as well.
const MEANWHILE: Duration = Duration::from_millis(300);
/// Somebody with no right at all.
const STRANGER: u32 = 64020;

/// Tag 1 where everybody may do these rights to these slots, and we operate the broker.
fn allowing(rights: &str, slots: &str) -> String {
    format!(
        r#"
[tags.store]
id = 1

[[rules]]
id = "some"
allow = [{rights}]
slots = ["{slots}"]
anyone = true

{}"#,
        operators()
    )
}

fn operators() -> String {
    format!("[[rules]]\nid = \"operators\"\nallow = [\"operate\"]\nuser = {}\n", Ids::own().uid)
}

fn everything() -> String {
    allowing("\"*\"", "store/*")
}

fn reloads(daemon: &Daemon) -> Vec<Line> {
    daemon.log().audit().into_iter().filter(|line| line.kind == "reload").collect()
}

#[test]
fn a_hangup_takes_the_new_policy_and_its_drop_ins_over_and_open_sessions_go_on_under_it() {
    let daemon = Daemon::with_policy(&allowing("\"get\"", "store/0")).start();
    let mut peer = daemon.connect();
    assert_eq!(peer.add((1, 0), "x").errno(), libc::EACCES);
    daemon.reload(&allowing("\"get\", \"add\"", "store/0"));
    peer.add((1, 0), "x").done();
    assert_eq!(peer.add((1, 5), "x").errno(), libc::EACCES);

    let drop_ins = daemon.directory().join("policy.d");
    fs::create_dir(&drop_ins).unwrap();
    let more = "version = 1\n[[rules]]\nid = \"dropped in\"\nallow = [\"add\"]\nslots = [\"store/5\"]\nanyone = true\n";
    daemon.directory().file("policy.d/50-more.toml", more, 0o644);
    daemon.reload_files();
    peer.add((1, 5), "x").done();
    let records = daemon.log().decisions();
    assert_eq!(records.last().unwrap().rule.as_deref(), Some("dropped in"));
    fs::remove_file(drop_ins.join("50-more.toml")).unwrap();
    daemon.reload_files();
    assert_eq!(peer.add((1, 5), "x").errno(), libc::EACCES);

    let records = reloads(&daemon);
    assert_eq!(records.len(), 3, "{records:#?}");
    for record in records {
        assert_eq!((record.verdict.as_str(), record.right.as_str()), ("granted", "reload"));
        assert!(record.reason.contains("tags: 1"), "{record:?}");
        assert_eq!(record.pid.unsigned_abs(), daemon.supervisor_pid());
    }
}

#[test] // attack 28
fn what_cannot_be_taken_over_leaves_the_old_policy_in_force_and_the_log_says_why() {
    let policy = everything();
    let daemon = Daemon::with_policy(&policy).start();
    let mut peer = daemon.connect();
    peer.add((1, 0), "kept").done();
    let path = daemon.policy_path();
    let good = fs::read_to_string(&path).unwrap();
    let mut stays = |what: &str, expected: &[&str]| {
        let said = daemon.reload_in_vain();
        for text in expected {
            assert!(said.contains(text), "{what}: no {text:?} in: {said}");
        }
        assert_eq!(peer.get((1, 0)).payload(), b"kept", "{what}");
    };

    daemon.write_policy(&policy.replace("anyone", "anybody"));
    stays("an unknown key", &["policy.toml:9:", "policy.toml:13:", "anybody", "anyone"]);
    daemon.write_policy_text(&good[..good.len() / 2]);
    stays("a truncated one", &["policy.toml:"]);
    daemon.write_policy_text("");
    stays("an empty one", &["policy.toml", "version"]);
    daemon.write_policy(&format!(
        "{policy}\n[[tests]]\nuser = 1\nright = \"get\"\nslot = \"store/0\"\nexpect = \"refused\"\n"
    ));
    stays("one whose own tests fail", &["policy.toml:"]);
    daemon.write_policy(&allowing("\"get\"", "store/7"));
    fs::set_permissions(&path, fs::Permissions::from_mode(0o666)).unwrap();
    stays("one that everybody can write", &[path.to_str().unwrap()]);
    fs::remove_file(&path).unwrap();
    stays("one that has gone", &[path.to_str().unwrap()]);
    std::os::unix::fs::symlink("/nonexistent/policy", &path).unwrap();
    stays("a link that leads nowhere", &["/nonexistent"]);
    fs::remove_file(&path).unwrap();
    fs::create_dir(&path).unwrap();
    stays("a directory", &["policy.toml"]);
    fs::remove_dir(&path).unwrap();
    daemon.write_policy_text(&good);
    fs::create_dir(daemon.directory().join("policy.d")).unwrap();
    let drop_in =
        daemon.directory().file("policy.d/10-bad.toml", "version = 1\n[[rules]]\nid = 7\n", 0o644);
    stays("a bad drop-in", &[drop_in.to_str().unwrap()]);
    fs::remove_file(&drop_in).unwrap();

    assert!(reloads(&daemon).iter().all(|line| line.verdict == "failed"));
    daemon.reload(&allowing("\"get\"", "store/7"));
    assert_eq!(peer.get((1, 0)).errno(), libc::EACCES);
}

#[test]
fn operators_reload_and_see_what_changed_or_what_is_wrong_and_nobody_else_can() {
    let daemon = Daemon::with_policy(&everything()).start();
    daemon.write_policy(&allowing("\"get\"", "store/7"));
    let said = daemon.says(&["reload"]);
    assert!(said.contains("rules: 2, tags: 1"), "{said}");
    // It is in force once the command has ended.
    assert_eq!(daemon.connect().add((1, 0), "x").errno(), libc::EACCES);

    daemon.write_policy(&everything().replace("anyone", "anybody"));
    let said = daemon.complains(1, &["reload"]);
    assert!(said.contains("policy.toml:13:") && said.contains('^'), "{said}");
    assert!(said.contains("the old policy stays in force"), "{said}");
    assert_eq!(daemon.connect().add((1, 0), "x").errno(), libc::EACCES);
    assert_eq!(reloads(&daemon).last().unwrap().verdict, "failed");

    daemon.write_policy(&everything());
    if needs_root("a reload by somebody without the right") {
        let count = reloads(&daemon).len();
        let said = daemon.run_as(STRANGER, &["reload"]);
        assert_eq!(said.status, 3, "{said:?}");
        assert_eq!(reloads(&daemon).len(), count, "{said:?}");
        assert_eq!(daemon.connect().add((1, 0), "x").errno(), libc::EACCES);
        let record = daemon.log().decisions().into_iter().find(|line| line.uid == STRANGER);
        let record = record.expect("the refusal is recorded");
        assert_eq!((&*record.verdict, &*record.right), ("refused", "operate"));
    }
    // An operator who takes the right away from himself is still told that it was done.
    daemon.write_policy(&everything().replace(&operators(), ""));
    daemon.says(&["reload"]);
    daemon.complains(3, &["reload"]);
}

#[test]
fn so_many_findings_that_they_fit_in_no_message_are_told_as_far_as_they_do() {
    let daemon = Daemon::with_policy(&everything()).start();
    let mut peer = daemon.connect();
    let bad: String = (0..3000).map(|number| format!("[tags.no-{number}]\nidd = 1\n")).collect();
    daemon.write_policy(&bad);
    let said = daemon.complains(1, &["reload"]);
    assert!(said.len() > 10_000 && said.contains("no-7"), "{} bytes", said.len());
    peer.is_served((1, 0));
}

#[test]
fn what_takes_a_restart_is_refused_with_its_sentence() {
    let daemon = Daemon::with_policy(&everything()).start();
    let refused = |policy: &str, sentence: &str| {
        daemon.write_policy_text(policy);
        let said = daemon.complains(1, &["reload"]);
        assert!(said.contains(sentence), "{said}");
        daemon.connect().is_served((1, 0));
    };
    let text = |settings: &str, body: &str| format!("version = 1\n[broker]\n{settings}\n{body}");
    let same = format!("user = {}", fdbroker_tests::WORKER);
    let required = text(&format!("{same}\naudit = \"required\""), &everything());
    refused(&required, "start the broker with --audit-file PATH");
    if needs_root("another user, and a capability that was given up") {
        let other = text("user = 64099", &everything());
        refused(&other, "names another `user` in [broker] than the worker runs as; restart");
        let capable = everything()
            + "[resources.null]\nslot = \"store/3\"\ndevice = \"/dev/null\"\ncapabilities = [\"net_admin\"]\n";
        refused(&text(&same, &capable), "CAP_NET_ADMIN, which the broker gave up when it started");
    }
    daemon.reload(&everything());
}

#[test]
fn who_waits_for_a_turn_and_loses_the_right_is_refused_and_the_next_one_has_the_tag() {
    let serial =
        |slots: &str| allowing("\"*\"", slots).replace("id = 1\n", "id = 1\nserial = true\n");
    let daemon = Daemon::with_policy(&serial("store/*")).start();
    let (owner, loser, winner) =
        (HelperProcess::same(), HelperProcess::same(), HelperProcess::same());
    let mut owns = owner.connect(&daemon);
    owns.add((1, 0), "zero").done();
    owns.add((1, 1), "one").done();
    let mut loses = loser.connect(&daemon);
    loses.send(&request::get((1, 1)), &[]);
    assert!(!loses.is_answered(MEANWHILE));
    let mut wins = winner.connect(&daemon);
    wins.send(&request::get((1, 0)), &[]);
    assert!(!wins.is_answered(MEANWHILE));

    daemon.reload(&serial("store/0"));
    assert!(!loses.is_answered(MEANWHILE), "nobody's turn has come");
    drop(owns);
    owner.kill();
    assert_eq!(loses.answer().errno(), libc::EACCES);
    // A user who may do nothing keeps nobody waiting.
    assert_eq!(wins.answer().payload(), b"zero");
}

#[test]
fn who_owns_a_turn_keeps_it_through_a_reload_also_when_one_of_its_requests_is_refused() {
    let serial =
        |slots: &str| allowing("\"*\"", slots).replace("id = 1\n", "id = 1\nserial = true\n");
    let daemon = Daemon::with_policy(&serial("store/*")).start();
    let mut owns = daemon.connect();
    owns.add((1, 0), "zero").done();
    daemon.reload(&serial("store/0"));
    assert_eq!(owns.get((1, 1)).errno(), libc::EACCES);
    let other = HelperProcess::same();
    let mut waits = other.connect(&daemon);
    waits.send(&request::get((1, 0)), &[]);
    assert!(!waits.is_answered(MEANWHILE));
    assert_eq!(owns.get((1, 0)).payload(), b"zero");
    drop(owns);
    assert_eq!(waits.answer().payload(), b"zero");
}
