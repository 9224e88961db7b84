//! Many users at once, some of them hostile: what the others see of it.
//!
//! Every user is a process of its own. The well-behaved ask by the clock and look at each answer.
//! What they see is measured twice with the same number of busy connections: once beside users who
//! only ask as fast as they are answered, and once beside users who attack in every [`attack`] that
//! is known. What an answer took is counted from when its request was due; the next one of the connection
//! is due no earlier than that answer.
//!
//! Services and users each have half of the processor, where control groups can do that.

pub mod attack;
pub mod bare;
pub mod busy;
mod child;
mod groups;
pub mod honest;
mod report;

use std::time::{Duration, Instant};

use crate::{Daemon, Ids, process, skip};
use child::Child;
use groups::Groups;
pub use honest::Results;
pub use report::{Report, Seen, Usage};

/// How large it is, and how long it lasts.
#[derive(Clone, Copy, Debug)]
pub struct Siege {
    /// How many connections there are, of all users together.
    pub connections: usize,
    /// How many users.
    pub users: usize,
    /// How many of them are hostile.
    pub hostile: usize,
    /// How long they attack.
    pub attacked: Duration,
    /// How long it is measured before, without attacks.
    pub alone: Duration,
    /// From a connection's request to its next.
    pub every: Duration,
}

/// The first of the users.
const FIRST: u32 = 64300;
/// How long it may take until what was closed has been closed.
const SETTLE: Duration = Duration::from_secs(60);
/// How long the log may become, in bytes.
const LOG: u64 = 256 << 20;

const POLICY: &str = r#"
[tags.good]
id = 1
accept = ["file", "none"]
[tags.secret]
id = 2
[tags.shared]
id = 3
[[rules]]
id = "everybody keeps something"
allow = ["*"]
slots = ["good/*"]
anyone = true
[[rules]]
id = "what attackers may do"
allow = ["get", "add", "del", "list", "claim"]
slots = ["shared/*"]
anyone = true
[[rules]]
id = "who cleans up behind them"
allow = ["del", "replace"]
slots = ["shared/*"]
user = 0
"#;

impl Siege {
    /// Carries it out. Only for root.
    ///
    /// # Panics
    /// When the daemon or a user's process does not start, or one of the users fails.
    pub fn run(self) -> Report {
        // Dropped last: when all processes have ended.
        let groups = Groups::new();
        if let Err(problem) = &groups {
            skip("a share of the processor for each user", problem);
        }
        let daemon = Daemon::with_policy(POLICY).start();
        for pid in [daemon.supervisor_pid(), daemon.worker_pid()] {
            groups.iter().for_each(|groups| groups.add_to_services("fdbrokerd", pid));
        }
        let mut bare = Child::start(&daemon, "bare", &Ids::plain(0), 1, self.every);
        groups.iter().for_each(|groups| groups.add_to_services("bare", bare.pid()));
        bare.is_ready();
        let share = self.connections / self.users;
        let user = |number: usize| FIRST + u32::try_from(number).expect("so few users");
        let mut honest: Vec<Child> = (self.hostile..self.users)
            .map(|number| {
                let ids = Ids::plain(user(number));
                let child = Child::start(&daemon, "honest", &ids, share, self.every);
                groups.iter().for_each(|groups| groups.add_to_user(user(number), child.pid()));
                child
            })
            .collect();
        honest.iter_mut().for_each(Child::is_ready);

        let hostile = |role: &str| -> Vec<Child> {
            let start = |number: usize| {
                let mut ids = Ids::plain(user(number));
                if number == 0 && role == "attack" {
                    // One with as many groups as subordinate ids give anybody.
                    ids.groups = vec![ids.gid; 65536];
                }
                let child = Child::start(&daemon, role, &ids, share, self.every);
                groups.iter().for_each(|groups| groups.add_to_user(user(number), child.pid()));
                child
            };
            (0..self.hostile).map(start).collect()
        };
        let busy = hostile("busy");
        let alone = measure(&daemon, &mut honest, self.alone);
        drop(busy);
        let before = Usage::settled(&daemon, None, || ());
        let mut attackers = hostile("attack");
        let attacked = measure(&daemon, &mut honest, self.attacked);
        assert!(attackers.iter_mut().all(Child::goes_on), "attackers have ended by themselves");
        drop(attackers);
        // What attackers had asked for before they were killed may still be carried out.
        let clean = || attack::remove_deposits(&daemon, FIRST..user(self.hostile));
        let after = Usage::settled(&daemon, Some(before), clean);
        Report { alone, attacked, before, after }
    }
}

/// Lets the well-behaved ask for a time, and gathers what they saw. What goes on beside goes on until all
/// of that has been answered.
fn measure(daemon: &Daemon, honest: &mut [Child], time: Duration) -> Seen {
    honest.iter_mut().for_each(Child::begin);
    // The processes that were just started have connected by then.
    pause(daemon, time / 10);
    honest.iter_mut().for_each(Child::begin);
    pause(daemon, time);
    let results = honest.iter_mut().map(Child::results);
    Seen::of(results.fold(Results::default(), Results::and))
}

/// Waits, and keeps the log from filling the disk.
fn pause(daemon: &Daemon, time: Duration) {
    let end = Instant::now() + time;
    while Instant::now() < end {
        daemon.log().cut(LOG);
        std::thread::sleep(Duration::from_millis(50).min(time));
    }
}

impl Usage {
    /// What the two processes use; waits until they have no more descriptors open and no more memory than
    /// before, and cleans up as long as they have.
    fn settled(daemon: &Daemon, before: Option<Self>, clean: impl Fn()) -> Self {
        let end = Instant::now() + SETTLE;
        clean();
        let mut last = Self::of(daemon);
        let mut stays = 0;
        while Instant::now() < end && stays < 20 {
            std::thread::sleep(Duration::from_millis(100));
            let now = Self::of(daemon);
            stays = if now.descriptors == last.descriptors { stays + 1 } else { 0 };
            last = now;
            if before.is_some_and(|before| now.has_more_than(before)) {
                clean();
                stays = 0;
            }
        }
        last
    }

    /// Whether it has more descriptors open, or has not given its memory back yet.
    fn has_more_than(self, other: Self) -> bool {
        self.descriptors.iter().zip(other.descriptors).any(|(own, others)| *own > others)
            || self
                .memory
                .iter()
                .zip(other.memory)
                .any(|(own, other)| report::has_grown(other, *own))
    }

    fn of(daemon: &Daemon) -> Self {
        let pids = [daemon.supervisor_pid(), daemon.worker_pid()];
        let memory = pids.map(|pid| process::memory(pid, "VmRSS"));
        // Each has one for each closer.
        let closers = process::closers(daemon.supervisor_pid()).len();
        let open = |pid| process::descriptors(pid).map_or(0, |descriptors| descriptors.len());
        let descriptors = pids.map(|pid| open(pid).saturating_sub(closers));
        Self { memory, descriptors }
    }
}
