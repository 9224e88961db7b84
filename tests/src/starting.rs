//! A daemon that is on its way.

use std::io::Read;
use std::time::Duration;

use rustix::process::Signal;

use crate::started::Started;
use crate::{Daemon, happens_within, process};

/// A daemon that is on its way, and may never serve.
#[derive(Debug)]
pub struct Starting(pub(crate) Started);

/// How long a broker may take to end that has been told that another one has everything.
const ENDS: Duration = Duration::from_millis(300);

impl Starting {
    /// Waits until it serves.
    #[track_caller]
    pub fn serves(self) -> Daemon {
        let mut started = self.0;
        let mut ready = String::new();
        started.ready.read_to_string(&mut ready).unwrap();
        if ready != "\n" {
            let status = started.child.wait().unwrap();
            panic!("the daemon is not ready ({status}): {}", started.log.text());
        }
        Daemon::new(started)
    }

    /// The process id of its supervisor.
    pub fn pid(&self) -> u32 {
        self.0.child.id()
    }

    /// Waits until it fails; returns its exit status and what it said.
    #[track_caller]
    pub fn fails(self) -> (i32, String) {
        match self.comes_up() {
            Ok(_) => panic!("the daemon came up, and was not to"),
            Err(failed) => failed,
        }
    }

    /// Waits until it serves, or fails; then returns its exit status and what it said.
    #[track_caller]
    pub fn comes_up(self) -> Result<Daemon, (i32, String)> {
        let mut started = self.0;
        if !crate::sys::readable(&started.ready, crate::PATIENCE) {
            started.child.kill().unwrap();
            started.child.wait().unwrap();
            panic!("the daemon neither came up nor gave up: {}", started.log.text());
        }
        let mut ready = String::new();
        started.ready.read_to_string(&mut ready).unwrap();
        if ready == "\n" {
            return Ok(Daemon::new(started));
        }
        let status = started.child.wait().unwrap();
        Err((status.code().unwrap_or(-1), started.log.text()))
    }

    /// Stops it where it is, and kills it, unless it has taken over from a broker by then: returns it in that case.
    #[track_caller]
    pub fn killed_unless_it_took_over(self, former: u32) -> Option<Daemon> {
        process::signal(self.0.child.id(), Signal::STOP);
        if happens_within(ENDS, || !process::runs(former)) {
            process::signal(self.0.child.id(), Signal::CONT);
            return Some(self.serves());
        }
        let mut child = self.0.child;
        child.kill().unwrap();
        child.wait().unwrap();
        None
    }
}
