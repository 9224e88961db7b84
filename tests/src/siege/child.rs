//! One user's process.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::process::{ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};

use super::Results;
use crate::binaries::binaries;
use crate::{Daemon, Ids, sys};

/// Ends, with all that it started, when dropped.
pub(super) struct Child {
    child: std::process::Child,
    tells: ChildStdin,
    says: BufReader<ChildStdout>,
}

impl Child {
    /// Starts the program of the load in a role.
    pub(super) fn start(
        daemon: &Daemon,
        role: &str,
        ids: &Ids,
        connections: usize,
        every: Duration,
    ) -> Self {
        let mut command = Command::new(&binaries().load);
        command.arg(role).arg(daemon.socket());
        command.arg(connections.to_string()).arg(every.as_millis().to_string());
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).process_group(0);
        if crate::is_root() {
            sys::become_before(&mut command, ids.clone());
        }
        let mut child = command.spawn().expect("the program of the load starts");
        let tells = child.stdin.take().expect("it is piped");
        let says = BufReader::new(child.stdout.take().expect("it is piped"));
        Self { child, tells, says }
    }

    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits until it has connected.
    pub(super) fn is_ready(&mut self) {
        assert_eq!(self.line(), "ready\n", "a user of the load is not ready");
    }

    /// What was seen so far does not count.
    pub(super) fn begin(&mut self) {
        self.tells.write_all(b"begin\n").expect("it listens");
    }

    /// What it has seen since, once everything that it asked has been answered.
    pub(super) fn results(&mut self) -> Results {
        self.tells.write_all(b"tell\n").expect("it listens");
        serde_json::from_str(&self.line()).expect("it tells what it saw")
    }

    /// Whether it is still at it.
    pub(super) fn goes_on(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.says.read_line(&mut line).expect("it speaks");
        line
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        let group = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        if let Some(group) = group {
            // It may have ended by itself.
            let _ = kill_process_group(group, Signal::KILL);
        }
        let _ = self.child.wait();
    }
}
