//! The broker that runs, as one that is to take over from it finds it.
//!
//! Blocking, before the event loop exists. It goes on serving.

use std::io::ErrorKind;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use fdbroker_host::Standing;
use fdbroker_wire::{Decoder, Handover, Limits, Message};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with};
use rustix::process::{Pid, geteuid};

use super::door::beside;
use super::process::BrokerProcess;
use super::room::has_room_for;
use super::shown::name_of;
use crate::fd::table;
use crate::look::timespec;
use crate::sys::receive::receive;
use crate::transmit::{rest, transmit};

/// How long it may take to answer: at worst, another one is asking at the moment.
const ANSWERS: Duration = Duration::from_secs(10);

/// A broker that agrees to hand over.
pub(crate) struct Predecessor {
    pub(crate) stream: OwnedFd,
    pub(crate) process: BrokerProcess,
    /// Where peers connect.
    pub(crate) path: PathBuf,
    /// What that broker calls what it has shown.
    pub(crate) name: String,
    /// What this process might do when it began.
    pub(crate) standing: Option<Standing>,
}

impl Predecessor {
    /// Asks the broker that listens at a path. `None` if none is to be asked there.
    ///
    /// # Errors
    /// Why it does not hand over, or why it would be in vain.
    pub(crate) fn find(
        path: &Path,
        standing: Option<Standing>,
    ) -> Result<Option<Self>, NotReplaced> {
        let failed = |why: String| NotReplaced { why, has_ended: false };
        let Some(stream) = reach(&beside(path)).map_err(failed)? else { return Ok(None) };
        let process = BrokerProcess::of(&stream).map_err(failed)?;
        if process.uid().0 != geteuid().as_raw() {
            let door = beside(path);
            return Err(failed(format!("user {} listens at {}", process.uid().0, door.display())));
        }
        let name = is_let_in(&stream, process.pid());
        let name = name.map_err(|why| NotReplaced { why, has_ended: process.is_ending() })?;
        Ok(Some(Self { stream, process, path: path.to_owned(), name, standing }))
    }
}

/// Why a broker was not replaced.
#[derive(Debug)]
pub(crate) struct NotReplaced {
    pub(crate) why: String,
    /// Whether that broker has ended in the meantime.
    pub(crate) has_ended: bool,
}

/// Asks whether it hands over; returns the name of what it shows.
fn is_let_in(stream: &OwnedFd, pid: i32) -> Result<String, String> {
    let pid = Pid::from_raw(pid).ok_or("it is in another namespace of processes")?;
    let version = Handover::<OwnedFd>::VERSION;
    let question = Handover::<OwnedFd>::Ask { version }.into_extended();
    let head = question.head();
    transmit(stream.as_fd(), &rest([&head[..], &question.body[..]], 0), &[])
        .map_err(|error| format!("it cannot be asked: {error}"))?;
    let (descriptors, shown) = welcomed(stream)?;
    has_room_for(descriptors, table::most())?;
    name_of(pid, shown).map_err(|error| {
        format!("this process may not look into it (/proc/{pid}/fd): {error}; {MORE_CONFINED}")
    })
}

const MORE_CONFINED: &str =
    "start it outside of the Landlock domain, or the profile of a security module, that it is in";

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
fn welcomed(stream: &OwnedFd) -> Result<(u32, i32), String> {
    let (mut decoder, until) = (Decoder::new(Limits::CONTROL), Instant::now() + ANSWERS);
    match next(stream, &mut decoder, until)? {
        Handover::Welcome { descriptors, shown } => Ok((descriptors, shown)),
        Handover::Refused(why) => Err(why),
        _ => Err(NO_ANSWER.to_owned()),
    }
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
