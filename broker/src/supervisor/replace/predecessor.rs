//! The broker that runs, as one that is to take over from it finds it.
//!
//! Blocking, before the event loop exists. It goes on serving.

use std::io::ErrorKind;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream as StdStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use fdbroker_host::Standing;
use fdbroker_wire::{Decoder, Handover, Limits, Message};
use nix::sys::socket::{getsockopt, sockopt};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with};
use rustix::process::geteuid;

use super::door::beside;
use crate::look::timespec;
use crate::sys::receive::receive;
use crate::transmit::{rest, transmit};

/// How long it may take to answer: at worst, another one is asking at the moment.
const ANSWERS: Duration = Duration::from_secs(10);

/// A broker that agrees to hand over, and what it shares beforehand.
pub(crate) struct Predecessor {
    pub(crate) stream: OwnedFd,
    pub(crate) pid: i32,
    /// Where peers connect.
    pub(crate) path: PathBuf,
    pub(crate) lock: OwnedFd,
    pub(crate) door: OwnedFd,
    /// What this process might do when it began.
    pub(crate) standing: Option<Standing>,
}

/// What it shares.
#[derive(Default)]
struct Shared {
    listener: Option<OwnedFd>,
    lock: Option<OwnedFd>,
    door: Option<OwnedFd>,
}

impl Predecessor {
    /// Asks the broker that listens at a path; returns it, and its listening socket. `None` if none is to be asked there.
    ///
    /// # Errors
    /// Why it does not hand over.
    pub(crate) fn find(
        path: &Path,
        standing: Option<Standing>,
    ) -> Result<Option<(Self, OwnedFd)>, String> {
        let Some(stream) = reach(&beside(path))? else { return Ok(None) };
        let peer = getsockopt(&stream, sockopt::PeerCredentials).map_err(|it| it.to_string())?;
        if peer.uid() != geteuid().as_raw() {
            return Err(format!("user {} listens at {}", peer.uid(), beside(path).display()));
        }
        let version = Handover::<OwnedFd>::VERSION;
        let question = Handover::<OwnedFd>::Ask { version }.into_extended();
        let head = question.head();
        transmit(stream.as_fd(), &rest([&head[..], &question.body[..]], 0), &[])
            .map_err(|error| format!("it cannot be asked: {error}"))?;
        let (listener, lock, door) = shared(&stream)?;
        let (pid, path) = (peer.pid(), path.to_owned());
        Ok(Some((Self { stream, pid, path, lock, door, standing }, listener)))
    }

    /// The connection to it, for the event loop.
    pub(crate) fn stream(&self) -> std::io::Result<StdStream> {
        Ok(StdStream::from(self.stream.try_clone()?))
    }
}

fn reach(path: &Path) -> Result<Option<OwnedFd>, String> {
    let failed = |error: Errno| format!("{}: {error}", path.display());
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None);
    let socket = socket.map_err(failed)?;
    let Ok(address) = SocketAddrUnix::new(path) else { return Ok(None) };
    match connect(&socket, &address) {
        Ok(()) => Ok(Some(socket)),
        Err(Errno::NOENT | Errno::CONNREFUSED) => Ok(None),
        Err(Errno::AGAIN) => Err("others are asking it".to_owned()),
        Err(error) => Err(failed(error)),
    }
}

/// Reads its answer.
fn shared(stream: &OwnedFd) -> Result<(OwnedFd, OwnedFd, OwnedFd), String> {
    let (mut decoder, until) = (Decoder::new(Limits::CONTROL), Instant::now() + ANSWERS);
    let mut shared = Shared::default();
    loop {
        match next(stream, &mut decoder, until)? {
            Handover::Listener(socket) => shared.listener = Some(socket),
            Handover::Lock(file) => shared.lock = Some(file),
            Handover::Door(socket) => shared.door = Some(socket),
            Handover::Refused(why) => return Err(why),
            _ => return Err(NO_ANSWER.to_owned()),
        }
        if let Shared { listener: Some(_), lock: Some(_), door: Some(_) } = shared {
            break;
        }
    }
    let Shared { listener, lock, door } = shared;
    let all = listener.zip(lock).zip(door).map(|((listener, lock), door)| (listener, lock, door));
    all.ok_or_else(|| NO_ANSWER.to_owned())
}

const NO_ANSWER: &str = "it does not answer what it was asked";

fn next(
    stream: &OwnedFd,
    decoder: &mut Decoder<OwnedFd>,
    until: Instant,
) -> Result<Handover<OwnedFd>, String> {
    let mut chunk = [0; 1024];
    loop {
        match decoder.message() {
            Some(Ok(Message::Extended(message))) => {
                return Handover::from_extended(message).map_err(|error| error.to_string());
            }
            Some(Ok(_)) => return Err(NO_ANSWER.to_owned()),
            Some(Err(fault)) => return Err(fault.reason.to_owned()),
            None => {}
        }
        wait(stream, until)?;
        match receive(stream.as_fd(), &mut chunk, std::convert::identity) {
            Ok(received) if received.length == 0 => return Err(GONE.to_owned()),
            Ok(received) => {
                let bytes = chunk.get(..received.length).unwrap_or_default();
                decoder.feed(bytes, received.descriptors, received.truncated);
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) => return Err(error.to_string()),
        }
    }
}

const GONE: &str = "it refuses, or has just ended: its log says why";

fn wait(stream: &OwnedFd, until: Instant) -> Result<(), String> {
    let left = timespec(until.saturating_duration_since(Instant::now()));
    match poll(&mut [PollFd::new(stream, PollFlags::IN)], Some(&left)) {
        Ok(0) => Err(format!("it has not answered for {} s", ANSWERS.as_secs())),
        Ok(_) | Err(Errno::INTR) => Ok(()),
        Err(error) => Err(error.to_string()),
    }
}
