//! One user takes all that it can get: it reaches its own limit, and nobody else's.

use std::time::{Duration, Instant};

use fdbroker_tests::{
    Answer, Builder, Daemon, HelperProcess, PATIENCE, Peer, fixtures, happens_within, is_root,
    needs_root, process, request, skip, sys, wait_until,
};

const GREEDY: u32 = 64101;
const MODEST: u32 = 64102;
/// How long something that must not happen is looked for.
const MEANWHILE: Duration = Duration::from_millis(200);

/// A connection of the user who takes everything. Without root there is only one user.
fn greedy(daemon: &Daemon) -> Peer {
    if is_root() { HelperProcess::user(GREEDY).connect(daemon) } else { daemon.connect() }
}

/// Another user makes a deposit, where there can be another one.
fn another_user_is_served(daemon: &Daemon) {
    if !is_root() {
        return skip("another user beside the one at its limit", "only root can become others");
    }
    HelperProcess::user(MODEST).connect(daemon).is_served((1, 9999));
}

#[test] // attack 11, slots
fn a_user_at_its_quota_of_slots_is_told_so_and_others_are_not() {
    let daemon = Daemon::open().setting("max_slots_per_uid = 3").start();
    let mut peer = greedy(&daemon);
    for index in 0..3 {
        peer.add((1, index), "x").done();
    }
    assert_eq!(peer.add((1, 3), "x").errno(), libc::EDQUOT);
    another_user_is_served(&daemon);
    peer.add((1, 2), "in the place of one's own").done();
    peer.del((1, 0)).done();
    peer.add((1, 3), "x").done();
    assert_eq!(peer.add((1, 4), "x").errno(), libc::EDQUOT);
}

#[test] // attack 11, slots, in many connections
fn a_second_connection_of_the_same_user_has_no_quota_of_its_own() {
    let daemon = Daemon::open().setting("max_slots_per_uid = 3").start();
    let (mut first, mut second) = (greedy(&daemon), greedy(&daemon));
    first.add((1, 0), "x").done();
    second.add((1, 1), "x").done();
    first.add((1, 2), "x").done();
    assert_eq!(second.add((1, 3), "x").errno(), libc::EDQUOT);
}

#[test] // attack 11, bytes
fn a_user_at_its_quota_of_bytes_is_told_so_and_others_are_not() {
    let daemon = Daemon::open().setting("max_payload_bytes_per_uid = \"64KiB\"").start();
    let mut peer = greedy(&daemon);
    let half = vec![7; 32768];
    peer.add((1, 0), &half).done();
    peer.add((1, 1), &half).done();
    assert_eq!(peer.add((1, 2), "x").errno(), libc::EDQUOT);
    peer.add((1, 2), "").done();
    another_user_is_served(&daemon);
    peer.add((1, 1), &half[1..]).done();
    peer.add((1, 2), "x").done();
    assert_eq!(peer.add((1, 3), "x").errno(), libc::EDQUOT);
}

#[test] // attack 11, and the worker's death
fn a_quota_that_is_used_up_stays_so_when_the_worker_is_replaced() {
    let daemon = Daemon::open().setting("max_slots_per_uid = 2").start();
    let mut peer = greedy(&daemon);
    peer.add((1, 0), "x").done();
    peer.add((1, 1), "x").done();
    daemon.kill_worker();
    let mut peer = greedy(&daemon);
    assert_eq!(peer.add((1, 2), "x").errno(), libc::EDQUOT);
    peer.del((1, 0)).done();
    peer.add((1, 2), "x").done();
}

#[test] // attack 11, connections
fn a_user_at_its_quota_of_connections_is_told_so_and_disconnected() {
    let daemon = Daemon::open().setting("max_connections_per_uid = 5").start();
    let mut peers: Vec<Peer> = (0..5).map(|_| greedy(&daemon)).collect();
    peers.iter_mut().for_each(|peer| peer.is_served((1, 0)));
    let mut sixth = greedy(&daemon);
    let answers = sixth.until_closed();
    let errors: Vec<i32> = answers.iter().map(Answer::errno).collect();
    assert_eq!(errors, [libc::EDQUOT]);
    another_user_is_served(&daemon);
    drop(peers.pop());
    fdbroker_tests::wait_until("the place that became free is given", || {
        let mut peer = greedy(&daemon);
        matches!(peer.get((1, 0)), Answer::Failed(libc::ENOENT, _))
    });
}

#[test] // attack 12
fn thousands_of_connections_that_never_speak_leave_room_for_another_user() {
    let daemon = Daemon::open().start();
    if !needs_root("another user beside thousands of silent connections") {
        return;
    }
    // Of one user alone, so many at once would keep it from connecting at all.
    let helpers = [10, 11, 12, 13, 14].map(|more| HelperProcess::user(GREEDY + more));
    let before = daemon.descriptors();
    let mut silent = Vec::new();
    for helper in &helpers {
        silent.extend((0..500).map(|_| helper.connect(&daemon)));
    }
    another_user_is_served(&daemon);
    // 256 connections is a user's usual limit. The refusals of one process are counted.
    let refusals = || {
        let lines = daemon.log().audit().into_iter().filter(|line| line.kind == "connection");
        lines.map(|line| line.count.max(1)).sum::<u32>()
    };
    wait_until("every refused connection has been told of", || refusals() >= 5 * (500 - 256));
    assert_eq!(refusals(), 5 * (500 - 256));
    let open = daemon.descriptors().worker - before.worker;
    assert!(open <= 5 * 2 * 256, "1280 silent connections hold {open} descriptors");
    drop(silent);
    daemon.wait_for_descriptors(before);
}

#[test] // attack 13
fn a_hundred_connections_that_never_read_their_descriptors_disturb_nobody() {
    never_reading(100, Daemon::open());
}

#[test] // attack 13, where descriptors are scarce
fn those_who_never_read_use_up_nobodys_allowance_of_descriptors_in_flight() {
    // The kernel counts descriptors in flight per user: this worker needs a user of its own.
    let builder = Daemon::open().setting("user = 64003").descriptor_limit(1024);
    never_reading(250, builder);
}

fn never_reading(connections: usize, builder: Builder) {
    let daemon = builder.setting("frame_timeout = \"2s\"").start();
    let mut keeper =
        if is_root() { HelperProcess::user(MODEST).connect(&daemon) } else { daemon.connect() };
    let before = daemon.descriptors_with(&mut keeper);
    keeper.add_descriptor((1, 0), fixtures::file_saying("wanted"), "").done();
    keeper.get((1, 0)).descriptor();
    let helper = if is_root() { HelperProcess::user(GREEDY) } else { HelperProcess::same() };
    let mut hoarders: Vec<Peer> = (0..connections).map(|_| helper.connect(&daemon)).collect();
    for hoarder in &mut hoarders {
        // It fails on those that were too many, and have been refused by now.
        let _ = hoarder.try_send(&request::get((1, 0)).repeat(200), &[]);
    }
    another_user_gets_descriptors(&mut keeper);
    for hoarder in &mut hoarders {
        let answers = until_cut_off(hoarder);
        assert!(answers < 200, "{answers} descriptors lay unread on one connection");
    }
    drop(hoarders);
    keeper.get((1, 0)).descriptor();
    keeper.del((1, 0)).done();
    daemon.wait_for_descriptors(before);
}

fn another_user_gets_descriptors(keeper: &mut Peer) {
    if !is_root() {
        return skip("another user beside those who never read", "only root can become others");
    }
    let start = Instant::now();
    for _ in 0..500 {
        keeper.get((1, 0)).descriptor();
    }
    assert!(start.elapsed() < PATIENCE, "500 requests took {:?}", start.elapsed());
}

/// Reads nothing until the broker has ended the connection, then counts what had been sent.
fn until_cut_off(peer: &mut Peer) -> usize {
    assert!(peer.hangs_up(), "a peer that never reads was not cut off");
    peer.until_closed().len()
}

#[test] // attack 13, and the processor's time
fn a_peer_that_shuts_its_connection_and_reads_nothing_keeps_the_worker_not_busy() {
    let daemon = Daemon::open().start();
    let mut peer = daemon.connect();
    peer.add_descriptor((1, 0), fixtures::file_saying("wanted"), "").done();
    peer.send(&request::get((1, 0)).repeat(100), &[]);
    // As many as may lie unread, of 16 bytes each: then the next one waits.
    wait_until("eight answers lie unread", || {
        rustix::io::ioctl_fionread(peer.socket()).unwrap() >= 8 * 16
    });
    rustix::net::shutdown(peer.socket(), rustix::net::Shutdown::Both).unwrap();
    daemon.connect().is_served((1, 1));
    let (before, start) = (worker_ticks(&daemon), Instant::now());
    wait_until("a second has passed", || start.elapsed() > Duration::from_secs(1));
    let ticks = worker_ticks(&daemon) - before;
    assert!(ticks < 50, "the worker was busy for {ticks} hundredths of a second");
}

/// The processor time of the worker so far, in ticks of a hundredth of a second: the fields utime
/// and stime of proc_pid_stat(5).
fn worker_ticks(daemon: &Daemon) -> u64 {
    let fields = process::stat(daemon.worker_pid()).unwrap();
    fields[11..=12].iter().map(|field| field.parse::<u64>().unwrap()).sum()
}

#[test] // attack 13, the patient ones
fn a_peer_that_reads_slowly_gets_every_answer() {
    let daemon = Daemon::open().start();
    let mut peer = daemon.connect();
    peer.add_descriptor((1, 0), fixtures::file_saying("wanted"), "").done();
    peer.send(&request::get((1, 0)).repeat(100), &[]);
    assert!(peer.is_answered(Duration::from_secs(20)));
    for _ in 0..100 {
        peer.answer().descriptor();
    }
}

#[test] // attack 12, where the descriptor table is the narrowest of all limits
fn silent_connections_of_one_user_do_not_fill_a_small_descriptor_table() {
    let daemon = Daemon::open().descriptor_limit(256).start();
    if !needs_root("another user beside many silent connections") {
        return;
    }
    let helper = HelperProcess::user(GREEDY);
    let silent: Vec<Peer> = (0..256).map(|_| helper.connect(&daemon)).collect();
    another_user_is_served(&daemon);
    daemon.log().wait_for("a warning that the table is small", |line| {
        line.message.contains("raise LimitNOFILE=")
    });
    drop(silent);
}

#[test] // with one processor the worker always has something to say to its supervisor
fn replacing_a_deposit_again_and_again_never_fills_an_account() {
    let daemon = Daemon::open().descriptor_limit(1024).start();
    let mut peer = daemon.connect();
    let processor = sys::processors()[0];
    // Its own thread too: each runs when the others have nothing to do.
    sys::pin(0, processor).unwrap();
    daemon.pin(processor);
    let file = fixtures::file_saying("replaced");
    // An account has room for half of a table. What has been replaced is on it until it is closed.
    for _ in 0..4 * 1024 {
        peer.add_descriptor((1, 5), &file, "").done();
    }
}

/// GET_MANY of tag 1: `index`, as often as one message may ask.
fn get_as_many(index: i32) -> Vec<u8> {
    let head = [1i16.to_ne_bytes(), 0i16.to_ne_bytes()].concat();
    request::extended(74, &[&head[..], &index.to_ne_bytes().repeat(253)].concat())
}

const WITH_RESOURCE: &str = "[resources.null]\nslot = \"open/5\"\ndevice = \"/dev/null\"\n";

#[test]
fn resources_that_wait_to_be_sent_to_one_user_fill_nobodys_table() {
    if !needs_root("another user beside the one who has resources opened") {
        return;
    }
    let policy = format!("{}\n{WITH_RESOURCE}", fixtures::OPEN);
    // The kernel counts descriptors in flight per user: this worker needs a user of its own.
    let builder = Daemon::with_policy(&policy).setting("user = 64004");
    let daemon = builder.descriptor_limit(4096).start();
    let open = || process::descriptors(daemon.worker_pid()).expect("/proc shows them").len();
    let (before, helper) = (open(), HelperProcess::user(GREEDY));
    let mut hoarders = Vec::new();
    for _ in 0..20 {
        // More are not opened for one user at once.
        for _ in 0..2 {
            let mut peer = helper.connect(&daemon);
            // It reads nothing: its answers wait for room on the way, and hold what they give.
            let _ = peer.try_send(&[request::hello(), get_as_many(5)].concat(), &[]);
            hoarders.push(peer);
        }
        let too_many = || open().saturating_sub(before) >= 500;
        assert!(!happens_within(MEANWHILE, too_many), "500 of 4096 are held by one user");
        another_user_is_served(&daemon);
    }
}
