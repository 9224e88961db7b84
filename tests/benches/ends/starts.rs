//! A start of the broker, with and without deposits in the service manager's store. The service manager here only
//! keeps descriptors, so what is measured is the broker's own; systemd's own part comes on top.

use std::time::{Duration, Instant};

use fdbroker::Broker;
use fdbroker_tests::keeper::Keeper;
use fdbroker_tests::{Daemon, Directory, PATIENCE, happens_within, process};

use super::{Effort, FIRST, deposit, head, policy, print};

const PAYLOAD: [u8; 1024] = [7; 1024];

/// What some starts took, and the most memory that supervisor and worker had in one, in bytes.
#[derive(Default)]
struct Starts {
    times: Vec<Duration>,
    memory: [u64; 2],
}

pub(super) fn measure(effort: &Effort) {
    head("from exec to the first answer", effort.times);
    let stored = format!(
        "with {} deposits of 1 KiB, {} of them with a socket",
        effort.stored,
        effort.stored - (effort.stored + effort.without - 1) / effort.without
    );
    for (name, deposits) in [("without a deposit", 1), (stored.as_str(), effort.stored)] {
        let Starts { times, memory } = starts(deposits, effort);
        print(name, times, None);
        let [supervisor, worker] = memory.map(|bytes| bytes as f64 / f64::from(1 << 20));
        println!("  peak memory, MiB: supervisor {supervisor:.1}, worker {worker:.1}");
    }
}

fn starts(deposits: i32, effort: &Effort) -> Starts {
    let directory = Directory::new();
    let keeper = Keeper::start(directory.path());
    let broker = || keeper.with(Daemon::with_policy(&policy())).socket(directory.join("socket"));
    let mut daemon = broker().start();
    deposit(daemon.socket(), deposits, &PAYLOAD, effort.without);
    let mut starts = Starts::default();
    for _ in 0..effort.times {
        let (line, now) =
            (format!("mirror={deposits} stored, 0 here only, 0 to be sent"), || mirror(&daemon));
        assert!(happens_within(PATIENCE, || now() == line), "{} instead of {line}", now());
        daemon.kill_both();
        let starting = broker().begin();
        let began = Instant::now();
        let answer = Broker::connect_to(directory.join("socket")).and_then(|mut it| it.get(FIRST));
        starts.times.push(began.elapsed());
        assert_eq!(answer.expect("it is answered").payload, PAYLOAD);
        daemon = starting.serves();
        for (most, pid) in
            starts.memory.iter_mut().zip([daemon.supervisor_pid(), daemon.worker_pid()])
        {
            *most = process::memory(pid, "VmHWM").max(*most);
        }
    }
    starts
}

/// What the status says of what is stored.
fn mirror(daemon: &Daemon) -> String {
    let status = Broker::connect_to(daemon.socket()).and_then(|mut broker| broker.status());
    let status = status.expect("the broker serves");
    status.lines().find(|line| line.starts_with("mirror=")).unwrap_or_default().to_owned()
}
