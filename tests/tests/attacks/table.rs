//! The broker's own descriptor table runs full while descriptors arrive.

use std::os::fd::AsFd;

use std::time::Duration;

use fdbroker_tests::hostile::Attack;
use fdbroker_tests::{Daemon, HelperProcess, Ids, fixtures, needs_root, process, request};

const SLOT: (i16, i32) = (1, 5);
const NO_HANG: Duration = Duration::from_secs(60);

#[test] // attack 10
fn with_one_free_entry_four_descriptors_are_refused_with_emfile_and_none_stays() {
    refused_while_full(1, 4);
}

#[test] // attack 10, with no entry at all
fn with_no_free_entry_a_descriptor_is_refused_with_emfile() {
    refused_while_full(0, 1);
}

#[test] // attack 10, many times
fn a_full_table_can_be_hit_a_hundred_times_and_serves_again() {
    let daemon = Daemon::open().start();
    let mut peer = daemon.connect();
    let before = daemon.descriptors_with(&mut peer);
    peer.is_served(SLOT);
    // Or else an entry becomes free that was not to be.
    daemon.wait_until_settled(before);
    let limit = Limit::of_worker(&daemon, 0);
    let file = fixtures::file_saying("too much");
    for _ in 0..100 {
        assert_eq!(peer.add_descriptor(SLOT, &file, "").errno(), libc::EMFILE);
    }
    limit.lift();
    peer.is_served(SLOT);
    daemon.wait_for_descriptors(before);
}

#[test] // attack 52
fn connections_that_are_left_at_once_never_fill_the_table() {
    if !needs_root("users that attack") {
        return;
    }
    let daemon = Daemon::open().descriptor_limit(512).start();
    daemon.pin(0);
    let mut peer = daemon.connect();
    let attack = |uid| {
        HelperProcess::user(uid)
            .attack(daemon.socket(), Attack::ConnectAndClose, 1, NO_HANG)
            .unwrap()
    };
    let attackers = [64211, 64212, 64213, 64214].map(attack);
    let file = fixtures::file_saying("honest");
    for number in 0..1000 {
        if number % 100 == 0 {
            closing_comes_last(&daemon);
        }
        peer.add_descriptor(SLOT, &file, "").done();
    }
    for attack in attackers {
        attack.end().unwrap();
    }
}

fn refused_while_full(free: usize, descriptors: usize) {
    let daemon = Daemon::open().start();
    let mut peer = daemon.connect();
    let before = daemon.descriptors_with(&mut peer);
    peer.is_served(SLOT);
    // Or else an entry becomes free that was not to be.
    daemon.wait_until_settled(before);
    let limit = Limit::of_worker(&daemon, free);
    let file = fixtures::file_saying("too much");
    let answer = peer.ask(&request::add(SLOT, 3, b"payload"), &vec![file.as_fd(); descriptors]);
    assert_eq!(answer.errno(), libc::EMFILE);
    limit.lift();
    let mut after = daemon.connect();
    assert_eq!(after.get(SLOT).errno(), libc::ENOENT, "a payload-only deposit was made of it");
    after.is_served(SLOT);
    drop(after);
    drop(peer);
    fdbroker_tests::wait_until("nothing is left of it", || {
        let now = daemon.descriptors();
        // The peer's connection, and its pidfd if the kernel provides one, have gone too.
        now.supervisor == before.supervisor && now.worker < before.worker
    });
}

/// The worker's limit of descriptors, lowered by a process of its own user: nobody else may,
/// not even root without CAP_SYS_RESOURCE.
struct Limit {
    helper: HelperProcess,
    worker: u32,
    usual: u64,
}

impl Limit {
    fn of_worker(daemon: &Daemon, free: usize) -> Self {
        let worker = daemon.worker_pid();
        let helper = HelperProcess::same();
        if fdbroker_tests::is_root() {
            helper.become_user(Ids {
                uid: id(worker, "Uid"),
                gid: id(worker, "Gid"),
                groups: vec![],
            });
        }
        let lowest = limit_that_leaves(worker, free);
        let usual = helper.limit_descriptors(worker, lowest).expect("one's own may be limited");
        Self { helper, worker, usual }
    }

    fn lift(self) {
        self.helper.limit_descriptors(self.worker, self.usual).unwrap();
    }
}

fn id(pid: u32, field: &str) -> u32 {
    process::status(pid, field).split_whitespace().next().unwrap().parse().unwrap()
}

/// The smallest limit below which `free` numbers are not in use.
fn limit_that_leaves(pid: u32, free: usize) -> u64 {
    let used = process::descriptors(pid).unwrap();
    let mut unused = (0..).filter(|number| !used.contains_key(number));
    match free {
        0 => u64::from(unused.next().unwrap()),
        free => u64::from(unused.nth(free - 1).unwrap()) + 1,
    }
}

/// Threads that close get the processor only when hardly any other wants it: as beside many busy
/// threads.
fn closing_comes_last(daemon: &Daemon) {
    let worker = daemon.worker_pid();
    for thread in process::threads(worker) {
        let name = std::fs::read_to_string(format!("/proc/{worker}/task/{thread}/comm"));
        if name.is_ok_and(|name| name.trim() == "close") {
            let thread = i32::try_from(thread).ok().and_then(rustix::process::Pid::from_raw);
            // It has ended where that fails.
            let _ = rustix::process::setpriority_process(thread, 19);
        }
    }
}
