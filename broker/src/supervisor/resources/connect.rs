//! Opens connections: has a helper make each, with credentials and certificates as they are at that moment.

use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use fdbroker_host::Stamp;
use fdbroker_policy::{ConnectSource, Tls, Uid};
use fdbroker_wire::{Errno, Opened};

use super::failure::OpenFailure;
use super::{certificates, credential};
use crate::helper::answer::{Failure, Step};
use crate::helper::handed::Handed;
use crate::supervisor::workers::helper::Helpers;
use crate::supervisor::workers::relays::MOST_OF_A_USER;

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

    /// Returns the stamps of its credentials and certificates as they are now.
    pub(crate) fn credentials(&self) -> Vec<Option<Stamp>> {
        let files =
            self.connect.tls.as_deref().into_iter().flat_map(Tls::files).map(certificates::stamp);
        self.connect.credentials().map(credential::stamp).chain(files).collect()
    }

    /// Returns why this user may have no further one, or `None`.
    pub(crate) fn refusal(&self, user: Uid) -> Option<OpenFailure> {
        let is_relayed = self.connect.tls.is_some();
        (is_relayed && self.helpers.relays().has_its_part(user)).then(|| {
            busy(format!(
                "user {user} has {MOST_OF_A_USER} connections with TLS, and no user may have more"
            ))
        })
    }

    /// What it has opened is handed to this user.
    pub(crate) fn is_handed_to(&self, user: Uid, opened: &Opened<OwnedFd>) {
        if self.connect.tls.is_some() {
            self.helpers.relays().is_handed_to(user, opened.descriptor());
        }
    }

    /// Connects and logs in. Blocks, for as long as its caller waits.
    pub(crate) fn open(&self) -> Result<Opened<OwnedFd>, OpenFailure> {
        let began = Instant::now();
        let handed = self.handed().map_err(|text| OpenFailure { errno: Errno::IO, text })?;
        let place = match &self.connect.tls {
            Some(_) => Some(self.helpers.relays().place().ok_or_else(no_place)?),
            None => None,
        };
        let made = self.helpers.connect(&self.connect, &handed, place, self.within);
        let (socket, payload) = made.map_err(|failure| told(&failure, began.elapsed()))?;
        let too_large =
            || OpenFailure { errno: Errno::IO, text: "its payload is too large".into() };
        Opened::new(socket, Vec::new(), payload).ok_or_else(too_large)
    }

    /// Returns what the helper is handed beside its job.
    fn handed(&self) -> Result<Vec<(Handed, OwnedFd)>, String> {
        let mut handed = Vec::new();
        if let Some(password) = self.connect.password() {
            handed.push((Handed::Password, credential::in_memory(password)?));
        }
        let Some(tls) = &self.connect.tls else { return Ok(handed) };
        handed.push((Handed::Authorities, certificates::in_memory(&tls.ca)?));
        if let Some(client) = &tls.client {
            handed.push((Handed::Certificate, certificates::in_memory(&client.chain)?));
            handed.push((Handed::Key, credential::in_memory(&client.key)?));
        }
        Ok(handed)
    }
}

fn busy(text: String) -> OpenFailure {
    OpenFailure { errno: Errno::BUSY, text }
}

fn no_place() -> OpenFailure {
    busy("there are as many connections with TLS as may be; `relays` of `fdbroker status`".into())
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
        Step::Tls => "check `tls`, the server's certificate and its log",
        Step::LogIn => "check `auth`, the password and the server's log",
        Step::Begin => "try again; if it stays so, report it",
    }
}
