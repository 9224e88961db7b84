//! One process of a program that is upgraded, led by the hand: what it does with its `Upgrader` is
//! what the test says, step by step (`tests/examples/upgrader.rs`).

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::Duration;

use rustix::process::Signal;

use crate::{Daemon, PATIENCE, binaries, process, wait_until};

/// A process with an upgrader of a tag. Killed when dropped.
#[derive(Debug)]
pub struct Instance {
    child: Child,
    input: ChildStdin,
    answers: Receiver<String>,
    tag: i16,
}

impl Instance {
    /// A process that has done nothing yet.
    pub fn new(daemon: &Daemon, tag: i16) -> Self {
        let mut command = Command::new(binaries::example("upgrader"));
        command.env("FDBROKER_SOCKET", daemon.socket());
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("the program can be executed");
        let input = child.stdin.take().expect("its input is a pipe");
        let output = child.stdout.take().expect("its output is a pipe");
        let (heard, answers) = channel();
        std::thread::spawn(move || listen(output, &heard));
        Self { child, input, answers, tag }
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Gives it a command, and does not wait until it is done.
    pub fn tell(&mut self, command: &str) {
        writeln!(self.input, "{command}").expect("the process lives");
    }

    /// Has it claim its tag, live or quiesced; does not wait for its turn.
    pub fn starts(&mut self, mode: &str) {
        self.starts_within(mode, PATIENCE, PATIENCE);
    }

    /// The same, where it has to be ready in time, or is to wait so long for its turn.
    pub fn starts_within(&mut self, mode: &str, timeout: Duration, patience: Duration) {
        let (timeout, patience) = (timeout.as_millis(), patience.as_millis());
        self.tell(&format!("start {} {mode} {timeout} {patience}", self.tag));
    }

    /// Waits for its answer to the first command that it has not answered yet.
    #[track_caller]
    pub fn answer(&self) -> String {
        match self.answers.recv_timeout(PATIENCE * 2) {
            Ok(answer) => answer,
            Err(RecvTimeoutError::Timeout) => panic!("the process does not answer"),
            Err(RecvTimeoutError::Disconnected) => panic!("the process has ended"),
        }
    }

    /// Whether it answers within a time; the answer is gone then.
    pub fn is_answered(&self, within: Duration) -> bool {
        self.answers.recv_timeout(within).is_ok()
    }

    /// Gives it a command, and waits for the answer.
    #[track_caller]
    pub fn ask(&mut self, command: &str) -> String {
        self.tell(command);
        self.answer()
    }

    /// Gives it a command that must be answered by this.
    #[track_caller]
    pub fn must(&mut self, command: &str, expected: &str) {
        assert_eq!(self.ask(command), expected, "{command:?}");
    }

    /// The process must answer what it was told by this.
    #[track_caller]
    pub fn answers(&self, expected: &str) {
        assert_eq!(self.answer(), expected);
    }

    /// Gives it a command that must fail with this error.
    #[track_caller]
    pub fn fails(&mut self, command: &str, error: &str) {
        let answer = self.ask(command);
        assert!(answer.starts_with(&format!("error {error}: ")), "{command:?}: {answer}");
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        process::signal(self.pid(), signal);
    }

    /// Kills it, and waits until it is gone.
    #[track_caller]
    pub fn kill(mut self) {
        self.signal(Signal::KILL);
        wait_until("the killed process is gone", || self.child.try_wait().unwrap().is_some());
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        if self.child.try_wait().unwrap().is_none() {
            self.child.kill().unwrap();
            self.child.wait().unwrap();
        }
    }
}

fn listen(output: ChildStdout, heard: &Sender<String>) {
    for line in BufReader::new(output).lines() {
        let Ok(line) = line else { return };
        if heard.send(line).is_err() {
            return;
        }
    }
}
