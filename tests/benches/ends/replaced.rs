//! Another broker takes over: how long a client waits that asks all the time.

use std::time::Duration;

use fdbroker_tests::traffic::asker::Asker;
use fdbroker_tests::{Daemon, Directory};

use super::{Effort, FIRST, deposit, head, policy, print};

pub(super) fn measure(effort: &Effort) {
    head("the longest wait of a client at --replace", effort.times);
    for deposits in effort.replaced {
        let times = replace(deposits, effort.times);
        print(&format!("with {deposits} deposits, each with a descriptor"), times, None);
    }
}

fn replace(deposits: i32, times: usize) -> Vec<Duration> {
    let directory = Directory::new();
    let broker = || Daemon::with_policy(&policy()).socket(directory.join("socket"));
    let mut daemon = broker().start();
    deposit(daemon.socket(), deposits, b"payload", 0);
    let asker = Asker::start(daemon.socket(), FIRST);
    let longest = (0..times).map(|_| {
        asker.longest();
        let newer = broker().argument("--replace").start();
        daemon.is_replaced();
        daemon = newer;
        asker.longest()
    });
    longest.collect()
}
