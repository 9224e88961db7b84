//! Two programs that have one tag by mistake: the second takes nothing, and is told whose tag it is.

use fdbroker::upgrader::Builder;
use fdbroker::{Mode, UpgradeError};
use fdbroker_tests::Daemon;
use fdbroker_tests::upgraded_process::UpgradedProcess;
use fdbroker_tests::upgrades::{builder, serving, start};

/// The executable of [`UpgradedProcess`].
const OTHER: &str = "fdbroker-test-upgrader";

#[track_caller]
fn is_refused(builder: Builder) -> String {
    let error = builder.start().unwrap_err();
    assert!(matches!(error, UpgradeError::OtherProgram { .. }), "{error}");
    error.to_string()
}

#[test]
fn a_service_at_the_tag_of_another_takes_nothing_and_is_told_so() {
    let daemon = Daemon::of_upgrades();
    let mut owner = UpgradedProcess::serving(&daemon);
    let address = owner.ask("listen http 127.0.0.1:0");
    // As often as its service manager starts it.
    for _ in 0..3 {
        let told = is_refused(builder(&daemon));
        for part in [OTHER, "\"http\"", "tag 10", "Builder::program", "fdbroker del"] {
            assert!(told.contains(part), "{part}: {told}");
        }
        while owner.ask("next") != "withdrawn" {}
        owner.ask("store what goes-on");
    }
    assert_eq!(owner.ask("stored what"), "goes-on");
    assert_eq!(owner.ask("names"), "http what");
    owner.kill();
    is_refused(builder(&daemon));
    let mut next = UpgradedProcess::started(&daemon, "live");
    assert_eq!(next.ask("listen http 127.0.0.1:0"), address);
}

#[test]
fn a_program_that_was_renamed_says_its_old_name() {
    let daemon = Daemon::of_upgrades();
    let mut owner = UpgradedProcess::serving(&daemon);
    let renamed = builder(&daemon).program(OTHER).start().unwrap();
    assert_eq!(renamed.stored("what").unwrap().unwrap().bytes, b"it-was");
    renamed.ready().unwrap();
    owner.ask("complete");
}

#[test]
fn services_of_one_executable_are_told_apart_by_the_names_that_they_say() {
    let daemon = Daemon::of_upgrades();
    let named = |name: &str| builder(&daemon).program(name);
    // It has said nothing yet.
    drop(serving(&daemon, |first| first.store("a", None, b"1").unwrap()));
    let billing = named("billing").start().unwrap();
    assert!(billing.stored("a").unwrap().is_some());
    billing.store("a", None, b"2").unwrap();
    billing.ready().unwrap();
    let told = is_refused(named("shop"));
    assert!(told.contains("\"billing\"") && told.contains("\"shop\""), "{told}");
    is_refused(builder(&daemon));
    drop(billing);
    is_refused(named("shop"));
    assert_eq!(named("billing").start().unwrap().names(), ["a"]);
}

#[test]
fn a_claim_of_another_program_does_not_end_an_owner_that_has_to_stop_first() {
    let daemon = Daemon::of_upgrades();
    let mut owner = UpgradedProcess::serving(&daemon);
    std::thread::scope(|scope| {
        let other = scope.spawn(|| is_refused(builder(&daemon).mode(Mode::Quiesced)));
        assert_eq!(owner.ask("next"), format!("claimed {}", std::process::id()));
        owner.ask("release");
        other.join().unwrap();
    });
    assert_eq!(owner.ask("next"), "withdrawn");
    assert_eq!(owner.ask("stored what"), "it-was");
}

#[test]
fn what_was_deposited_without_a_name_is_everybodys() {
    let daemon = Daemon::of_upgrades();
    let head = [1_u16, 0, 4, 1].map(u16::to_ne_bytes).concat();
    let payload = [&b"\x7ffdbupg\0"[..], &head, b"a"].concat();
    daemon.connect().add((10, 0), payload).done();
    assert_eq!(start(&daemon).names(), ["a"]);
}
