//! Opens connections: has a helper make each, with a credential as it is at that moment.

use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use fdbroker_host::Stamp;
use fdbroker_policy::ConnectSource;
use fdbroker_wire::{Errno, Opened};

use super::credential;
use super::failure::OpenFailure;
use crate::helper::answer::{Failure, Step};
use crate::supervisor::workers::helper::Helpers;

/// Opens connections to one server.
pub(crate) struct ConnectOpener {
    connect: ConnectSource,
    /// How long its caller waits.
    within: Duration,
    helpers: Helpers,
}

impl ConnectOpener {
    pub(crate) fn new(connect: &ConnectSource, within: Duration, helpers: Helpers) -> Self {
        Self { connect: connect.clone(), within, helpers }
    }

    /// Returns the stamps of its credentials as they are now.
    pub(crate) fn credentials(&self) -> Vec<Option<Stamp>> {
        self.connect.credentials().map(credential::stamp).collect()
    }

    /// Connects and logs in. Blocks, for as long as its caller waits.
    pub(crate) fn open(&self) -> Result<Opened<OwnedFd>, OpenFailure> {
        let began = Instant::now();
        let credential = self.connect.credentials().next().map(credential::in_memory).transpose();
        let credential = credential.map_err(|text| OpenFailure { errno: Errno::IO, text })?;
        let made = self.helpers.connect(&self.connect, credential.as_ref(), self.within);
        let (socket, payload) = made.map_err(|failure| told(&failure, began.elapsed()))?;
        let too_large =
            || OpenFailure { errno: Errno::IO, text: "its payload is too large".into() };
        Opened::new(socket, Vec::new(), payload).ok_or_else(too_large)
    }
}

/// What the caller is answered, and what the log says.
fn told(failure: &Failure, after: Duration) -> OpenFailure {
    let Failure { step, timed_out, text } = failure;
    let (errno, how) =
        if *timed_out { (Errno::TIMEDOUT, "timed out") } else { (Errno::IO, "failed") };
    let (name, after) = (step.name(), after.as_millis());
    let text = format!("{name} {how} after {after} ms: {text}; {}", cure(*step));
    OpenFailure { errno, text }
}

fn cure(step: Step) -> &'static str {
    match step {
        Step::Lookup => "check the name in `connect` and the resolver (resolv.conf)",
        Step::Connect => "check that the server runs and accepts connections at that address",
        Step::LogIn => "check `auth`, the password and the server's log",
        Step::Begin => "try again; if it stays so, report it",
    }
}
