//! `fdbroker reload --signal`, as the unit has it: it needs no rule, and waits for the outcome.

use std::process::{Command, Stdio};

use fdbroker_tests::Daemon;

use super::{allowing, everything, operators};

/// Rules that let nobody operate the broker.
fn without_operators(policy: &str) -> String {
    policy.replace(&operators(), "")
}

fn signal(daemon: &Daemon) -> [String; 3] {
    ["reload".to_owned(), "--signal".to_owned(), daemon.supervisor_pid().to_string()]
}

fn succeeds(daemon: &Daemon) -> String {
    daemon.says(&signal(daemon).each_ref().map(String::as_str))
}

#[track_caller]
fn fails(daemon: &Daemon) -> String {
    let said = daemon.complains(1, &signal(daemon).each_ref().map(String::as_str));
    assert!(said.contains("the old policy stays in force"), "{said}");
    said
}

#[test]
fn a_reload_by_signal_needs_no_rule_and_is_in_force_when_it_returns() {
    let daemon = Daemon::with_policy(&without_operators(&everything())).start();
    daemon.connect().add((1, 0), "x").done();
    daemon.complains(3, &["reload"]);
    for (slots, errno) in [("store/7", libc::EACCES), ("store/*", libc::ENOENT)] {
        daemon.write_policy(&without_operators(&allowing("\"get\"", slots)));
        let said = succeeds(&daemon);
        assert!(said.contains("rules: 1, tags: 1"), "{said}");
        assert_eq!(daemon.connect().get((1, 5)).errno(), errno, "{slots}");
    }
}

#[test]
fn a_reload_by_signal_fails_if_the_policy_does_not_load_or_its_resource_does_not_open() {
    let policy = without_operators(&everything());
    let daemon = Daemon::with_policy(&policy).start();
    daemon.write_policy(&policy.replace("anyone", "anybody"));
    let said = fails(&daemon);
    assert!(said.contains("policy.toml:") && said.contains("anybody"), "{said}");
    let file = daemon.directory().join("later");
    let resource = format!(
        "[resources.thing]\nslot = \"store/9\"\nopen = \"startup\"\nfile = {file:?}\naccess = \"read\"\n"
    );
    daemon.write_policy(&format!("{policy}{resource}"));
    let said = fails(&daemon);
    assert!(said.contains("resource \"thing\": ") && said.contains("No such file"), "{said}");
    daemon.connect().is_served((1, 0));
    daemon.directory().private_file("later", "here now");
    succeeds(&daemon);
    daemon.connect().get((1, 9)).descriptor();
}

#[test]
fn many_who_reload_at_once_by_signal_all_have_an_outcome() {
    let daemon = Daemon::with_policy(&everything()).start();
    let arguments = signal(&daemon);
    let arguments = arguments.each_ref().map(String::as_str);
    let start = || daemon.command(&arguments).stdout(Stdio::null()).spawn().unwrap();
    let all: Vec<_> = (0..20).map(|_| start()).collect();
    for mut one in all {
        assert!(one.wait().unwrap().success());
    }
}

#[test]
fn a_broker_that_does_not_say_what_became_of_it_is_no_success() {
    let daemon = Daemon::with_policy(&everything()).start();
    succeeds(&daemon);
    daemon.stop_supervisor();
    let pid = daemon.supervisor_pid().to_string();
    let said = daemon.complains(7, &["--timeout", "300ms", "reload", "--signal", &pid]);
    assert!(said.contains("has not said in 0.3 s what became of it"), "{said}");
    daemon.go_on();
    succeeds(&daemon);
}

#[test]
fn a_process_that_is_no_broker_gets_no_signal() {
    let daemon = Daemon::with_policy(&everything()).start();
    // It ends with its standard input, and would end by SIGHUP.
    let mut stranger = Command::new("cat").stdin(Stdio::piped()).spawn().unwrap();
    let said = daemon.complains(8, &["reload", "--signal", &stranger.id().to_string()]);
    assert!(said.contains("is \"cat\", and no broker: it got no signal"), "{said}");
    assert!(stranger.wait().unwrap().success(), "it was not killed");
    // Greater than every process id.
    let said = daemon.complains(8, &["reload", "--signal", &i32::MAX.to_string()]);
    assert!(said.contains("cannot send SIGHUP to 2147483647"), "{said}");
}
