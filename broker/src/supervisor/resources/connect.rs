//! Opens connections: has a helper make each, with credentials and certificates as they are at that moment.

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::{Duration, Instant};

use fdbroker_host::{ServerSocket, Stamp, server_socket};
use fdbroker_policy::{Auth, ConnectSource, ServerAddress, Tls, Uid};
use fdbroker_types::quoted;
use fdbroker_wire::connection::OUTPUT;
use fdbroker_wire::{Errno, MAX_PAYLOAD, Opened, Payload, named};
use rustix::process::geteuid;

use super::failure::OpenFailure;
use super::{certificates, credential};
use crate::helper::answer::{Failure, Step};
use crate::helper::handed::Handed;
use crate::helper::job::SocketOwners;
use crate::payer::Payer;
use crate::supervisor::workers::abandonment::Abandonment;
use crate::supervisor::workers::charges::{Account, Charge, FEW};
use crate::supervisor::workers::helper::{Helpers, Made, margin};
use crate::supervisor::workers::relays::RelayPlace;

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

    /// Charges a user with the relay that a connection needs, if it needs one and the user may have another. One that
    /// has ended counts until it is reaped.
    pub(crate) fn charge(&self, user: Payer) -> Option<Charge> {
        self.is_relayed().then(|| self.helpers.relays().charge(Account::User(user)))?
    }

    /// Charges a user who has not been charged, after a look at which relays have ended. Can block.
    ///
    /// # Errors
    /// If the user may have no further one.
    pub(crate) fn charged(
        &self,
        user: Payer,
        charge: Option<Charge>,
    ) -> Result<Option<Charge>, OpenFailure> {
        if !self.is_relayed() || charge.is_some() {
            return Ok(charge);
        }
        let relays = self.helpers.relays();
        let charge = relays.charge_after_look(Account::User(user));
        charge.map(Some).ok_or_else(|| {
            let most = relays.most_of_a_user();
            busy(format!("user {user} has {most} connections with TLS, and no user may have more"))
        })
    }

    /// Whether each connection needs a relay.
    pub(crate) fn is_relayed(&self) -> bool {
        self.connect.tls.is_some()
    }

    /// One that was ready is handed out, to whom this charges.
    pub(crate) fn is_handed_out(&self, opened: &Opened<OwnedFd>, charge: Charge) {
        self.helpers.relays().is_handed_out(opened.descriptor(), charge);
    }

    /// Connects and logs in, for a user who has been charged, or else to be ready. Blocks, for as long as a caller
    /// waits, or until it is abandoned.
    pub(crate) fn open(
        &self,
        charge: Option<Charge>,
        abandonment: &Abandonment,
    ) -> Result<Opened<OwnedFd>, OpenFailure> {
        let began = Instant::now();
        let place = self.place(charge)?;
        let failed = |text| OpenFailure { errno: Errno::IO, text };
        let mut handed = self.handed().map_err(failed)?;
        let (owners, sockets) = self.server_sockets().map_err(failed)?;
        handed.extend(sockets.into_iter().map(|socket| (Handed::Socket, socket)));
        let made = self
            .helpers
            .connect(&self.connect, (&handed, owners), place, (self.within, abandonment))
            .and_then(|made| self.have_program_log_in(made, (began, abandonment)));
        let Made { descriptor, payload, described } =
            made.map_err(|failure| told(&failure, began.elapsed()))?;
        let too_large =
            || OpenFailure { errno: Errno::IO, text: "its payload is too large".into() };
        let opened = Opened::new(descriptor, Vec::new(), payload).ok_or_else(too_large)?;
        Ok(opened.connected(described))
    }

    /// Returns the place of its relay, if it needs one.
    fn place(&self, charge: Option<Charge>) -> Result<Option<RelayPlace>, OpenFailure> {
        if !self.is_relayed() {
            return Ok(None);
        }
        let relays = self.helpers.relays();
        let charge = charge.or_else(|| relays.charge_after_look(Account::Ready));
        let place = charge.and_then(|charge| relays.place(charge));
        place.map(Some).ok_or_else(|| no_place(relays.kept()))
    }

    /// Has the program log in on a connection, where the log-in is a program's, and adds what it wrote to the payload.
    fn have_program_log_in(
        &self,
        made: Made,
        (began, abandonment): (Instant, &Abandonment),
    ) -> Result<Made, Failure> {
        let Some(Auth::Program(auth)) = &self.connect.auth else { return Ok(made) };
        let password = auth.password.as_ref().map(credential::in_memory).transpose();
        let password = password.map_err(|text| Failure::new(Step::Begin, text))?;
        let until = began + self.within.saturating_sub(margin(self.within));
        let (socket, password) = (&made.descriptor, password.as_ref());
        let output =
            self.helpers.have_program_log_in(auth, socket, password, (until, abandonment))?;
        Ok(Made { payload: with_output(made.payload, &output)?, ..made })
    }

    /// Returns each socket that is sent a password, in the order of their paths, and who owns it, if no others could have
    /// made it. The helper connects to no other, and to none that is not there yet.
    fn server_sockets(&self) -> Result<(SocketOwners, Vec<OwnedFd>), String> {
        if self.connect.password().is_none() {
            return Ok(Default::default());
        }
        let own = Uid(geteuid().as_raw());
        let socket = |address: &ServerAddress| match address {
            ServerAddress::Unix(path) => {
                let socket = server_socket(Path::new(path), own);
                let socket = socket.map(|socket| (path.clone(), socket));
                Some(socket.map_err(|fault| format!("{}: {fault}", quoted(path))))
            }
            ServerAddress::Tcp { .. } => None,
        };
        let judged = self.connect.addresses.iter().filter_map(socket);
        let judged = judged.collect::<Result<BTreeMap<_, _>, String>>()?;
        let owner = |socket: &Option<ServerSocket>| socket.as_ref().map(|socket| socket.owner.0);
        let owners = judged.iter().map(|(path, socket)| (path.clone(), owner(socket))).collect();
        Ok((owners, judged.into_values().flatten().map(|judged| judged.socket).collect()))
    }

    /// Returns what the helper is handed beside its job. The password of a program is the program's alone.
    fn handed(&self) -> Result<Vec<(Handed, OwnedFd)>, String> {
        let mut handed = Vec::new();
        let is_programs = matches!(&self.connect.auth, Some(Auth::Program(_)));
        if let Some(password) = self.connect.password().filter(|_| !is_programs) {
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

fn with_output(payload: Payload, output: &[u8]) -> Result<Payload, Failure> {
    if output.is_empty() {
        return Ok(payload);
    }
    let mut bytes = payload.to_vec();
    let fits = bytes.len() + named::size(OUTPUT, output) <= MAX_PAYLOAD;
    if fits && named::push(&mut bytes, OUTPUT, output).is_ok() {
        return Ok(bytes.into());
    }
    Err(Failure::new(Step::LogIn, "what the program writes does not fit into the payload"))
}

fn busy(text: String) -> OpenFailure {
    OpenFailure { errno: Errno::BUSY, text }
}

fn no_place(last: usize) -> OpenFailure {
    busy(format!(
        "there are as many connections with TLS as may be (`relays` of `fdbroker status`); the last {last} are for \
         users who have fewer than {FEW}"
    ))
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
