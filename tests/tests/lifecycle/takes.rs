//! The worker is killed while takes are under way: nothing is with two processes, nothing is lost.

use std::os::fd::AsFd;
use std::time::Duration;

use fdbroker_tests::{
    Answer, Daemon, HelperProcess, Peer, is_root, request, skip, sys, wait_until,
};
use fdbroker_wire::{Control, Index, Message, Tag};
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use super::daemon;

const TAKER: u32 = 64020;
/// How many takes are under way when the worker is killed, one for each kill. Before takers were
/// noted, about one in sixteen was given again.
const KILLS: i32 = 120;

/// The taker waits five seconds for the answer to six slots, and root for none.
const SLOW: &str = r#"
[tags.open]
id = 1

[[rules]]
id = "slow"
allow = ["*"]
slots = ["*"]
user = 64020
requests_per_second = 1

[[rules]]
id = "root"
allow = ["*"]
slots = ["*"]
user = 0
"#;

/// GET_MANY of slots of tag 1, to take their deposits.
fn take(indices: impl IntoIterator<Item = i32>) -> Vec<u8> {
    let mut body = [1_i16.to_ne_bytes(), 1_i16.to_ne_bytes()].concat();
    body.extend(indices.into_iter().flat_map(i32::to_ne_bytes));
    request::extended(74, &body)
}

/// Takes; `None` if the connection ended before the answer.
fn took(peer: &mut Peer, index: i32) -> Option<bool> {
    peer.try_send(&take([index]), &[]).ok()?;
    match peer.try_answer().ok()? {
        Answer::Closed => None,
        answer => Some(has_deposit(&answer)),
    }
}

/// Whether a GOT_MANY has a deposit of its first slot: its return code is 0.
fn has_deposit(answer: &Answer) -> bool {
    match answer {
        Answer::Extended { op: 75, body } => body[8..12] == [0; 4],
        other => panic!("no answer to GET_MANY: {other:?}"),
    }
}

/// Tells the supervisor, as the worker does before it answers a take, which process takes the
/// deposits of slots of tag 1, each in a message of its own.
fn note_taker(
    daemon: &Daemon,
    taker: &HelperProcess,
    slots: impl IntoIterator<Item = i32>,
) -> bool {
    let pid = i32::try_from(taker.pid()).unwrap();
    let Ok(link) = sys::taken_from(daemon.worker_pid(), 0) else { return false };
    for index in slots {
        let process = pidfd_open(Pid::from_raw(pid).unwrap(), PidfdFlags::empty()).unwrap();
        let (tag, indices) = (Tag::new(1).unwrap(), vec![Index::new(index).unwrap()]);
        let message = Control::Taking { tag, indices, pid, process: Some(process) };
        let message = message.into_extended();
        let bytes = Message::Extended(message);
        let Message::Extended(message) = &bytes else { unreachable!() };
        sys::send_all(link.as_fd(), &bytes.to_bytes(), &[message.descriptors[0].as_fd()]).unwrap();
    }
    true
}

fn greeted(mut peer: Peer) -> Option<Peer> {
    peer.try_send(&request::hello_for(4), &[]).ok()?;
    (!peer.try_answer().ok()?.is_closed()).then_some(peer)
}

/// A connection of a process, or of this one, that a worker which is not just being killed serves.
fn connect(daemon: &Daemon, helper: Option<&HelperProcess>) -> Peer {
    let connect = || match helper {
        Some(helper) => helper.try_connect(daemon.socket(), None),
        None => Peer::connect(daemon.socket()),
    };
    (0..100).find_map(|_| greeted(connect().ok()?)).expect("a connection is served")
}

#[test]
fn what_is_taken_under_kills_is_given_to_one_process() {
    if !is_root() {
        return skip("takes under kills", "only root can become others");
    }
    let daemon = daemon();
    let taker = HelperProcess::user(TAKER);
    let (mut given, mut under_way) = (0, 0);
    for index in 0..KILLS {
        connect(&daemon, None).add((1, index), "x").done();
        let mut peer = connect(&daemon, Some(&taker));
        let worker = daemon.worker_pid();
        let delay = Duration::from_micros(u64::try_from(index).unwrap() * 10);
        let first = std::thread::scope(|scope| {
            scope.spawn(|| {
                std::thread::sleep(delay);
                daemon.kill_worker();
            });
            took(&mut peer, index)
        });
        wait_until("another worker serves", || daemon.worker_pid() != worker);
        match first {
            Some(taken) => {
                assert!(taken, "it lay there");
                given += 1;
                let again = took(&mut connect(&daemon, None), index);
                assert_eq!(again, Some(false), "{index} was given twice");
            }
            None => {
                under_way += 1;
                let own = took(&mut connect(&daemon, Some(&taker)), index);
                assert_eq!(own, Some(true), "{index} was lost");
            }
        }
    }
    eprintln!("{given} were given before the kill, {under_way} were not");
}

#[test]
fn what_a_dead_taker_may_have_had_is_there_for_others() {
    if !is_root() {
        return skip("a taker that ends", "only root can become others");
    }
    let daemon = daemon();
    daemon.connect().add((1, 1), "x").done();
    let taker = HelperProcess::user(TAKER);
    let peer = connect(&daemon, Some(&taker));
    if !note_taker(&daemon, &taker, [1]) {
        return skip("a taker that ends", "descriptors of others cannot be taken");
    }
    daemon.kill_worker();
    let mut other = connect(&daemon, None);
    assert_eq!(other.get((1, 1)).errno(), libc::ENOENT, "it is kept for its taker");
    assert_eq!(connect(&daemon, Some(&taker)).get((1, 1)).payload(), b"x");
    drop(peer);
    drop(taker);
    wait_until("the taker's end frees it", || {
        other.try_send(&request::get((1, 1)), &[]).unwrap();
        !matches!(other.answer(), Answer::Failed(..))
    });
}

#[test]
fn what_replaces_what_is_being_taken_is_kept_for_nobody() {
    if !is_root() {
        return skip("a take that is overtaken", "only root can become others");
    }
    let daemon = Daemon::with_policy(SLOW).start();
    let mut other = connect(&daemon, None);
    other.add((1, 0), "taken").done();
    let taker = HelperProcess::user(TAKER);
    let mut takes = connect(&daemon, Some(&taker));
    takes.send(&take(0..6), &[]);
    wait_until("it is being taken", || matches!(other.get((1, 0)), Answer::Failed(..)));
    other.add((1, 0), "put there meanwhile").done();
    assert!(has_deposit(&takes.answer()), "it lay there");
    daemon.kill_worker();
    assert_eq!(connect(&daemon, None).get((1, 0)).payload(), b"put there meanwhile");
}

/// More than there are entries in the table.
const MANY: i32 = 600;

#[test]
fn what_one_process_takes_costs_one_descriptor_however_many_slots_it_is() {
    if !is_root() {
        return skip("a taker of many slots", "only root can become others");
    }
    let daemon = Daemon::open().descriptor_limit(512).start();
    let mut owner = daemon.connect();
    (0..MANY).for_each(|index| owner.add((1, index), "x").done());
    drop(owner);
    let taker = HelperProcess::user(TAKER);
    let before = daemon.descriptors();
    if !note_taker(&daemon, &taker, 0..MANY) {
        return skip("a taker of many slots", "descriptors of others cannot be taken");
    }
    for _ in 0..2 {
        daemon.kill_worker();
        let mut other = connect(&daemon, None);
        assert_eq!(other.get((1, MANY - 1)).errno(), libc::ENOENT, "it is kept for its taker");
        let now = daemon.descriptors();
        assert!(now.worker < before.worker + 8, "{before:?}, then {now:?}");
        assert!(now.supervisor < before.supervisor + 8, "{before:?}, then {now:?}");
    }
    let mut other = connect(&daemon, None);
    drop(taker);
    wait_until("the taker's end frees all of it", || {
        let mut free = |index| !matches!(other.get((1, index)), Answer::Failed(..));
        free(0) && free(MANY - 1)
    });
    let with_taker = daemon.descriptors();
    daemon.kill_worker();
    assert_eq!(connect(&daemon, None).get((1, 0)).payload(), b"x");
    let without = daemon.descriptors();
    assert!(without.supervisor < with_taker.supervisor, "{with_taker:?}, then {without:?}");
}
