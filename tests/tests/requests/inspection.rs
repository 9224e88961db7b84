//! What one sees who may inspect the broker: all deposits, connections and users.

use std::net::TcpListener;
use std::os::fd::OwnedFd;

use fdbroker_tests::{Daemon, HelperProcess, Ids, fixtures, needs_root, request, wait_until};
use serde_json::Value;

/// Somebody who may see everything and change nothing, and somebody who keeps something.
const INSPECTOR: u32 = 64020;
const KEEPER: u32 = 64021;

/// Everybody keeps in tag 1 and in the serial tag 2; nobody may list.
fn policy(inspector: u32) -> String {
    format!(
        r#"
[tags.store]
id = 1

[tags.line]
id = 2
serial = true

[resources.zero]
slot = "store/99"
device = "/dev/zero"

[[rules]]
id = "everybody keeps"
allow = ["add", "get", "tag"]
slots = ["store/*", "line/*"]
anyone = true

[[rules]]
id = "one sees everything"
allow = ["inspect"]
user = {inspector}
"#
    )
}

fn array(said: &str) -> Vec<Value> {
    serde_json::from_str::<Vec<Value>>(said).unwrap()
}

/// The one with this slot.
#[track_caller]
fn of_slot<'a>(listed: &'a [Value], slot: &str) -> &'a Value {
    listed.iter().find(|entry| entry["slot"] == slot).unwrap_or_else(|| panic!("{listed:?}"))
}

#[test]
fn every_deposit_is_listed_with_its_owner_address_and_age_also_after_the_death_of_a_worker() {
    let own = Ids::own().uid;
    let daemon = Daemon::with_policy(&policy(own)).start();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let mut peer = daemon.connect();
    peer.add_descriptor((1, 3), OwnedFd::from(listener), "four").done();
    peer.add_descriptor((1, 4), fixtures::file_saying("held"), "").done();
    let seen = |daemon: &Daemon| {
        let listed = array(&daemon.says(&["list", "--json"]));
        assert_eq!(listed.len(), 3, "{listed:?}");
        let socket = of_slot(&listed, "1/3");
        assert_eq!(
            (&socket["kind"], &socket["address"]),
            (&"tcp-listener".into(), &(*address).into())
        );
        assert_eq!((&socket["owner"], &socket["payload_bytes"]), (&own.into(), &4.into()));
        assert_eq!(socket["pid"], std::process::id());
        assert!(socket["age"].as_u64().is_some_and(|age| age < 3600), "{socket}");
        assert_eq!(of_slot(&listed, "1/4")["kind"], "file");
        assert_eq!(of_slot(&listed, "1/99")["resource"], true);
        socket["since"].clone()
    };
    let since = seen(&daemon);
    daemon.kill_worker();
    assert_eq!(seen(&daemon), since);
    let table = daemon.says(&["list", "store"]);
    assert!(table.lines().all(|line| line.chars().count() <= 80), "{table}");
    let found = table.lines().find(|line| line.contains("store/3")).unwrap();
    assert!(found.contains("tcp-listener") && found.contains(&address), "{table}");
}

#[test]
fn who_owns_a_serial_tag_and_who_waits_for_it_is_seen() {
    let daemon = Daemon::with_policy(&policy(Ids::own().uid)).start();
    let (mut owner, mut waits) = (daemon.connect(), daemon.connect());
    owner.add((2, 0), "mine").done();
    waits.send_and_be_read(&request::get((2, 0)));
    let sessions = || array(&daemon.says(&["sessions", "--json"]));
    let of = |key: &'static str| {
        sessions().into_iter().filter(move |it| it[key] == serde_json::json!(["line"]))
    };
    wait_until("the second is seen to wait", || of("waits").count() == 1);
    assert_eq!(of("owns").count(), 1);
    let waiting = of("waits").next().unwrap();
    assert_eq!((&waiting["pid"], &waiting["asks"]), (&std::process::id().into(), &true.into()));
    assert_eq!(waiting["uid"], Ids::own().uid);
    assert!(waiting["program"].is_string() && waiting["since"].is_string(), "{waiting}");
    drop(owner);
    waits.answer();
    wait_until("it owns the tag", || of("owns").count() == 1 && of("waits").count() == 0);
    let table = daemon.says(&["sessions"]);
    assert!(table.starts_with("PID") && table.contains("line"), "{table}");
}

#[test]
fn how_much_each_user_has_of_what_it_may_have_is_seen() {
    let own = Ids::own().uid;
    let daemon = Daemon::with_policy(&policy(own)).setting("max_slots_per_uid = 7").start();
    let mut peer = daemon.connect();
    for index in 0..3 {
        peer.add((1, index), "four").done();
    }
    let users = array(&daemon.says(&["quota", &own.to_string(), "--json"]));
    let [user] = &users[..] else { panic!("{users:?}") };
    assert_eq!((&user["deposits"], &user["max_deposits"]), (&3.into(), &7.into()));
    assert_eq!((&user["bytes"], &user["uid"]), (&12.into(), &own.into()));
    assert!(user["connections"].as_u64() >= Some(2), "{user}");
    let table = daemon.says(&["quota"]);
    assert!(table.contains(" 3/7 "), "{table}");
    assert_eq!(daemon.says(&["quota", "64099"]).lines().count(), 1, "it has nothing");
}

#[test]
fn to_inspect_is_to_see_and_not_to_operate_and_nobody_else_sees_it() {
    if !needs_root("a user who may inspect, and others") {
        return;
    }
    let daemon = Daemon::with_policy(&policy(INSPECTOR)).start();
    let keeper = HelperProcess::user(KEEPER);
    keeper.connect(&daemon).add((1, 3), "kept").done();
    let listed = array(&daemon.run_as(INSPECTOR, &["list", "--json"]).out);
    assert_eq!(of_slot(&listed, "1/3")["owner"], KEEPER);
    for arguments in [&["sessions"][..], &["quota"], &["status"], &["leases"]] {
        let seen = daemon.run_as(INSPECTOR, arguments);
        assert_eq!(seen.status, 0, "{seen:?}");
        let refused = daemon.run_as(KEEPER, arguments);
        let of_own = arguments == ["leases"];
        assert_eq!(refused.status, if of_own { 0 } else { 3 }, "{refused:?}");
    }
    for arguments in [&["reload"][..], &["purge", "--all"], &["revoke", "1"]] {
        assert_eq!(daemon.run_as(INSPECTOR, arguments).status, 3);
    }
    assert_eq!(daemon.run_as(KEEPER, &["list", "--json"]).out, "[]\n");
    assert_eq!(daemon.run_as(INSPECTOR, &["get", "1/3"]).status, 0, "it may as everybody may");
    let record = daemon
        .log()
        .wait_for("what was refused", |line| line.right == "inspect" && line.verdict == "refused");
    assert_eq!(record.uid, KEEPER);
}

#[test]
fn a_thousand_deposits_are_seen_page_by_page() {
    let daemon = Daemon::with_policy(&policy(Ids::own().uid)).start();
    let mut peer = daemon.connect();
    for index in 100..1100 {
        peer.add((1, index), "x").done();
    }
    let listed = array(&daemon.says(&["list", "--json"]));
    let slots: Vec<_> = listed.iter().map(|entry| entry["slot"].as_str().unwrap()).collect();
    let expected: Vec<_> = (99..1100).map(|index| format!("1/{index}")).collect();
    assert_eq!(slots, expected);
}
