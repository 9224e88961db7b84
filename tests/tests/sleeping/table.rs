//! A descriptor table that somebody tries to fill with what cannot be closed.

use std::collections::BTreeSet;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use fdbroker_tests::hostile::Attack;
use fdbroker_tests::socket::connected;
use fdbroker_tests::stuck::{HeldPipe, Stopped, sleeping_thread};
use fdbroker_tests::{
    Daemon, HelperProcess, Line, PATIENCE, Peer, fixtures, happens_within, needs_root, process,
    request, sys, wait_until,
};
use rustix::pipe::{PipeFlags, pipe_with};

use crate::policy;

const SLOT: (i16, i32) = (1, 0);
const GREEDY: u32 = 64101;
const MODEST: u32 = 64102;

#[test] // F17
fn one_user_whose_closes_sleep_fills_nobodys_table() {
    if !needs_root("another user beside the one who fills the table") {
        return;
    }
    let daemon = Daemon::with_policy(&policy()).descriptor_limit(4096).start();
    let before = daemon.descriptors().worker;
    let helper = HelperProcess::user(GREEDY);
    let mut pipe = HeldPipe::new();
    let mut first = helper.connect(&daemon);
    pipe.give(daemon.worker_pid(), |end| first.send(&request::get(SLOT), &[end]));
    sleeping_thread(daemon.worker_pid());
    let file = fixtures::file_saying("x");
    let many = vec![file.as_fd(); 253];
    let mut hoarders: Vec<Peer> = Vec::new();
    for _ in 0..80 {
        let Ok(mut peer) = helper.try_connect(daemon.socket(), None) else { continue };
        // It fails on connections that were refused by then.
        let _ = peer.try_send(&request::get(SLOT), &many);
        hoarders.push(peer);
        let held = daemon.descriptors().worker.saturating_sub(before);
        assert!(held < 1000, "{held} of 4096 descriptors are held by one user");
    }
    let modest = HelperProcess::user(MODEST);
    let mut others: Vec<Peer> = (0..60).map(|_| modest.connect(&daemon)).collect();
    for other in &mut others {
        other.is_served((1, 9));
    }
}

#[test]
fn whoever_may_bring_nothing_more_while_it_waits_for_its_turn_is_recorded_as_cut_off() {
    if !needs_root("a user who may bring nothing more") {
        return;
    }
    let daemon = Daemon::with_policy(&fixtures::serial()).descriptor_limit(4096).start();
    let mut owner = daemon.connect();
    owner.add(SLOT, "x").done();
    let waiting = HelperProcess::user(GREEDY);
    let mut waits = waiting.connect(&daemon);
    waits.send(&request::add((1, 1), -1, b"x"), &[]);
    // By then it has been read.
    (0..2).for_each(|_| assert_eq!(owner.get(SLOT).payload(), b"x"));
    let (hoarding, mut pipe) = (HelperProcess::user(GREEDY), HeldPipe::new());
    let mut first = hoarding.connect(&daemon);
    pipe.give(daemon.worker_pid(), |end| first.send(&request::get(SLOT), &[end]));
    sleeping_thread(daemon.worker_pid());
    let file = fixtures::file_saying("x");
    let mut hoarders: Vec<Peer> = (0..10).map(|_| hoarding.connect(&daemon)).collect();
    // The first of them are read, and refused.
    hoarders.iter_mut().for_each(|peer| peer.send(&request::get(SLOT), &[file.as_fd(); 253]));
    let is_cut_off = |line: &Line, helper: &HelperProcess| {
        line.kind == "cut-off"
            && line.pid.cast_unsigned() == helper.pid()
            && line.reason == "too many descriptors of its user wait to be closed"
    };
    let log = daemon.log();
    log.wait_for("a hoarder is read no more", |line| is_cut_off(line, &hoarding));
    waits.send(&request::get(SLOT), &[]);
    log.wait_for("it is said why she is cut off", |line| is_cut_off(line, &waiting));
}

#[test]
fn deletes_of_others_in_the_same_tag_count_no_longer_than_theirs() {
    if !needs_root("another user beside the one whose close sleeps") {
        return;
    }
    let daemon = Daemon::with_policy(&policy()).descriptor_limit(2048).start();
    let helper = HelperProcess::user(GREEDY);
    let mut pipe = HeldPipe::new();
    let mut first = helper.connect(&daemon);
    pipe.give(daemon.worker_pid(), |end| first.send(&request::add(SLOT, 3, b""), &[end]));
    first.answer().done();
    first.del(SLOT).done();
    // More pairs than there are entries in either table.
    let mut other = HelperProcess::user(MODEST).connect(&daemon);
    for _ in 0..2100 {
        other.add_descriptor((1, 1), fixtures::file_saying("x"), "").done();
        other.del((1, 1)).done();
    }
}

/// Connects four times as often as there are entries in the table, with this in each connection. It
/// does so as a user who has as many connections as it may. Of each burst the first brings what its
/// close sleeps on. Returns those that it has, and what others sleep on.
fn is_turned_away_often(daemon: &Daemon, brought: &[BorrowedFd<'_>]) -> (Vec<Peer>, Vec<HeldPipe>) {
    let helper = HelperProcess::user(GREEDY);
    let (mut first, mut pipe) = (helper.connect(daemon), HeldPipe::new());
    pipe.give(daemon.worker_pid(), |end| first.send(&request::get(SLOT), &[end]));
    sleeping_thread(daemon.worker_pid());
    let (mut hers, mut pipes) = (vec![first], vec![pipe]);
    hers.extend((0..64).filter_map(|_| helper.try_connect(daemon.socket(), None).ok()));
    for _ in 0..40 {
        // It is turned away before any of it has been read.
        let _stopped = Stopped::new(daemon.worker_pid());
        if !brought.is_empty() {
            let mut pipe = HeldPipe::new();
            leave_unread(daemon, &helper, 1, &[pipe.take().as_fd()]);
            pipes.push(pipe);
        }
        leave_unread(daemon, &helper, TABLE / 10, brought);
    }
    (hers, pipes)
}

/// Connects so often, and sends this.
fn leave_unread(daemon: &Daemon, helper: &HelperProcess, often: u16, brought: &[BorrowedFd<'_>]) {
    for _ in 0..often {
        let Ok(mut peer) = helper.try_connect(daemon.socket(), None) else { continue };
        let _ = peer.try_send(b"x", brought);
    }
}

const TABLE: u16 = 512;

/// Connections count too.
fn open_in(process: u32) -> usize {
    process::descriptors(process).expect("/proc shows open descriptors").len()
}

#[test]
fn those_turned_away_with_bytes_unread_fill_nobodys_table() {
    if !needs_root("another user beside the one who fills the table") {
        return;
    }
    let daemon = Daemon::with_policy(&policy()).descriptor_limit(TABLE.into()).start();
    let worker = daemon.worker_pid();
    let _hers = is_turned_away_often(&daemon, &[]);
    HelperProcess::user(MODEST).connect(&daemon).is_served((1, 9));
    assert_eq!(daemon.worker_pid(), worker, "no worker has to go for that");
}

#[test]
fn those_turned_away_with_descriptors_unread_fill_nobodys_table() {
    if !needs_root("another user beside the one who fills the table") {
        return;
    }
    let daemon = Daemon::with_policy(&policy()).descriptor_limit(TABLE.into()).start();
    let worker = daemon.worker_pid();
    let file = fixtures::file_saying("x");
    let mut other = HelperProcess::user(MODEST).connect(&daemon);
    let hers = is_turned_away_often(&daemon, &[file.as_fd()]);
    other.is_served((1, 9));
    HelperProcess::user(MODEST).connect(&daemon).is_served((1, 9));
    assert_eq!(daemon.worker_pid(), worker, "no worker has to go for that");
    let closers = || process::closers(daemon.supervisor_pid()).len();
    assert!(closers() > 2, "what cannot be closed fills one process after the other");
    drop(hers);
    wait_until("closers that are full end with what they hold", || closers() <= 2);
}

#[test]
fn a_flood_of_those_turned_away_beside_a_close_that_sleeps_ends_no_worker() {
    if !needs_root("another user beside the one who floods") {
        return;
    }
    let daemon = Daemon::with_policy(&policy()).descriptor_limit(256).start();
    let worker = daemon.worker_pid();
    let (helper, mut pipe) = (HelperProcess::user(GREEDY), HeldPipe::new());
    let mut first = helper.connect(&daemon);
    pipe.give(worker, |end| first.send(&request::get(SLOT), &[end]));
    let _hers: Vec<_> =
        (0..64).filter_map(|_| helper.try_connect(daemon.socket(), None).ok()).collect();
    let mut other = HelperProcess::user(MODEST).connect(&daemon);
    let flood =
        HelperProcess::user(GREEDY).attack(daemon.socket(), Attack::ConnectAndSend, 1, PATIENCE);
    for _ in 0..500 {
        other.is_served((1, 9));
    }
    flood.unwrap().end().unwrap();
    assert_eq!(daemon.worker_pid(), worker);
}

/// As the one connection too many sends a descriptor and closes its own; returns the other end.
fn leaves_its_last_one(daemon: &Daemon) -> OwnedFd {
    let (ours, theirs) = pipe_with(PipeFlags::CLOEXEC).unwrap();
    // It is turned away before any of it has been read.
    let stopped = Stopped::new(daemon.worker_pid());
    let mut peer = daemon.connect();
    peer.send(b"x", &[theirs.as_fd()]);
    drop((theirs, stopped));
    peer.until_closed();
    ours
}

#[test]
fn whoever_is_turned_away_sees_what_it_sent_closed_also_when_nobody_comes_after_it() {
    let daemon = Daemon::with_policy(&policy()).setting("max_connections_per_uid = 1").start();
    let mut first = daemon.connect();
    first.is_served((1, 9));
    // From then on there is a closer, to which all further ones go.
    leaves_its_last_one(&daemon);
    wait_until("there are closers", || process::closers(daemon.supervisor_pid()).len() == 2);
    for often in 0..20 {
        let end = leaves_its_last_one(&daemon);
        assert!(sys::hangs_up(&end, PATIENCE), "what came after {often} others stays open");
    }
}

fn another_user_is_served_in_the_end(daemon: &Daemon) {
    let served = || {
        let mut other = HelperProcess::user(MODEST).try_connect(daemon.socket(), None).ok()?;
        other.try_send(&request::get((1, 9)), &[]).ok()?;
        (other.is_answered(Duration::from_secs(1))
            && other.try_answer().ok()?.errno() == libc::ENOENT)
            .then_some(())
    };
    fdbroker_tests::wait_for("another user is served", served);
}

#[test]
fn without_a_closer_several_users_fill_nobodys_table_for_long() {
    if !needs_root("users beside the ones who fill the table") {
        return;
    }
    let daemon = Daemon::with_policy(&policy()).descriptor_limit(TABLE.into()).start();
    let worker = daemon.worker_pid();
    let file = fixtures::file_saying("x");
    // Until it goes on, it starts no closer.
    daemon.stop_supervisor();
    let users = (0..4).map(|user| {
        let (helper, mut pipe) = (HelperProcess::user(GREEDY + 10 + user), HeldPipe::new());
        let mut first = helper.connect(&daemon);
        pipe.give(worker, |end| first.send(&request::get(SLOT), &[end]));
        first.answer();
        // As many as it may have.
        let hers: Vec<_> =
            (0..64).filter_map(|_| helper.try_connect(daemon.socket(), None).ok()).collect();
        (helper, pipe, first, hers)
    });
    let users: Vec<_> = users.collect();
    let stopped = Stopped::new(worker);
    // Not quite a quarter of the table each.
    users.iter().for_each(|(helper, ..)| {
        leave_unread(&daemon, helper, TABLE / 4 - 20, &[file.as_fd()]);
    });
    drop(stopped);
    wait_until("the worker gives up its full table", || !process::runs(worker));
    daemon.go_on();
    another_user_is_served_in_the_end(&daemon);
}

#[test] // the kernel names each writer by a descriptor
fn processes_that_write_one_message_together_fill_nobodys_table() {
    if !needs_root("another user beside the one who fills the table") {
        return;
    }
    let daemon = Daemon::with_policy(&policy()).descriptor_limit(TABLE.into()).start();
    let mut sockets = Vec::new();
    for _ in 0..12 {
        sockets.push(connected(daemon.socket(), None).unwrap());
    }
    let request = request::add(SLOT, 3, &[0; 1000]);
    let before = open_in(daemon.worker_pid());
    for byte in &request[..64] {
        let write =
            || sockets.iter().for_each(|socket| sys::send_all(socket, &[*byte], &[]).unwrap());
        sys::in_a_child(Duration::from_secs(10), write).unwrap();
    }
    let held = open_in(daemon.worker_pid()) - before;
    HelperProcess::user(MODEST).connect(&daemon).is_served((1, 9));
    assert!(held < 150, "{held} of {TABLE} descriptors are held by one user");
}

/// Whether the supervisor has a duplicate of each connection that the worker has.
fn are_announced(daemon: &Daemon) -> bool {
    let connections = process::sockets_at(daemon.socket());
    let here = |pid| {
        let open = process::descriptors(pid).expect("/proc shows open descriptors");
        open.into_values().filter(|name| connections.contains(name)).collect::<BTreeSet<_>>()
    };
    here(daemon.worker_pid()).is_subset(&here(daemon.supervisor_pid()))
}

#[test] // the supervisor closes its duplicate on the account of the user whose closes sleep there
fn connections_count_until_the_supervisors_duplicates_are_closed() {
    if !needs_root("another user beside the one who fills the table") {
        return;
    }
    let daemon = Daemon::with_policy(&policy()).descriptor_limit(2048).start();
    let before = open_in(daemon.supervisor_pid());
    let helper = HelperProcess::user(GREEDY);
    let mut pipe = HeldPipe::new();
    let mut first = helper.connect(&daemon);
    pipe.give(daemon.worker_pid(), |end| first.send(&request::add(SLOT, 3, b""), &[end]));
    first.answer().done();
    // The worker's close is not the last, so the supervisor's sleeps.
    let held = open_in(daemon.worker_pid());
    daemon.stop_supervisor();
    first.del(SLOT).done();
    wait_until("the worker closes its own", || open_in(daemon.worker_pid()) < held);
    daemon.go_on();
    sleeping_thread(daemon.supervisor_pid());
    let other = HelperProcess::user(MODEST);
    for _ in 0..60 {
        let left: Vec<_> =
            (0..40).filter_map(|_| helper.try_connect(daemon.socket(), None).ok()).collect();
        // The worker has accepted those before this one.
        other.connect(&daemon).is_served((1, 9));
        // They are announced soon; but those for which the user has no room never are.
        happens_within(Duration::from_millis(50), || are_announced(&daemon));
        drop(left);
    }
    let held = open_in(daemon.supervisor_pid()) - before;
    assert!(held < 200, "{held} of 2048 descriptors are held by one user");
    other.connect(&daemon).is_served((1, 9));
}
