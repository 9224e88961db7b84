//! Starts this binary as a worker, a closer or a helper, from a thread whose descriptor table has nothing of the
//! supervisor's: see [`crate::sys::apart`].

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Mutex, PoisonError};

use rustix::io::Errno;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};

use crate::log::{Format, Log};
use crate::sys::apart;

/// This binary, even if its file has been replaced by a newer one.
const THIS_BINARY: &str = "/proc/self/exe";

/// The way to the thread, from any other.
pub(crate) struct Spawner {
    /// How a worker is to write its log.
    pub(super) format: Format,
    /// One order after the other: each has its own descriptors.
    apart: Option<Mutex<Apart>>,
}

struct Apart {
    orders: Sender<SpawnOrder>,
    /// What an order's process gets goes here.
    descriptors: OwnedFd,
}

/// A process that is to be started.
struct SpawnOrder {
    arguments: Vec<String>,
    reply: Sender<io::Result<Child>>,
}

impl Spawner {
    /// Starts the thread. Where that fails, processes are started from any thread, and it is said what
    /// that means.
    pub(crate) fn start(format: Format, log: &Log) -> Self {
        let (orders, taken) = channel();
        let started = apart::start("spawn", move |descriptors| serve(&descriptors, &taken));
        let apart = started.map(|descriptors| Apart { orders, descriptors });
        if let Err(error) = &apart {
            log.warn(&format!(
                "cannot start a thread with a descriptor table of its own: {error}; a new worker can hang \
                 at its start while close(2) of a deposit blocks; allow unshare(CLONE_FILES)"
            ));
        }
        Self { format, apart: apart.ok().map(Mutex::new) }
    }

    /// Starts this binary with `arguments`, `link` as its standard input, and `errors` as its standard
    /// error, or else the supervisor's own. Returns when it has begun.
    ///
    /// # Errors
    /// As fork(2) and execve(2).
    pub(crate) fn spawn(
        &self,
        arguments: Vec<String>,
        link: OwnedFd,
        errors: Option<OwnedFd>,
    ) -> io::Result<Child> {
        let Some(apart) = &self.apart else {
            return this_binary(&arguments, link, errors).spawn();
        };
        // A panic while it is locked leaves nothing half done that the next order would see.
        let apart = apart.lock().unwrap_or_else(PoisonError::into_inner);
        let Apart { orders, descriptors } = &*apart;
        let passed: Vec<_> = std::iter::once(&link).chain(&errors).map(AsFd::as_fd).collect();
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(2))];
        let mut rights = SendAncillaryBuffer::new(&mut space);
        rights.push(SendAncillaryMessage::ScmRights(&passed));
        match sendmsg(descriptors, &[IoSlice::new(&[0])], &mut rights, SendFlags::NOSIGNAL) {
            // Without privilege, what other processes of this user have in flight counts here too. From this
            // thread the process starts all the same, unless a close(2) blocks just then.
            Err(Errno::TOOMANYREFS) => return this_binary(&arguments, link, errors).spawn(),
            sent => sent?,
        };
        let (reply, child) = channel();
        orders.send(SpawnOrder { arguments, reply }).map_err(|_| ended())?;
        child.recv().map_err(|_| ended())?
    }
}

fn ended() -> io::Error {
    io::Error::other("the thread that starts processes has ended")
}

/// What the thread does.
fn serve(descriptors: &OwnedFd, orders: &Receiver<SpawnOrder>) {
    for SpawnOrder { arguments, reply } in orders {
        let child = receive(descriptors)
            .and_then(|(link, errors)| this_binary(&arguments, link, errors).spawn());
        // The caller that ordered the process waits for it.
        let _ = reply.send(child);
    }
}

/// Receives what the next process gets.
fn receive(descriptors: &OwnedFd) -> io::Result<(OwnedFd, Option<OwnedFd>)> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(2))];
    let mut rights = RecvAncillaryBuffer::new(&mut space);
    let mut byte = [0];
    recvmsg(descriptors, &mut [IoSliceMut::new(&mut byte)], &mut rights, RecvFlags::CMSG_CLOEXEC)?;
    let mut received = rights.drain().flat_map(|message| match message {
        RecvAncillaryMessage::ScmRights(descriptors) => descriptors.collect(),
        _ => Vec::new(),
    });
    let link = received.next().ok_or_else(|| io::Error::from(io::ErrorKind::UnexpectedEof))?;
    Ok((link, received.next()))
}

fn this_binary(arguments: &[String], link: OwnedFd, errors: Option<OwnedFd>) -> Command {
    let mut command = Command::new(THIS_BINARY);
    command
        .arg0("fdbrokerd")
        .args(arguments)
        .env_clear()
        .current_dir("/")
        .stdin(link)
        .stdout(Stdio::null())
        .stderr(errors.map_or_else(Stdio::inherit, Stdio::from))
        // A terminal's ^C is for the supervisor, which ends its worker itself.
        .process_group(0);
    command
}
