//! The helper: a process without privilege that makes one connection for the supervisor.
//!
//! It looks the server's name up, connects, logs in, and hands the socket over with a payload that says what it
//! is. A server's bytes are parsed here and nowhere else. A server that takes this process over has one connection,
//! one credential and no right on this machine.
//!
//! It gets one message (its job and the credential), and sends one (an [`Answer`]). It ends then, or when its time
//! is up, or when the supervisor has gone. Each kind of log-in has a file of its own.

pub(crate) mod answer;
mod connect;
#[cfg(fuzzing)]
pub mod fuzzing;
mod http_proxy;
mod imap;
pub(crate) mod job;
mod line;
mod log_in;
mod mysql;
mod patience;
mod postgres;
mod redis;
mod sasl;
pub(crate) mod secret;
mod server_words;
mod smtp;
mod socks5;
mod stream;
#[cfg(any(test, fuzzing))]
mod test_server;

use std::io::{self, ErrorKind, IoSlice};
use std::os::fd::{AsFd, OwnedFd};
use std::process::ExitCode;

use fdbroker_policy::{Auth, ServerAddress};
use fdbroker_wire::connection::{DIRECT, PEER, RELAY};
use fdbroker_wire::{ConnectionWriter, Payload};
use rustix::event::PollFlags;
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::process::{Signal, set_parent_process_death_signal};

use crate::child;
use crate::look::wait_for;
use crate::sandbox::{self, credentials};
use crate::sys::receive::receive;
use crate::sys::signal::end_after;
use crate::transmit::transmit;
use answer::{Answer, Failure, Step};
use connect::Connected;
use job::{Job, MAX_JOB};
use patience::Patience;
use secret::Secret;
use stream::Stream;

/// Makes one connection.
pub(crate) fn main() -> ExitCode {
    child::report("helper", run())
}

fn run() -> Result<(), String> {
    let link = child::begin(c"fdbroker-helper")?;
    let (job, memory) = listen(&link)?;
    // The supervisor ends it sooner: this is for a supervisor that has gone while a name is looked up.
    end_after(u32::try_from(job.within.as_secs()).unwrap_or(u32::MAX).saturating_add(1));
    credentials::give_up(job.account).map_err(|error| error.to_string())?;
    end_with_the_supervisor();
    let patience = Patience::new(link.as_fd(), job.within);
    sandbox::confine_helper(&ports(&job)).map_err(|error| error.to_string())?;
    match serve(&job, memory, patience) {
        Ok((socket, payload)) => answer(&link, &Answer::Made(&payload), Some(&socket)),
        Err(failure) => answer(&link, &Answer::Failed(failure), None),
    }
}

/// Has the kernel end this process with the one that started it. Where that fails, the alarm does.
fn end_with_the_supervisor() {
    let _ = set_parent_process_death_signal(Some(Signal::KILL));
}

/// Waits for the job, and the memory that the credential is in.
fn listen(link: &OwnedFd) -> Result<(Job, Option<OwnedFd>), String> {
    let mut bytes = vec![0; MAX_JOB];
    let received = loop {
        match receive(link.as_fd(), &mut bytes, |descriptor| descriptor) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                wait_for(link, PollFlags::IN).map_err(|error| failed(&error))?;
            }
            result => break result.map_err(|error| failed(&error))?,
        }
    };
    let job = Job::from_bytes(bytes.get(..received.length).unwrap_or_default());
    Ok((job.ok_or("it was told no job")?, received.descriptors.into_iter().next()))
}

fn failed(error: &io::Error) -> String {
    format!("it cannot go on: {error}")
}

fn ports(job: &Job) -> Vec<u16> {
    let port = |address: &ServerAddress| match address {
        ServerAddress::Tcp { port, .. } => Some(*port),
        ServerAddress::Unix(_) => None,
    };
    job.connect.addresses.iter().filter_map(port).collect()
}

/// Connects and logs in.
fn serve(
    job: &Job,
    memory: Option<OwnedFd>,
    patience: Patience<'_>,
) -> Result<(OwnedFd, Payload), Failure> {
    let begins = |error: io::Error| Failure::new(Step::Begin, error.to_string());
    let secret = memory.as_ref().map(Secret::read).transpose().map_err(begins)?;
    drop(memory);
    let connected = connect::connect(&job.connect, patience)?;
    let payload = payload(job.connect.auth.as_ref(), secret.as_ref(), &connected, patience)?;
    let Connected { socket, .. } = connected;
    // As any resource: it blocks, unless its caller wants something else.
    fcntl_getfl(&socket)
        .and_then(|flags| fcntl_setfl(&socket, flags - OFlags::NONBLOCK))
        .map_err(|error| begins(error.into()))?;
    Ok((socket, payload))
}

/// Logs in, where the job says how, and returns what the connection is.
fn payload(
    auth: Option<&Auth>,
    secret: Option<&Secret>,
    connected: &Connected,
    patience: Patience<'_>,
) -> Result<Payload, Failure> {
    let Connected { socket, peer, transport } = connected;
    let begun =
        ConnectionWriter::new(auth.map_or(*transport, Auth::name)).and_then(|mut writer| {
            writer.add(PEER, peer)?;
            writer.add(RELAY, DIRECT)?;
            Ok(writer)
        });
    let mut writer = begun.map_err(log_in::too_large)?;
    if let Some(auth) = auth {
        log_in::log_in(auth, secret, &mut Stream::new(socket, patience), &mut writer)?;
    }
    Ok(writer.finish())
}

/// Sends the answer. If the supervisor has gone, nobody waits for it.
fn answer(link: &OwnedFd, answer: &Answer<'_>, socket: Option<&OwnedFd>) -> Result<(), String> {
    let bytes = zeroize::Zeroizing::new(answer.to_bytes());
    let socket: Vec<_> = socket.iter().map(|socket| socket.as_fd()).collect();
    match transmit(link.as_fd(), &[IoSlice::new(&bytes)], &socket) {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        Err(error) => Err(failed(&error)),
    }
}
