//! The socket at which a running broker is asked to hand over: beside the one that peers connect to, for its own
//! user.
//!
//! What is let in gets everything. So it is never the worker, nor anything that this broker has started: see
//! [`may_ask`]. One asks at a time, and disturbs nobody until it says that it is ready.

use std::fs;
use std::io::{self, ErrorKind};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use fdbroker_host::Standing;
use rustix::fs::Mode;
use rustix::net::{
    AddressFamily, SocketAddrUnix, SocketFlags, SocketType, accept_with, bind, listen, socket_with,
};
use rustix::process::{getpid, umask};

use super::asker::{may_ask, refuse};
use super::process::BrokerProcess;
use super::visitor::{Successor, Visitor};
use crate::fd::CloseQueue;
use crate::log::Log;
use crate::supervisor::audit::records::Records;
use crate::sys::watch::Watched;

/// How many wait until another one has asked.
const WAITING: i32 = 4;
/// The pause after an accept that failed.
const PAUSE: Duration = Duration::from_secs(1);

/// The socket, where there is one.
#[derive(Default)]
pub(crate) struct Door(Option<Open>);

struct Open {
    socket: OwnedFd,
    path: PathBuf,
    /// What this broker might do when it began: what takes its place may do as much.
    standing: Standing,
    identity: Option<(u64, u64)>,
    /// It has been said that the file is missing.
    is_missing: bool,
    watched: Option<Watched>,
    visitor: Option<Visitor>,
}

/// Where the broker is asked that listens at a path.
pub(crate) fn beside(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".replace");
    name.into()
}

impl Door {
    /// Opens it beside the socket that peers connect to. A broker that was started by a service manager has none: that
    /// would take the end of this process for the end of the broker.
    pub(crate) fn open(path: &Path, standing: Option<Standing>, log: &Log) -> Self {
        if is_managed() {
            return Self(None);
        }
        let path = beside(path);
        match clear(&path).and_then(|()| make(&path)) {
            Ok(socket) => Self::with(socket, path, standing),
            Err(error) => {
                log.warn(&format!(
                    "this broker cannot be replaced while it runs: cannot listen on {}: {error}",
                    path.display()
                ));
                Self(None)
            }
        }
    }

    /// Goes on with the one of a predecessor, if this broker is to have one.
    pub(crate) fn with(socket: OwnedFd, path: PathBuf, standing: Option<Standing>) -> Self {
        let Some(standing) = standing.filter(|_| !is_managed()) else {
            // Nobody is to wait there.
            let _ = fs::remove_file(&path);
            return Self(None);
        };
        // Brokers that ask see who called this last.
        let _ = listen(&socket, WAITING);
        let identity = identity(&path).ok();
        let (watched, visitor, is_missing) = (None, None, false);
        Self(Some(Open { socket, path, standing, identity, is_missing, watched, visitor }))
    }

    /// A duplicate of it, for a successor; `None` if there is none.
    pub(crate) fn to_pass_on(&self) -> Option<io::Result<OwnedFd>> {
        self.0.as_ref().map(|open| open.socket.try_clone())
    }

    /// Waits until another broker is ready to have everything, and has room for it: for as many descriptors as `needed`
    /// says. Can be dropped and called again.
    pub(crate) async fn asked(
        &mut self,
        close_queue: &CloseQueue,
        records: &Records,
        needed: impl Fn() -> u32,
    ) -> Successor {
        let Some(open) = &mut self.0 else { return std::future::pending().await };
        loop {
            let Some(visitor) = &mut open.visitor else {
                match open.next(close_queue, records).await {
                    Ok(visitor) => open.visitor = visitor,
                    Err(_) => tokio::time::sleep(PAUSE).await,
                }
                continue;
            };
            match visitor.asks(records, &needed).await {
                Ok(false) => {}
                Ok(true) => {
                    if let Some(visitor) = open.visitor.take() {
                        return visitor.into_successor();
                    }
                }
                // It has gone, or makes no sense.
                Err(_) => open.visitor = None,
            }
        }
    }

    /// Listens again if somebody has deleted its file. If that fails, the reason is logged once, or each time if `asked`.
    /// To be called while the socket that peers connect to is in its place.
    pub(crate) fn restore_file(&mut self, log: &Log, asked: bool) {
        let Some(open) = &mut self.0 else { return };
        let looked = fs::symlink_metadata(&open.path);
        if !looked.is_err_and(|error| error.kind() == ErrorKind::NotFound) {
            open.is_missing = false;
            return;
        }
        let shown = open.path.display();
        match make(&open.path) {
            Ok(socket) => {
                log.warn(&format!("the socket file {shown} was deleted; it has been recreated"));
                open.listen_on(socket);
            }
            Err(_) if std::mem::replace(&mut open.is_missing, true) && !asked => {}
            Err(error) => log.warn(&format!(
                "the socket file {shown} was deleted: this broker cannot be replaced while it runs; it cannot be \
                 recreated: {error}"
            )),
        }
    }

    /// Removes its file, if it is still the same.
    pub(crate) fn remove(&self) {
        let Some(open) = &self.0 else { return };
        if identity(&open.path).ok() == open.identity {
            // The next broker replaces what is left.
            let _ = fs::remove_file(&open.path);
        }
    }

    /// From now on it is the successor's.
    pub(crate) fn leave(&mut self) {
        self.0 = None;
    }
}

impl Open {
    /// Has those that ask from now on connect to another socket.
    fn listen_on(&mut self, socket: OwnedFd) {
        self.identity = identity(&self.path).ok();
        (self.socket, self.watched, self.is_missing) = (socket, None, false);
    }

    /// The next one that connects, if it may ask.
    async fn next(
        &mut self,
        close_queue: &CloseQueue,
        records: &Records,
    ) -> io::Result<Option<Visitor>> {
        if self.watched.is_none() {
            self.watched = Some(Watched::new(self.socket.try_clone()?)?);
        }
        let Some(watched) = &self.watched else { return Ok(None) };
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let stream = watched.read(|socket| Ok(accept_with(socket, flags)?)).await?;
        let Ok(process) = BrokerProcess::of(&stream) else { return Ok(None) };
        if let Err(why) = may_ask(&process, self.standing) {
            refuse(&process, &why, records);
            return Ok(None);
        }
        let visitor = Visitor::new(stream, process, self.standing, close_queue);
        visitor.map(Some).inspect_err(|error| {
            records
                .log()
                .warn(&format!("a broker that asks to replace this one is not heard: {error}"));
        })
    }
}

/// Whether a service manager started this process, and watches it.
fn is_managed() -> bool {
    let own = getpid().as_raw_nonzero().to_string();
    let is_main = |pid: String| pid == own;
    std::env::var_os("NOTIFY_SOCKET").is_some()
        || std::env::var("SYSTEMD_EXEC_PID").is_ok_and(is_main)
}

/// Removes the socket of an earlier broker: we have the lock. Anything else is left.
fn clear(path: &Path) -> io::Result<()> {
    if fs::symlink_metadata(path).is_ok_and(|found| !found.file_type().is_socket()) {
        return Err(io::Error::new(ErrorKind::AlreadyExists, "what is there is no socket"));
    }
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Listens for this user only.
fn make(path: &Path) -> io::Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    let address = SocketAddrUnix::new(path)?;
    let before = umask(Mode::from_raw_mode(0o177));
    let bound = bind(socket.as_fd(), &address);
    umask(before);
    bound?;
    listen(&socket, WAITING)?;
    Ok(socket)
}

fn identity(path: &Path) -> io::Result<(u64, u64)> {
    let found = fs::symlink_metadata(path)?;
    Ok((found.dev(), found.ino()))
}
