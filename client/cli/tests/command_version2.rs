//! What the command asks of a broker of version 2: names, listings, and to operate.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "support/run.rs"]
mod run;
#[path = "../../tests/support/mod.rs"]
mod support;

use std::process::{Command, Output};

use fdbroker::{Broker, Found, Kind, Listed, Route};
use fdbroker_wire::version2::{Answer, Listing, Report, Request};
use fdbroker_wire::{Errno, Message, reply};
use run::{at, fdbroker, status};
use support::{Fake, Shelf, slot};

/// An escrow whose tag 10 is called web, and which tells nobody about anything else.
fn with_names() -> Fake {
    let shelf = Shelf::default();
    Fake::greeting(move |peer, message| match message {
        Message::Extended(message) => {
            let Request::Find(name) = Request::from_extended(message).unwrap() else {
                panic!("no FIND")
            };
            match name.as_str() {
                "web" => peer.answer(Answer::Found(Found::Tag(slot("10/0").tag))),
                "web/3" | "listener" => peer.answer(Answer::Found(Found::Slot(slot("10/3")))),
                _ => peer.send(&reply(-Errno::ACCES.get(), "refused"), &[]),
            }
        }
        message => shelf.clone().answer(peer, message),
    })
}

#[test]
fn names_are_asked_of_the_broker() {
    let fake = with_names();
    Broker::connect_to(fake.path()).unwrap().add(slot("10/3"), None, b"hello").unwrap();
    for name in ["web/3", "listener", "10/3"] {
        assert_eq!(status(&at(&fake, &["get", name]), 0).0, "hello");
    }
    assert_eq!(status(&at(&fake, &["tag", "web"]), 0).0, "used 4 total 5\n");
    status(&at(&fake, &["add", "web/3", "--payload", "/dev/null"]), 0);
    status(&at(&fake, &["exec", "web/3", "--", "true"]), 8);
    status(&at(&fake, &["del", "listener"]), 0);
    status(&at(&fake, &["get", "web/3"]), 4);
}

#[test]
fn what_the_command_opens_for_itself_is_not_taken_for_an_inherited_descriptor() {
    let fake = with_names();
    for number in 3..6 {
        let program = env!("CARGO_BIN_EXE_fdbroker");
        let script = format!("exec {program} add web/3 --fd {number} 3<&- 4<&- 5<&-");
        let mut shell = Command::new("sh");
        shell.args(["-c", &script]).env_remove("FDBROKER_POLICY");
        status(&shell.env("FDBROKER_SOCKET", fake.path()).output().unwrap(), 8);
    }
    status(&at(&fake, &["get", "10/3"]), 4);
}

#[test]
fn a_name_that_the_broker_does_not_tell_is_refused() {
    let fake = with_names();
    let (_, err) = status(&at(&fake, &["get", "nothing\x1b[2J"]), 3);
    assert!(err.contains("nothing") && err.contains("check the name"), "{err}");
    assert!(!err.contains('\x1b') && err.lines().count() == 1, "{err:?}");
}

#[test]
fn a_tag_is_no_slot_and_a_slot_is_no_tag() {
    let fake = with_names();
    let (_, err) = status(&at(&fake, &["get", "web"]), 2);
    assert!(err.contains("web/0"), "{err}");
    let (_, err) = status(&at(&fake, &["tag", "listener"]), 2);
    assert!(err.contains("10/3"), "{err}");
    status(&at(&fake, &["get", &"x".repeat(256)]), 2);
    let (_, err) = status(&at(&fake, &["get", "web/99999999999"]), 2);
    assert!(err.contains("from 0 to 2147483647"), "{err}");
}

#[test]
fn a_policy_file_that_is_named_comes_before_the_broker() {
    let fake = with_names();
    let policy = fake.directory().join("policy.toml");
    std::fs::write(&policy, "version = 1\n[tags.web]\nid = 11\n").unwrap();
    Broker::connect_to(fake.path()).unwrap().add(slot("11/3"), None, b"eleven").unwrap();
    let named = ["get", "web/3", "--policy", policy.to_str().unwrap()];
    assert_eq!(status(&at(&fake, &named), 0).0, "eleven");
    let mut command = fdbroker(&["get", "web/3"]);
    command.env("FDBROKER_SOCKET", fake.path()).env("FDBROKER_POLICY", &policy);
    assert_eq!(status(&command.output().unwrap(), 0).0, "eleven");
}

#[test]
fn a_broker_of_version_1_leaves_the_policy_file_and_says_so_of_the_rest() {
    let fake = Fake::honest();
    let output = at(&fake, &["get", "no-machine-declares-this/3"]);
    assert!([Some(2), Some(8)].contains(&output.status.code()), "{output:?}");
    let err = String::from_utf8(output.stderr).unwrap();
    assert!(err.contains("version 1") && err.contains("/etc/fdbroker/policy.toml"), "{err}");
    for arguments in [&["list"][..], &["reload"], &["purge", "--all"], &["status"]] {
        let (_, err) = status(&at(&fake, arguments), 7);
        assert!(err.contains("version 1") && err.lines().count() == 1, "{err}");
    }
}

fn entry(place: &str, name: &str) -> Listed {
    Listed {
        slot: slot(place),
        kind: None,
        resource: false,
        unreachable: false,
        here_only: false,
        route: None,
        owner: None,
        payload: None,
        name: name.to_owned(),
    }
}

/// A user that has no name here.
const NAMELESS: u32 = 4_000_000_033;

fn listing() -> Fake {
    let entries = vec![
        Listed { resource: true, route: Some(Route::Relayed), ..entry("1/0", "latency") },
        Listed {
            kind: Some(Kind::TcpListener),
            owner: Some(NAMELESS),
            payload: Some(120),
            ..entry("10/3", "web/3")
        },
        Listed { unreachable: true, ..entry("10/4", "a \x1b[2J\nb\u{9b}") },
        entry("11/0", ""),
    ];
    Fake::greeting(move |peer, message| {
        let Message::Extended(message) = message else { panic!("no version 2") };
        let tag = match Request::from_extended(message).unwrap() {
            Request::List { tag, after: None } => tag,
            Request::Inspect { .. } => {
                return peer.send(&reply(-Errno::ACCES.get(), "refused"), &[]);
            }
            _ => return peer.answer(Answer::Found(Found::Tag(slot("10/0").tag))),
        };
        let mut page = Listing::new();
        for entry in &entries {
            if tag.is_none_or(|tag| tag == entry.slot.tag) {
                assert!(page.push(entry.clone()));
            }
        }
        peer.answer(Answer::Listing(page));
    })
}

#[test]
fn list_writes_a_table_that_a_terminal_and_a_script_can_read() {
    let fake = listing();
    let (out, err) = status(&at(&fake, &["list"]), 0);
    let rows: Vec<Vec<&str>> = out.lines().map(|line| line.split_whitespace().collect()).collect();
    let expected: &[&[&str]] = &[
        &["SLOT", "NAME", "KIND", "OWNER", "BYTES", "NOTE"],
        &["1/0", "latency", "-", "-", "-", "resource,relayed"],
        &["10/3", "web/3", "tcp-listener", "4000000033", "120", "-"],
        &["10/4", r"a\u{20}\u{1b}[2J\nb\u{9b}", "-", "-", "-", "unreachable"],
        &["11/0", "-", "-", "-", "-", "-"],
    ];
    assert_eq!(rows, expected);
    assert!(err.is_empty(), "{err}");
    assert_eq!(status(&at(&fake, &["list", "web"]), 0).0.lines().count(), 3);
    assert_eq!(status(&at(&fake, &["list", "12"]), 0).0, "");
}

#[test]
fn list_writes_json_in_which_nothing_is_lost_or_obeyed() {
    let fake = listing();
    let (out, _) = status(&at(&fake, &["list", "--json"]), 0);
    assert!(!out.trim_end().contains(char::is_control), "{out:?}");
    let json: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!(
        json[1],
        serde_json::json!({
            "slot": "10/3", "name": "web/3", "kind": "tcp-listener", "resource": false,
            "relay": null, "unreachable": false, "here_only": false, "owner": NAMELESS,
            "user": null, "payload_bytes": 120, "pid": null, "unit": null, "since": null, "age": null,
            "address": null,
        })
    );
    assert_eq!((&json[0]["resource"], &json[0]["relay"]), (&true.into(), &"relayed".into()));
    assert_eq!(json[0]["owner"], serde_json::Value::Null);
    assert_eq!(json[2]["name"], "a \x1b[2J\nb\u{9b}");
    assert_eq!(status(&at(&fake, &["list", "12", "--json"]), 0).0, "[]\n");
}

/// Answers every request with a report.
fn reporting(error: Option<Errno>, text: &'static str) -> Fake {
    Fake::answering(move |_| Answer::Report(Report { error, text: text.to_owned() }))
}

#[test]
fn reports_go_to_standard_output_when_it_was_done() {
    let fake = reporting(None, "all\x1b[2J is\nwell\n");
    for arguments in [&["reload"][..], &["purge", "1/0"], &["purge", "--all"], &["status"]] {
        let (out, err) = status(&at(&fake, arguments), 0);
        assert_eq!(out, "all\\u{1b}[2J is\nwell\n");
        assert!(err.is_empty(), "{err}");
    }
}

#[test]
fn reports_go_to_standard_error_with_a_sentence_when_it_was_not_done() {
    let failing = |errno, arguments: &[&str], expected| -> String {
        let fake = reporting(Some(errno), "policy.toml:1:2: \x1b[2Jwrong\ncorrect it");
        let output: Output = at(&fake, arguments);
        let (out, err) = status(&output, expected);
        assert!(out.is_empty(), "{out}");
        assert!(!err.contains('\x1b'), "{err:?}");
        err
    };
    let err = failing(Errno::INVAL, &["reload"], 1);
    let lines: Vec<_> = err.lines().collect();
    assert_eq!(lines.len(), 3, "{err}");
    assert_eq!(lines[1], "correct it");
    assert_eq!(
        lines[2],
        "fdbroker: reload: the policy was not loaded; correct what is reported above and reload again"
    );
    let err = failing(Errno::AGAIN, &["reload"], 1);
    assert!(err.contains("failed (EAGAIN), as reported above"), "{err}");
    failing(Errno::NOENT, &["purge", "1/0"], 4);
    failing(Errno::IO, &["purge", "--all"], 7);
    failing(Errno::IO, &["status"], 7);
}

#[test]
fn operating_without_the_right_is_refused() {
    let fake = Fake::greeting(|peer, _| peer.send(&reply(-Errno::ACCES.get(), "refused"), &[]));
    for arguments in [&["reload"][..], &["purge", "--all"], &["purge", "1/0"], &["status"]] {
        let (_, err) = status(&at(&fake, arguments), 3);
        let right = if arguments == ["status"] { "the right `inspect`, or" } else { "the right" };
        assert!(err.contains(&format!("{right} `operate`")), "{err}");
    }
}
