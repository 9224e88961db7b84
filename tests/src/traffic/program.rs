//! One of the processes, as a test has it: here, or in a service manager of the test's own.

use std::io::{BufRead, BufReader, Write};
use std::os::fd::OwnedFd;
use std::process::{Child, ChildStdout, Command, Stdio};

use rustix::process::Signal;
use serde::de::DeserializeOwned;

use crate::binaries::{binaries, copy_program};
use crate::systemd::ServiceManager;
use crate::{PATIENCE, process, sys, wait_for};

/// Where it is in a service manager.
const INSIDE: &str = "/usr/local/bin/fdbroker-test-traffic";
/// Whom it is there: a user of the system, whose descriptors every service manager keeps.
const USER: [&str; 3] = ["--reuid=1", "--regid=1", "--clear-groups"];

/// A process that does what it is told; killed when dropped.
#[derive(Debug)]
pub struct Program {
    child: Child,
    pid: u32,
    tells: OwnedFd,
    says: BufReader<ChildStdout>,
}

impl Program {
    /// One that runs here.
    #[track_caller]
    pub fn start(arguments: &[&str]) -> Self {
        let mut command = Command::new(&binaries().traffic);
        command.args(arguments);
        let child = spawn(&mut command);
        let pid = child.id();
        Self::new(child, pid)
    }

    /// One that runs in a service manager, as another user than root.
    #[track_caller]
    pub fn within(manager: &ServiceManager, arguments: &[&str]) -> Self {
        if !manager.path(INSIDE).exists() {
            copy_program(&binaries().traffic, &manager.path(INSIDE));
            manager.succeed(&["chmod", "755", INSIDE]);
        }
        let mut command = Command::new("nsenter");
        command.args(["--all", "--root", "--wd", "--target", &manager.init().to_string(), "--"]);
        command.arg("setpriv").args(USER).arg(INSIDE).args(arguments);
        let child = spawn(&mut command);
        let pid = wait_for("nsenter starts it", || process::children(child.id()).first().copied());
        Self::new(child, pid)
    }

    fn new(mut child: Child, pid: u32) -> Self {
        let tells = child.stdin.take().expect("it is piped").into();
        let says = BufReader::new(child.stdout.take().expect("it is piped"));
        Self { child, pid, tells, says }
    }

    /// Tells it something; returns its answer.
    #[track_caller]
    pub fn ask<T: DeserializeOwned>(&mut self, order: &str) -> T {
        self.tell(order);
        self.answer()
    }

    /// Tells it something.
    #[track_caller]
    pub fn tell(&mut self, order: &str) {
        let mut tells = std::fs::File::from(self.tells.try_clone().unwrap());
        writeln!(tells, "{order}").expect("it listens");
    }

    /// What it says next.
    #[track_caller]
    pub fn answer<T: DeserializeOwned>(&mut self) -> T {
        let speaks = !self.says.buffer().is_empty() || sys::readable(self.says.get_ref(), PATIENCE);
        assert!(speaks, "process {} says nothing", self.pid);
        let mut line = String::new();
        self.says.read_line(&mut line).expect("it speaks");
        assert!(!line.is_empty(), "process {} has ended", self.pid);
        serde_json::from_str(&line).expect("it says what it was asked")
    }

    /// Waits until it has ended by itself.
    #[track_caller]
    pub fn ends(mut self) {
        let status = wait_for("it ends", || self.child.try_wait().unwrap());
        assert!(status.success(), "process {} ended with {status}", self.pid);
    }

    /// Kills it, and waits until it is gone.
    pub fn kill(self) {
        drop(self);
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            process::signal(self.pid, Signal::KILL);
            // It has ended in any case.
            let _ = self.child.wait();
        }
    }
}

fn spawn(command: &mut Command) -> Child {
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    command.spawn().expect("it starts")
}
