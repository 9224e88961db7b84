//! A process of a program that hands on what it has to its successor: see the program
//! `fdbroker-test-upgrader`, which each of these is.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Duration;

use rustix::process::Signal;

use crate::binaries::binaries;
use crate::{Daemon, Ids, PATIENCE, process, sys};

/// A process with an upgrader of tag 10. Is killed when dropped.
#[derive(Debug)]
pub struct UpgradedProcess {
    child: Child,
    orders: ChildStdin,
    answers: Receiver<String>,
}

impl UpgradedProcess {
    /// A process that has not started its upgrader.
    pub fn new() -> Self {
        Self::run(Command::new(&binaries().upgrader))
    }

    /// The same of another user. Only for root.
    pub fn of_user(uid: u32) -> Self {
        let mut command = Command::new(&binaries().upgrader);
        sys::become_before(&mut command, Ids::plain(uid));
        Self::run(command)
    }

    fn run(mut command: Command) -> Self {
        let command = command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let (orders, output) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        let (sender, answers) = channel();
        std::thread::spawn(move || {
            let lines = BufReader::new(output).lines().map_while(Result::ok);
            lines.map(|line| sender.send(line)).find(Result::is_err)
        });
        Self { child, orders, answers }
    }

    /// One that has started it, with options: `live`, `quiesced`, `timeout=MS`, ….
    #[track_caller]
    pub fn started(daemon: &Daemon, options: &str) -> Self {
        let mut new = Self::new();
        new.begin(daemon, options);
        new.answer();
        new
    }

    /// One that serves, with something stored.
    #[track_caller]
    pub fn serving(daemon: &Daemon) -> Self {
        let mut new = Self::started(daemon, "live");
        new.ask("store what it-was");
        new.ask("ready");
        new
    }

    /// Has it start its upgrader; does not wait until it has.
    pub fn begin(&mut self, daemon: &Daemon, options: &str) {
        self.order(&format!("start {} {options}", daemon.socket().display()));
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Has it do something that has to succeed; returns its answer.
    #[track_caller]
    pub fn ask(&mut self, order: &str) -> String {
        self.order(order);
        self.answer()
    }

    /// Has it do something that has to fail; returns which error it is.
    #[track_caller]
    pub fn fails(&mut self, order: &str) -> String {
        self.order(order);
        self.failure()
    }

    /// Tells it to do something; does not wait for it.
    pub fn order(&mut self, order: &str) {
        writeln!(self.orders, "{order}").expect("the process lives");
    }

    /// Returns the answer to an order that had to succeed.
    #[track_caller]
    pub fn answer(&mut self) -> String {
        let line = self.line();
        line.strip_prefix("ok ").unwrap_or_else(|| panic!("{line}")).to_owned()
    }

    /// Returns the error of an order that had to fail.
    #[track_caller]
    pub fn failure(&mut self) -> String {
        let line = self.line();
        let error = line.strip_prefix("error ").unwrap_or_else(|| panic!("{line}"));
        error.split(' ').next().unwrap_or_default().to_owned()
    }

    /// Whether it has nothing to say for so long.
    pub fn is_silent(&mut self, meanwhile: Duration) -> bool {
        self.answers.recv_timeout(meanwhile) == Err(RecvTimeoutError::Timeout)
    }

    /// Kills it, and waits until it is gone.
    pub fn kill(&mut self) {
        process::signal(self.pid(), Signal::KILL);
        self.child.wait().unwrap();
    }

    /// Stops it, so that it does nothing, or has it go on.
    pub fn signal(&self, signal: Signal) {
        process::signal(self.pid(), signal);
    }

    #[track_caller]
    fn line(&mut self) -> String {
        self.answers.recv_timeout(PATIENCE).expect("an answer of the process")
    }
}

impl Default for UpgradedProcess {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for UpgradedProcess {
    fn drop(&mut self) {
        self.kill();
    }
}
