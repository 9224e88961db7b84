//! The helper: a process without privilege that makes one connection for the supervisor.
//!
//! It looks the server's name up, connects, logs in, and hands the socket over with a payload that says what it
//! is. A server's bytes are parsed here and nowhere else. A server that takes this process over has one connection,
//! one credential and no right on this machine.
//!
//! It gets one message (its job and the credential), and sends one (an [`Answer`]). It ends then, or when its time
//! is up, or when the supervisor has gone. Only one whose server speaks TLS stays, unless the kernel encrypts: see [`relay`]. Each kind of log-in
//! has a file of its own.

mod another_protocol;
pub(crate) mod answer;
mod connect;
#[cfg(fuzzing)]
pub mod fuzzing;
pub(crate) mod handed;
mod http_proxy;
mod imap;
pub(crate) mod job;
mod line;
mod log_in;
mod mysql;
pub(crate) mod new_connection;
mod patience;
mod postgres;
mod redis;
mod relay;
mod sasl;
mod script;
pub(crate) mod secret;
mod server_sockets;
mod server_words;
mod smtp;
mod socks5;
mod spoken;
mod start_tls;
mod stream;
#[cfg(any(test, fuzzing))]
mod test_server;
mod tls;

use std::io::{self, ErrorKind, IoSlice};
use std::os::fd::{AsFd, OwnedFd};
use std::process::ExitCode;

use fdbroker_policy::ServerAddress;
use fdbroker_wire::connection::{PEER, RELAY};
use fdbroker_wire::{self as wire, ConnectionWriter, Payload};
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::process::{Signal, set_parent_process_death_signal};
use zeroize::Zeroizing;

use crate::child::{self, cannot_go_on};
use crate::sandbox::{self, credentials};
use crate::sys::memory::give_back_unused;
use crate::sys::signal::{end_after, end_no_more};
use crate::transmit::transmit;
use answer::{Answer, Failure, Step};
use connect::Connected;
use handed::Memories;
use job::{Encryption, Job, MAX_JOB};
use new_connection::NewConnection;
use patience::Patience;
use relay::Relay;
use server_sockets::ServerSockets;
use stream::Stream;
use tls::{Handover, TlsSession};

/// Makes one connection.
pub(crate) fn main() -> ExitCode {
    child::report("helper", run())
}

/// What a job comes to.
struct Made {
    /// It does not block.
    socket: OwnedFd,
    payload: Payload,
    /// What encrypts it.
    session: Option<TlsSession>,
}

fn run() -> Result<(), String> {
    let link = child::begin(c"fdbroker-helper")?;
    let (job, memories) = listen(&link)?;
    // The supervisor ends it sooner: this is for a supervisor that has gone while a name is looked up.
    end_after(u32::try_from(job.within.as_secs()).unwrap_or(u32::MAX).saturating_add(1));
    credentials::give_up(job.account).map_err(|error| error.to_string())?;
    // The kernel would take the end of a thread for that of the supervisor. One that stays sees the end of its link.
    if job.tls.is_none() {
        end_with_the_supervisor();
    }
    let patience = Patience::new(link.as_fd(), job.within);
    sandbox::confine_helper(&ports(&job)).map_err(|error| error.to_string())?;
    match serve(&job, memories, patience) {
        Ok(Made { socket, payload, session: None }) => hand_over(&link, &socket, &payload),
        Ok(Made { socket, payload, session: Some(session) }) => {
            stay(&link, socket, &payload, session)
        }
        Err(failure) => answer(&link, &Answer::Failed(failure), None),
    }
}

/// Has the kernel end this process with the one that started it. Where that fails, the alarm does.
fn end_with_the_supervisor() {
    let _ = set_parent_process_death_signal(Some(Signal::KILL));
}

/// Waits for the job, and the memories that come with it.
fn listen(link: &OwnedFd) -> Result<(Job, Vec<OwnedFd>), String> {
    let (bytes, descriptors) = child::first_message(link, MAX_JOB)?;
    let job = Job::from_bytes(&bytes);
    Ok((job.ok_or("it was told no job")?, descriptors))
}

fn ports(job: &Job) -> Vec<u16> {
    let port = |address: &ServerAddress| match address {
        ServerAddress::Tcp { port, .. } => Some(*port),
        ServerAddress::Unix(_) => None,
    };
    job.connect.addresses.iter().filter_map(port).collect()
}

/// Connects, encrypts and logs in, and leaves the encryption to the kernel where that is to be.
fn serve(job: &Job, memories: Vec<OwnedFd>, patience: Patience<'_>) -> Result<Made, Failure> {
    let begins = |error: io::Error| Failure::new(Step::Begin, error.to_string());
    let mut memories = Memories::read(&job.handed, memories).map_err(begins)?;
    let sockets = std::mem::take(&mut memories.sockets);
    let sockets = ServerSockets::of(&job.owners, sockets).map_err(begins)?;
    let connected = connect::connect(&job.connect, &sockets, patience)?;
    drop(sockets);
    let mut stream = Stream::new(&connected.socket, patience);
    if let Some(encryption) = job.tls {
        encrypt(job, encryption, &memories, &connected, &mut stream, patience)?;
    }
    let mut payload = payload(job, &memories, &connected, &mut stream)?;
    let mut early = Zeroizing::new(stream.rest().to_vec());
    let session = stream.take_session();
    drop(stream);
    let (session, relay) = match session {
        None => (None, wire::Relay::Direct),
        Some(session) if job.is_for_kernel() => {
            match tls::hand_over(session, &connected.socket, patience)? {
                Handover::Done(more) => {
                    early.extend_from_slice(&more);
                    (None, wire::Relay::Ktls)
                }
                Handover::Kept(session) => (Some(*session), wire::Relay::Relayed),
            }
        }
        Some(session) => (Some(session), wire::Relay::Relayed),
    };
    payload.add(RELAY, relay.name()).map_err(log_in::too_large)?;
    log_in::add_early(&early, &mut payload)?;
    Ok(Made { socket: connected.socket, payload: payload.finish(), session })
}

/// Encrypts the connection, once the server is asked to where its protocol has a question for that.
fn encrypt(
    job: &Job,
    encryption: Encryption,
    memories: &Memories,
    connected: &Connected,
    stream: &mut Stream<'_>,
    patience: Patience<'_>,
) -> Result<(), Failure> {
    log_in::ask_for_tls(job.connect.auth.as_ref(), encryption.start, stream)?;
    let host = connected.host.as_deref().unwrap_or_default();
    stream.encrypt(tls::connect(encryption, memories, host, &connected.socket, patience)?);
    Ok(())
}

/// Logs in, where the job says how, and returns what the connection is so far.
fn payload(
    job: &Job,
    memories: &Memories,
    connected: &Connected,
    stream: &mut Stream<'_>,
) -> Result<ConnectionWriter, Failure> {
    let Connected { peer, transport, .. } = connected;
    let auth = job.connect.auth.as_ref();
    let protocol = auth.map_or(*transport, |auth| auth.protocol());
    let begun = ConnectionWriter::new(protocol).and_then(|mut writer| {
        writer.add(PEER, peer)?;
        Ok(writer)
    });
    let mut writer = begun.map_err(log_in::too_large)?;
    if let Some(auth) = auth {
        log_in::log_in(auth, memories.password.as_ref(), stream, &mut writer)?;
    }
    Ok(writer)
}

/// Hands the server's own socket over.
fn hand_over(link: &OwnedFd, socket: &OwnedFd, payload: &Payload) -> Result<(), String> {
    // As any resource: it blocks, unless its caller wants something else.
    fcntl_getfl(socket)
        .and_then(|flags| fcntl_setfl(socket, flags - OFlags::NONBLOCK))
        .map_err(|error| cannot_go_on(&error.into()))?;
    answer(link, &Answer::Made(NewConnection::of(payload)), Some(socket))
}

/// Hands one end of a pair over, and passes on what goes over it.
fn stay(
    link: &OwnedFd,
    server: OwnedFd,
    payload: &Payload,
    session: TlsSession,
) -> Result<(), String> {
    let (ours, callers) = relay::pair().map_err(|error| cannot_go_on(&error))?;
    answer(link, &Answer::Relayed(NewConnection::of(payload)), Some(&callers))?;
    drop(callers);
    end_no_more();
    give_back_unused();
    // A connection that fails is the caller's to notice, as one without a relay.
    let _ = Relay::new(session, server, ours).run(link.as_fd());
    Ok(())
}

/// Sends the answer. If the supervisor has gone, nobody waits for it.
fn answer(link: &OwnedFd, answer: &Answer<'_>, socket: Option<&OwnedFd>) -> Result<(), String> {
    let bytes = Zeroizing::new(answer.to_bytes());
    let socket: Vec<_> = socket.iter().map(|socket| socket.as_fd()).collect();
    match transmit(link.as_fd(), &[IoSlice::new(&bytes)], &socket) {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        Err(error) => Err(cannot_go_on(&error)),
    }
}
