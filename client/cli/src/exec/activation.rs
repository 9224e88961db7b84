//! Descriptors that are handed to a program as socket activation does it: sd_listen_fds(3).
//!
//! The program takes the place of this process. So LISTEN_PID is this process's own id, and a
//! parent that waits for this process, or signals it, reaches the program.

use std::ffi::OsString;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::process::CommandExt;
use std::process::Command;

use fdbroker::{Broker, Connection, Slot};
use fdbroker_types::quoted;
use rustix::io::{Errno, FdFlags, fcntl_dupfd_cloexec, fcntl_setfd};

use super::lost_listener;
use super::relay::Protocol;
use crate::failure::Failure;
use crate::terminal;

/// How similar two words are of which one is taken for the other: as clap has it for options.
const SIMILAR: f64 = 0.7;

/// The first descriptor that is passed on: SD_LISTEN_FDS_START.
const FIRST: RawFd = 3;

/// A slot whose descriptor is passed on.
pub(super) struct Passed<'a> {
    pub(super) slot: Slot,
    /// As the command line calls the slot.
    pub(super) given: &'a str,
    /// What the descriptor is called: another name than the slot's only if somebody chose it.
    pub(super) name: &'a str,
}

/// Runs the program; returns only if that fails.
pub(super) fn run(
    broker: Broker,
    wanted: &[Passed<'_>],
    program: &OsString,
    arguments: &[OsString],
) -> Failure {
    let names: Vec<_> = wanted.iter().map(|passed| passed.name).collect();
    let passed = match fetch(broker, wanted).map(place) {
        Ok(Ok(passed)) => passed,
        Ok(Err(error)) => return Failure::local("exec: passing descriptors on", error),
        Err(failure) => return failure,
    };
    let source = Command::new(program)
        .args(arguments)
        .env("LISTEN_PID", std::process::id().to_string())
        .env("LISTEN_FDS", passed.len().to_string())
        .env("LISTEN_FDNAMES", names.join(":"))
        .env_remove("LISTEN_PIDFDID")
        .exec();
    Failure::NotRun { program: program.to_string_lossy().into_owned(), source }
}

/// Gets all of them, or none; the connection ends here, so that its number is free again.
fn fetch(mut broker: Broker, wanted: &[Passed<'_>]) -> Result<Vec<OwnedFd>, Failure> {
    wanted.iter().map(|passed| fetch_one(&mut broker, passed)).collect()
}

fn fetch_one(broker: &mut Broker, passed: &Passed<'_>) -> Result<OwnedFd, Failure> {
    let slot = passed.slot;
    let got = broker.get(slot)?;
    let relay = if passed.is_named() {
        meant_for_a_relay(&got.payload, passed.name)
    } else {
        could_be_relayed(&got.payload, passed.given)
    };
    let lost = got.descriptor.as_ref().and_then(lost_listener::note);
    for note in [relay, has_early_bytes(&got.payload), lost].into_iter().flatten() {
        terminal::complain(format_args!("exec: note: {slot}: {note}"));
    }
    got.descriptor.ok_or_else(|| {
        Failure::Local(format!(
            "exec: slot {slot} holds a payload and no descriptor; see it with: fdbroker get {slot}"
        ))
    })
}

impl Passed<'_> {
    /// Whether the command line names the descriptor.
    fn is_named(&self) -> bool {
        self.name != self.given.replace('/', ".")
    }
}

/// Says that a program that connects by itself does not find the connection: it gets a descriptor.
fn could_be_relayed(payload: &[u8], given: &str) -> Option<String> {
    let protocol = Connection::parse(payload)?.protocol();
    Protocol::named(protocol)?;
    Some(format!(
        "the connection speaks {protocol}, and the program gets it as a descriptor; for a program that connects by \
         itself, write {given}={protocol}; for one that takes the descriptor, name that, such as {given}=session"
    ))
}

/// Says that the name of a descriptor reads like the protocol of its connection, and is only a name.
fn meant_for_a_relay(payload: &[u8], name: &str) -> Option<String> {
    let protocol = Connection::parse(payload)?.protocol();
    if strsim::jaro(protocol, &name.to_ascii_lowercase()) < SIMILAR {
        return None;
    }
    let instead = match Protocol::named(protocol) {
        Some(_) => format!("for a relay, write ={protocol}"),
        None => format!("there is no relay for {}", quoted(protocol)),
    };
    Some(format!("{} is only the name of its descriptor; {instead}", quoted(name)))
}

/// Says that the server has spoken already: the program gets the descriptor, and no payload.
fn has_early_bytes(payload: &[u8]) -> Option<String> {
    let early = Connection::parse(payload)?.early().len();
    (early > 0).then(|| {
        format!(
            "the program does not get the first {early} bytes of the server, which are `early` in the payload: \
             see `fdbroker get --json`"
        )
    })
}

/// Moves the descriptors to the numbers from [`FIRST`] on, and lets only these survive an exec.
///
/// What else was open under those numbers was inherited, for nothing of this process is left
/// open there but what is moved; it is closed.
fn place(descriptors: Vec<OwnedFd>) -> io::Result<Vec<OwnedFd>> {
    let end = FIRST + RawFd::try_from(descriptors.len()).map_err(|_| Errno::MFILE)?;
    let aside: Vec<OwnedFd> =
        descriptors.iter().map(|one| fcntl_dupfd_cloexec(one, end)).collect::<Result<_, _>>()?;
    drop(descriptors);
    (FIRST..end).zip(&aside).map(|(number, one)| place_one(one, number)).collect()
}

fn place_one(descriptor: &OwnedFd, number: RawFd) -> io::Result<OwnedFd> {
    match nix::unistd::close(number) {
        Ok(()) | Err(nix::errno::Errno::EBADF | nix::errno::Errno::EINTR) => {}
        Err(error) => return Err(error.into()),
    }
    let placed = fcntl_dupfd_cloexec(descriptor, number)?;
    if placed.as_raw_fd() != number {
        return Err(io::Error::other(format!("descriptor {number} is taken")));
    }
    fcntl_setfd(&placed, FdFlags::empty())?;
    Ok(placed)
}
