//! The new broker does not come up: the old one goes on, with everything.

use std::fs;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use fdbroker_tests::newcomer::{Newcomer, door_of, locked_by};
use fdbroker_tests::{Daemon, fixtures, process, wait_until};
use fdbroker_wire::Handover;
use rustix::process::Signal;

use super::{GOES_ON, Site};

/// A broker with a deposit.
fn with_deposit(site: &Site) -> Daemon {
    let daemon = site.broker().start();
    let file = fixtures::file_saying("kept");
    daemon.connect().add_descriptor((1, 0), file.as_fd(), b"").done();
    daemon
}

/// Looks that nothing has changed.
#[track_caller]
fn goes_on(site: &Site, daemon: &Daemon) {
    let mut peer = daemon.connect();
    let content = fixtures::content(peer.get((1, 0)).descriptor());
    assert!(content == "kept" || content.is_empty(), "{content}");
    peer.is_served((1, 9));
    assert_eq!(locked_by(&site.socket()), daemon.supervisor_pid());
}

/// How often the broker has gone on after its worker had been ended.
fn times(daemon: &Daemon) -> usize {
    daemon.log().text().matches(GOES_ON).count()
}

#[test]
fn a_policy_that_does_not_load_disturbs_nobody() {
    let site = Site::new();
    let daemon = with_deposit(&site);
    let worker = daemon.worker_pid();
    let broken = site.newer().policy("nonsense = 1\n");
    let (status, said) = broken.fail();
    assert_eq!(status, 78, "{said}");
    assert_eq!(daemon.worker_pid(), worker);
    goes_on(&site, &daemon);
}

#[test]
fn the_last_good_policy_is_no_reason_to_take_over() {
    let site = Site::new();
    let state = site.directory.join("state");
    std::fs::create_dir(&state).unwrap();
    let with =
        |builder: fdbroker_tests::Builder| builder.argument("--state-directory").argument(&state);
    let daemon = with(site.broker()).start();
    wait_until("the policy is kept", || fs::read_dir(&state).unwrap().count() > 0);
    let worker = daemon.worker_pid();
    daemon.write_policy_text("nonsense = 1\n");
    let newer = Daemon::with_policy_file(&daemon.policy_path()).socket(site.socket());
    let (status, said) = with(newer).argument("--replace").fail();
    assert_eq!(status, 78, "{said}");
    assert_eq!(daemon.worker_pid(), worker);
    daemon.connect().is_served((1, 9));
}

#[test]
fn too_few_descriptors_are_told_before_anything_stops() {
    const DEPOSITS: i32 = 300;
    let site = Site::new();
    let daemon = with_deposit(&site);
    let mut peer = daemon.connect();
    for index in 1..DEPOSITS {
        let file = fixtures::file_saying("kept");
        peer.add_descriptor((1, index), file.as_fd(), b"").done();
    }
    let worker = daemon.worker_pid();
    let (status, said) = site.newer().descriptor_limit(400).fail();
    assert_eq!(status, 1, "{said}");
    assert!(said.contains("it needs 428; raise its `ulimit -Hn`"), "{said}");
    assert_eq!(daemon.worker_pid(), worker);
    // The same, of one that asked while there was less.
    let mut newcomer = Newcomer::at(&site.socket());
    newcomer.is_let_in();
    assert!(newcomer.is_ready_with(400));
    let answer = newcomer.hears();
    assert!(matches!(&answer, Some(Handover::Refused(why)) if why.contains("428")), "{answer:?}");
    assert_eq!(daemon.worker_pid(), worker);
    assert!(peer.del((1, 1)).errno() == 0, "its connection was cut");
}

#[test]
fn an_audit_file_that_cannot_be_opened_disturbs_nobody() {
    let site = Site::new();
    let daemon = with_deposit(&site);
    let worker = daemon.worker_pid();
    let (status, said) = site.newer().argument("--audit-file").argument("/dev/null").fail();
    assert!(status == 1 && said.contains("--audit-file /dev/null"), "{said}");
    assert_eq!(daemon.worker_pid(), worker);
    goes_on(&site, &daemon);
}

#[test]
fn one_that_leaves_before_it_is_ready_disturbs_nobody() {
    let site = Site::new();
    let daemon = with_deposit(&site);
    let worker = daemon.worker_pid();
    for _ in 0..3 {
        drop(Newcomer::at(&site.socket()));
        Newcomer::at(&site.socket()).is_let_in();
    }
    goes_on(&site, &daemon);
    assert_eq!(daemon.worker_pid(), worker);
    assert_eq!(times(&daemon), 0);
    drop(site.replace(daemon));
}

#[test]
fn one_that_leaves_after_it_asked_for_everything_has_taken_nothing() {
    let site = Site::new();
    let daemon = with_deposit(&site);
    let mut newcomer = Newcomer::at(&site.socket());
    newcomer.is_let_in();
    assert!(newcomer.is_ready());
    drop(newcomer);
    wait_until("it goes on", || times(&daemon) == 1);
    goes_on(&site, &daemon);
    let mut newcomer = Newcomer::at(&site.socket());
    newcomer.is_let_in();
    assert!(newcomer.is_ready());
    newcomer.hears_everything();
    drop(newcomer);
    wait_until("it goes on", || times(&daemon) == 2);
    goes_on(&site, &daemon);
    assert!(daemon.log().text().contains("its own log says why; it has ended; this broker"));
    drop(site.replace(daemon));
}

#[test]
fn one_that_talks_nonsense_has_taken_nothing() {
    let site = Site::new();
    let daemon = with_deposit(&site);
    let mut newcomer = Newcomer::at(&site.socket());
    newcomer.is_let_in();
    assert!(newcomer.is_ready());
    newcomer.hears_everything();
    newcomer.says(Handover::Aside { is_readmitted: true });
    wait_until("it goes on", || times(&daemon) == 1);
    // So that it does not go on in the place of a broker that dies later.
    let last = newcomer.hears();
    assert!(matches!(&last, Some(Handover::Refused(why)) if why.contains("something else")));
    assert!(!newcomer.says(Handover::Commit), "its commit was taken");
    goes_on(&site, &daemon);
}

#[test]
fn one_that_hangs_is_given_up_after_10_s_and_cannot_commit_any_more() {
    let site = Site::new();
    let daemon = with_deposit(&site);
    let began = Instant::now();
    let mut newcomer = Newcomer::at(&site.socket());
    newcomer.is_let_in();
    assert!(newcomer.is_ready());
    newcomer.hears_everything();
    // A client that asks now waits in the queue.
    let mut peer = daemon.connect();
    assert_eq!(fixtures::content(peer.get((1, 0)).descriptor()), "kept");
    let waited = began.elapsed();
    assert!((Duration::from_secs(9)..Duration::from_secs(15)).contains(&waited), "{waited:?}");
    assert!(!newcomer.says(Handover::Commit), "its commit was taken");
    // It has duplicates of all deposits.
    assert!(process::has_ended(newcomer.pid()), "it still has everything");
    assert!(daemon.log().text().contains("it did not serve within 10 s; it hung, and was killed"));
    goes_on(&site, &daemon);
}

#[test]
fn a_broker_that_is_told_to_stop_in_between_stops() {
    let site = Site::new();
    let mut daemon = with_deposit(&site);
    let mut newcomer = Newcomer::at(&site.socket());
    newcomer.is_let_in();
    assert!(newcomer.is_ready());
    newcomer.hears_everything();
    assert_eq!(daemon.end(Signal::TERM).code(), Some(0));
    assert!(!newcomer.says(Handover::Commit), "its commit was taken");
    assert!(!site.socket().exists());
    assert_eq!(fs::read_dir(site.directory.path()).unwrap().count(), 0);
}

#[test]
fn that_the_old_broker_goes_on_is_not_said_of_a_dead_one() {
    let site = Site::new();
    let mut daemon = with_deposit(&site);
    process::signal(daemon.supervisor_pid(), Signal::STOP);
    let newer = site.newer().begin();
    let door = door_of(&site.socket());
    let sockets = || {
        let all = fs::read_to_string("/proc/net/unix").unwrap();
        all.lines().filter(|line| line.ends_with(door.to_str().unwrap())).count()
    };
    wait_until("it asks", || sockets() == 2);
    daemon.kill();
    let (status, said) = newer.fails();
    assert_eq!(status, 1, "{said}");
    assert!(said.contains("has ended in the meantime") && !said.contains("goes on"), "{said}");
}

#[test]
fn a_commit_is_the_end_of_the_old_broker() {
    let site = Site::new();
    let mut daemon = with_deposit(&site);
    let mut newcomer = Newcomer::at(&site.socket());
    newcomer.is_let_in();
    assert!(newcomer.is_ready());
    newcomer.hears_everything();
    assert!(newcomer.says(Handover::Commit));
    daemon.is_replaced();
    assert!(site.socket().exists(), "the file is not its own any more");
}
