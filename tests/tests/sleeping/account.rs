//! What the supervisor cannot close stays on the account of the user who brought it, whatever
//! becomes of the worker.

use std::collections::BTreeSet;
use std::fs;
use std::os::fd::{AsFd, AsRawFd};

use fdbroker_tests::stuck::{HeldPipe, Stopped, sleeping_thread};
use fdbroker_tests::{
    Daemon, HelperProcess, Peer, fixtures, needs_root, process, request, wait_until,
};

use crate::policy;

const GREEDY: u32 = 64101;
const MODEST: u32 = 64102;
const SLOTS: i32 = 8;
const STUCK: (i16, i32) = (1, 0);

/// A broker that keeps a few deposits, and as many connections, of each user.
fn daemon() -> Daemon {
    let few = format!("max_slots_per_uid = {SLOTS}\nmax_connections_per_uid = {SLOTS}");
    Daemon::with_policy(&policy()).setting(&few).start()
}

/// Deposits that cannot be closed, from the first slot on, and the pipes' names in /proc.
struct Stuck(Vec<(HeldPipe, String)>);

impl Stuck {
    fn deposited(daemon: &Daemon, peer: &mut Peer, slots: i32) -> Self {
        let deposited = |slot| {
            let (mut pipe, mut name) = (HeldPipe::new(), String::new());
            pipe.give(daemon.worker_pid(), |end| {
                let link = format!("/proc/self/fd/{}", end.as_raw_fd());
                name = fs::read_link(link).expect("it is open").display().to_string();
                peer.send(&request::add((1, slot), 3, b""), &[end]);
            });
            peer.answer().done();
            (pipe, name)
        };
        Self((0..slots).map(deposited).collect())
    }

    /// Has them leave their slots, so that threads of the supervisor sleep: its copies are the last.
    fn leave(&self, daemon: &Daemon, leave: impl FnOnce()) {
        let stopped = Stopped::new(daemon.supervisor_pid());
        leave();
        wait_until("the worker has closed its copies", || {
            let open = process::descriptors(daemon.worker_pid()).unwrap_or_default();
            !open.is_empty() && self.0.iter().all(|(_, name)| open.values().all(|it| it != name))
        });
        drop(stopped);
        sleeping_thread(daemon.supervisor_pid());
    }

    fn let_go(&mut self) {
        self.0.iter_mut().for_each(|(pipe, _)| pipe.let_go());
    }
}

fn adds(peer: &mut Peer, slot: i32) -> bool {
    peer.add_descriptor((1, slot), fixtures::file_saying("x"), "").errno() == 0
}

/// Whether the user can have as many deposits as it may: nothing else counts.
fn has_all_its_room(peer: &mut Peer) -> bool {
    let added: Vec<_> = (0..SLOTS).take_while(|slot| adds(peer, *slot)).collect();
    added.iter().for_each(|slot| peer.del((1, *slot)).done());
    added.len() == usize::try_from(SLOTS).unwrap_or(0)
}

/// Of how many connections the supervisor has a duplicate.
fn duplicates(daemon: &Daemon) -> usize {
    let open = process::descriptors(daemon.supervisor_pid()).unwrap_or_default();
    let here = process::sockets_at(daemon.socket());
    let found: BTreeSet<_> = open.values().filter(|name| here.contains(*name)).collect();
    // The listening socket is one of them.
    found.len().saturating_sub(1)
}

#[test]
fn what_replaces_a_deposit_that_cannot_be_closed_is_given_back() {
    if !needs_root("another user beside the one whose close sleeps") {
        return;
    }
    let daemon = daemon();
    let mut greedy = HelperProcess::user(GREEDY).connect(&daemon);
    let mut modest = HelperProcess::user(MODEST).connect(&daemon);
    let mut stuck = Stuck::deposited(&daemon, &mut greedy, 1);
    for slot in 1..SLOTS {
        assert!(adds(&mut greedy, slot));
    }
    stuck.leave(&daemon, || assert!(adds(&mut modest, STUCK.1)));
    modest.del(STUCK).done();
    for slot in 1..SLOTS {
        assert!(adds(&mut modest, slot));
        modest.del((1, slot)).done();
    }
    wait_until("what she deleted counts no more", || has_all_its_room(&mut modest));
    assert!(!has_all_its_room(&mut greedy), "what he brought is still open");
    stuck.let_go();
    wait_until("what he brought is closed", || has_all_its_room(&mut greedy));
}

#[test]
fn deposits_that_cannot_be_closed_count_with_the_next_worker() {
    let daemon = daemon();
    let mut peer = daemon.connect();
    let mut stuck = Stuck::deposited(&daemon, &mut peer, SLOTS);
    stuck.leave(&daemon, || (0..SLOTS).for_each(|slot| peer.del((1, slot)).done()));
    assert!(!adds(&mut peer, 1), "nothing has been closed");
    for _ in 0..2 {
        daemon.kill_worker();
        assert!(!adds(&mut daemon.connect(), 1), "nothing has been closed");
    }
    stuck.let_go();
    let mut peer = daemon.connect();
    wait_until("nothing counts any more", || has_all_its_room(&mut peer));
}

#[test]
fn connections_that_cannot_be_closed_count_with_the_next_worker() {
    if !needs_root("another user beside the one who connects") {
        return;
    }
    let daemon = daemon();
    let helper = HelperProcess::user(GREEDY);
    let served = || {
        let mut peer = helper.try_connect(daemon.socket(), None).ok()?;
        peer.try_send(&request::get((1, 9)), &[]).ok()?;
        (peer.try_answer().ok()?.errno() == libc::ENOENT).then_some(peer)
    };
    let peers: Vec<Peer> = (0..SLOTS).map(|_| served().expect("it may connect")).collect();
    wait_until("the supervisor has duplicates", || duplicates(&daemon) >= peers.len());
    let worker = Stopped::new(daemon.worker_pid());
    let mut pipes = Vec::new();
    for mut peer in peers {
        // Nobody has read it when the connection is closed.
        let mut pipe = HeldPipe::new();
        peer.send(&request::add(STUCK, 3, b""), &[pipe.take().as_fd()]);
        pipes.push((pipe, peer));
    }
    daemon.kill_worker();
    drop(worker);
    pipes.iter_mut().for_each(|(_, peer)| drop(peer.until_closed()));
    assert!(served().is_none(), "none of the old ones has been closed");
    HelperProcess::user(MODEST).connect(&daemon).is_served((1, 9));
    pipes.iter_mut().for_each(|(pipe, _)| pipe.let_go());
    wait_until("they have been closed", || served().is_some());
    let again = || {
        let served: Vec<_> = (0..SLOTS).map_while(|_| served()).collect();
        served.len() == usize::try_from(SLOTS).unwrap_or(0)
    };
    wait_until("none of them counts any more", again);
}

#[test]
fn what_is_kept_from_being_closed_delays_nothing_else_of_its_owner() {
    if !needs_root("a user whose close sleeps") {
        return;
    }
    let daemon = daemon();
    let mut owner = HelperProcess::user(MODEST).connect(&daemon);
    // Nobody is given it: who has the other end of the pipe needs no right.
    let mut stuck = Stuck::deposited(&daemon, &mut owner, 2);
    stuck.leave(&daemon, || (0..2).for_each(|slot| owner.del((1, slot)).done()));
    for _ in 0..4 * SLOTS {
        wait_until("there is room", || adds(&mut owner, 3));
        owner.del((1, 3)).done();
    }
    stuck.let_go();
    wait_until("nothing counts any more", || has_all_its_room(&mut owner));
}

#[test]
fn what_its_readers_keep_from_being_closed_delays_nothing_else_of_its_owner() {
    if !needs_root("another user who reads what the owner deposited") {
        return;
    }
    let daemon = daemon();
    let mut owner = HelperProcess::user(MODEST).connect(&daemon);
    let mut stuck = Stuck::deposited(&daemon, &mut owner, 1);
    let mut reader = HelperProcess::user(GREEDY).connect(&daemon);
    drop(reader.get(STUCK).descriptor());
    stuck.leave(&daemon, || owner.del(STUCK).done());
    // All but the one that sleeps.
    for _ in 0..4 * SLOTS {
        assert!(adds(&mut owner, 1));
        owner.del((1, 1)).done();
    }
    // So it is under the next worker, where that one counts.
    daemon.kill_worker();
    let mut owner = HelperProcess::user(MODEST).connect(&daemon);
    for _ in 0..4 * SLOTS {
        assert!(adds(&mut owner, 1));
        owner.del((1, 1)).done();
    }
    stuck.let_go();
    wait_until("nothing counts any more", || has_all_its_room(&mut owner));
}
