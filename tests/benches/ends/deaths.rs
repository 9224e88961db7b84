//! The death of a worker: another one begins with everything.

use std::time::{Duration, Instant};

use fdbroker_tests::{Daemon, PATIENCE, Peer, process, request};
use rustix::process::Signal;

use super::{Effort, FIRST, deposit, head, policy, print};

const AIM: Duration = Duration::from_millis(60);
/// From a connection that the dying worker has cut to the next attempt.
const STEP: Duration = Duration::from_micros(100);
/// How often a worker of one broker is killed: after more of them, restarts are put off.
const OF_ONE: usize = 10;

pub(super) fn measure(effort: &Effort) {
    let mut times = Vec::new();
    while times.len() < effort.times {
        let daemon = Daemon::with_policy(&policy()).start();
        deposit(daemon.socket(), effort.of_worker, b"payload", 0);
        let of_one = OF_ONE.min(effort.times - times.len());
        times.extend((0..of_one).map(|_| death(&daemon)));
    }
    head("from kill -9 of the worker to the first answer", effort.times);
    print(&format!("with {} descriptors", effort.of_worker), times, Some(AIM));
}

/// From the signal to the first answer.
fn death(daemon: &Daemon) -> Duration {
    let worker = daemon.worker_pid();
    let began = Instant::now();
    process::signal(worker, Signal::KILL);
    while !is_answered(daemon) {
        assert!(began.elapsed() < PATIENCE, "nobody is answered");
        std::thread::sleep(STEP);
    }
    let took = began.elapsed();
    assert_ne!(daemon.worker_pid(), worker);
    took
}

fn is_answered(daemon: &Daemon) -> bool {
    let Ok(mut peer) = Peer::connect(daemon.socket()) else { return false };
    let slot = (FIRST.tag.get(), FIRST.index.get());
    let sent = peer.try_send(&request::get(slot), &[]);
    sent.and_then(|()| peer.try_answer()).is_ok_and(|answer| !answer.is_closed())
}
