//! A program of `examples/`, run as a reader would run it: pointed at a daemon, and listened to.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};

use rustix::process::Signal;

use crate::{Daemon, binaries, process, wait_for};

/// How each of them begins the line by which it tells that it serves.
const LISTENING: &str = "listening on ";
/// Any port of this machine's own.
const ANY_PORT: &str = "127.0.0.1:0";

/// A running example. Killed when dropped.
#[derive(Debug)]
pub struct Example {
    child: Child,
    said: Arc<Mutex<Vec<String>>>,
}

impl Example {
    /// Starts one on any port, and waits until it serves.
    #[track_caller]
    pub fn start(daemon: &Daemon, name: &str) -> Self {
        let example = Self::spawn(daemon, name, &[ANY_PORT]);
        example.address();
        example
    }

    /// Starts one, and waits for nothing.
    pub fn spawn(daemon: &Daemon, name: &str, arguments: &[&str]) -> Self {
        let mut command = Command::new(binaries::for_readers(name));
        command.args(arguments).env("FDBROKER_SOCKET", daemon.socket());
        command.stdin(Stdio::null()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("the example can be executed");
        let said = Arc::new(Mutex::new(Vec::new()));
        let output = child.stdout.take().expect("its output is a pipe");
        std::thread::spawn({
            let said = said.clone();
            move || listen(output, &said)
        });
        Self { child, said }
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The lines that it has said.
    pub fn said(&self) -> Vec<String> {
        self.said.lock().unwrap().clone()
    }

    /// Waits for a line that begins like this; returns the rest of it.
    #[track_caller]
    pub fn says(&self, begin: &str) -> String {
        wait_for(&format!("the example says {begin:?}"), || {
            let said = self.said.lock().unwrap();
            said.iter().find_map(|line| line.strip_prefix(begin)).map(str::to_owned)
        })
    }

    /// Where it listens; waits until it does.
    #[track_caller]
    pub fn address(&self) -> SocketAddr {
        let rest = self.says(LISTENING);
        rest.split([',', ' ']).next().unwrap().parse().unwrap()
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        process::signal(self.pid(), signal);
    }

    /// Kills it as nothing can prevent, and waits until it is gone.
    #[track_caller]
    pub fn kill(mut self) {
        self.signal(Signal::KILL);
        self.ends();
    }

    /// Whether it has ended.
    pub fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    /// Waits until it ends.
    #[track_caller]
    pub fn ends(&mut self) -> ExitStatus {
        wait_for("the example ends", || self.child.try_wait().unwrap())
    }
}

impl Drop for Example {
    fn drop(&mut self) {
        if !self.has_ended() {
            self.child.kill().unwrap();
            self.child.wait().unwrap();
        }
    }
}

fn listen(output: ChildStdout, said: &Mutex<Vec<String>>) {
    for line in BufReader::new(output).lines() {
        let Ok(line) = line else { return };
        said.lock().unwrap().push(line);
    }
}
