//! A running daemon: its socket, its log, its two processes.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::{Child, ExitStatus};
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::helper_process::HelperProcess;
use crate::started::Started;
use crate::{
    Descriptors, Directory, Line, Log, Peer, happens_within, process, wait_for, wait_until,
};

/// How long the number of open descriptors stays the same once nothing is on its way.
const SETTLED: Duration = Duration::from_millis(30);

/// What the log says of each policy that a running worker was given.
const IN_FORCE: &str = " is in force";

/// Ends when dropped, and has to end in an orderly way.
#[derive(Debug)]
pub struct Daemon {
    child: Child,
    log: Log,
    socket: PathBuf,
    bound: PathBuf,
    directory: Directory,
    /// What stands before the policy's body.
    head: String,
    ended: bool,
}

/// Whom the built-in policy's daemon runs as where the tests run as root: with it, root would
/// need an account of the name `fdbroker`.
pub const TRIER: u32 = 64010;

impl HelperProcess {
    /// Has it connect to a daemon.
    #[track_caller]
    pub fn connect(&self, daemon: &Daemon) -> Peer {
        self.try_connect(daemon.socket(), None).expect("the daemon accepts a connection")
    }
}

impl Daemon {
    pub(crate) fn new(started: Started) -> Self {
        let Started { child, log, socket, bound, directory, head, .. } = started;
        Self { child, log, socket, bound, directory, head, ended: false }
    }

    /// The path of its socket.
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// The directory that its files lie in.
    pub fn directory(&self) -> &Directory {
        &self.directory
    }

    /// What it has logged.
    pub fn log(&self) -> &Log {
        &self.log
    }

    /// A new connection of this process.
    #[track_caller]
    pub fn connect(&self) -> Peer {
        Peer::connect(&self.socket).expect("the daemon accepts a connection")
    }

    /// The supervisor's process id.
    pub fn supervisor_pid(&self) -> u32 {
        self.child.id()
    }

    /// The worker's process id.
    #[track_caller]
    pub fn worker_pid(&self) -> u32 {
        wait_for("there is a worker", || {
            process::workers(self.supervisor_pid()).into_iter().find(|pid| process::runs(*pid))
        })
    }

    /// Where the policy file lies.
    pub fn policy_path(&self) -> PathBuf {
        self.directory.join("policy.toml")
    }

    /// Puts another policy in the place of the file, at once and as a whole; `[broker]` stays.
    pub fn write_policy(&self, body: &str) {
        self.write_policy_text(&format!("{}{body}", self.head));
    }

    /// The same, with every line of the file.
    pub fn write_policy_text(&self, text: &str) {
        let new = self.directory.file("policy.new", text, 0o644);
        std::fs::rename(new, self.policy_path()).unwrap();
    }

    /// Has the supervisor read its policy again (SIGHUP); waits for nothing.
    pub fn hang_up(&self) {
        process::signal(self.supervisor_pid(), Signal::HUP);
    }

    /// Puts another policy in force.
    #[track_caller]
    pub fn reload(&self, body: &str) {
        self.write_policy(body);
        self.reload_files();
    }

    /// Puts in force what the files say now.
    #[track_caller]
    pub fn reload_files(&self) {
        let swaps = || self.log.text().matches(IN_FORCE).count();
        let before = swaps();
        self.hang_up();
        wait_until("the new policy is in force", || swaps() > before);
    }

    /// Has it read a policy that it must refuse; returns what the log said about that before its
    /// record.
    #[track_caller]
    pub fn reload_in_vain(&self) -> String {
        let before = self.log.lines().len();
        self.hang_up();
        let failed = |line: &Line| line.kind == "reload" && line.verdict == "failed";
        let lines = wait_for("the reload is recorded as failed", || {
            let lines = self.log.lines().split_off(before);
            lines.iter().any(failed).then_some(lines)
        });
        let said = lines.iter().take_while(|line| !failed(line));
        said.map(|line| format!("{}\n", line.message)).collect()
    }

    /// Kills the worker, and waits until it is gone; returns its process id.
    #[track_caller]
    pub fn kill_worker(&self) -> u32 {
        let pid = self.worker_pid();
        process::signal(pid, Signal::KILL);
        wait_until("the killed worker is gone", || !process::runs(pid));
        pid
    }

    /// Stops the supervisor, as a debugger would; [`Daemon::go_on`] has it go on.
    #[track_caller]
    pub fn stop_supervisor(&self) {
        let supervisor = self.supervisor_pid();
        process::signal(supervisor, Signal::STOP);
        wait_until("the supervisor has stopped", || {
            process::stat(supervisor).is_some_and(|fields| fields[0] == "T")
        });
    }

    /// Has a stopped supervisor go on.
    pub fn go_on(&self) {
        process::signal(self.supervisor_pid(), Signal::CONT);
    }

    /// How many descriptors are open while `peer` is connected and has asked for something. To
    /// be taken before anything is deposited or opened: what is closed again is closed a little
    /// after its answer.
    ///
    /// # Panics
    /// When we may not look.
    #[track_caller]
    pub fn descriptors_with(&self, peer: &mut Peer) -> Descriptors {
        let _accepted = peer.get((1, 32767)).errno();
        // What was sent to the supervisor may be on its way still, and what is of no use any more is
        // closed a little later.
        wait_for("as many descriptors stay open", || {
            let now = self.descriptors();
            (!happens_within(SETTLED, || self.descriptors() != now)).then_some(now)
        })
    }

    /// How many descriptors are open. Not counted are the duplicates of connections, which the
    /// supervisor gets some time after they were accepted, and the one that the worker has for each
    /// closer.
    ///
    /// # Panics
    /// When we may not look.
    #[track_caller]
    pub fn descriptors(&self) -> Descriptors {
        let open = |pid| process::descriptors(pid).expect("/proc shows open descriptors");
        let (supervisor, worker) = (open(self.supervisor_pid()), open(self.worker_pid()));
        let connections = process::sockets_at(&self.bound);
        let others = |open: &BTreeMap<u32, String>| {
            open.values().filter(|target| !connections.contains(*target)).count()
        };
        // One that is being sent to the supervisor is there twice for a moment.
        let served: BTreeSet<_> =
            worker.values().filter(|target| connections.contains(*target)).collect();
        let closers = process::closers(self.supervisor_pid()).len();
        Descriptors {
            supervisor: others(&supervisor),
            worker: (others(&worker) + served.len()).saturating_sub(closers),
        }
    }

    /// Waits until as many descriptors are open as were.
    #[track_caller]
    pub fn wait_for_descriptors(&self, before: Descriptors) {
        let end = Instant::now() + crate::PATIENCE;
        while self.descriptors() != before {
            if Instant::now() > end {
                panic!(
                    "{before:?} were open, and stay {:?}: supervisor {:?}, worker {:?}",
                    self.descriptors(),
                    process::descriptors(self.supervisor_pid()),
                    process::descriptors(self.worker_pid()),
                );
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Waits until as many descriptors are open as were, and none is on its way: what was deleted
    /// has been closed, and the supervisor has its duplicate of each connection.
    #[track_caller]
    pub fn wait_until_settled(&self, before: Descriptors) {
        self.wait_for_descriptors(before);
        let open = |pid| process::descriptors(pid).expect("/proc shows open descriptors");
        wait_until("no descriptor is on its way", || {
            let (supervisor, worker) = (open(self.supervisor_pid()), open(self.worker_pid()));
            let connections = process::sockets_at(&self.bound);
            let known = |target: &String| supervisor.values().any(|other| other == target);
            let served = worker.values().filter(|target| connections.contains(*target));
            let closers = process::closers(self.supervisor_pid()).len();
            worker.len() == before.worker + closers && served.into_iter().all(known)
        });
    }

    /// Pins every thread of both processes to one processor.
    pub fn pin(&self, processor: usize) {
        for pid in [self.supervisor_pid(), self.worker_pid()] {
            for thread in process::threads(pid) {
                crate::sys::pin(thread, processor).expect("a thread of the daemon is pinned");
            }
        }
    }

    /// Sends a signal to the supervisor and waits until it has ended.
    pub fn end(&mut self, signal: Signal) -> ExitStatus {
        process::signal(self.supervisor_pid(), signal);
        self.ended = true;
        wait_for("the daemon ends", || self.child.try_wait().unwrap())
    }

    /// Waits until it has ended by itself, since another broker took over.
    #[track_caller]
    pub fn is_replaced(&mut self) {
        self.ended = true;
        let status = wait_for("the daemon ends by itself", || self.child.try_wait().unwrap());
        assert!(status.success(), "it ended with {status}: {}", tail(&self.log.text()));
    }

    /// Kills the supervisor, as an accident would. The worker notices, and ends a little later.
    pub fn kill(&mut self) {
        self.end(Signal::KILL);
    }

    /// The same, and waits until the worker has ended: it listens no more, and another broker can.
    pub fn kill_both(&mut self) {
        let worker = self.worker_pid();
        self.kill();
        wait_until("the worker is gone", || process::has_ended(worker));
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if self.ended {
            return;
        }
        if std::thread::panicking() {
            eprintln!("--- the daemon's log, its last lines ---\n{}", tail(&self.log.text()));
            self.child.kill().unwrap();
            self.child.wait().unwrap();
            return;
        }
        let status = self.end(Signal::TERM);
        assert!(status.success(), "the daemon ended with {status}: {}", tail(&self.log.text()));
    }
}

fn tail(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(15)..].join("\n")
}
