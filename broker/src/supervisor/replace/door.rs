//! The socket at which a running broker is asked to hand over: beside the one that peers connect to, for its own
//! user.
//!
//! What is let in gets everything. So it is never the worker, nor anything that this broker has started: see
//! [`may_ask`]. One asks at a time, and disturbs nobody until it says that it is ready.

use std::fs;
use std::io::{self, ErrorKind};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixStream as StdStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use fdbroker_host::{Standing, has_same_user_ids};
use fdbroker_wire::Handover;
use nix::sys::socket::{getsockopt, sockopt};
use rustix::fs::Mode;
use rustix::net::{
    AddressFamily, SocketAddrUnix, SocketFlags, SocketType, accept_with, bind, listen, socket_with,
};
use rustix::process::{Pid, geteuid, getpid, umask};
use tokio::net::UnixStream;
use tokio::time::{Instant, timeout_at};

use super::message::{Said, read};
use crate::fd::CloseQueue;
use crate::log::Log;
use crate::supervisor::listener::Listener;
use crate::supervisor::workers::link::Link;
use crate::sys::watch::Watched;

/// How long one may take from its first word until it is ready to have everything.
const PREPARING: Duration = Duration::from_secs(60);
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
    watched: Option<Watched>,
    visitor: Option<Visitor>,
}

/// One that asks.
struct Visitor {
    link: Box<Link>,
    pid: Pid,
    until: Instant,
}

/// One that is ready to have everything.
pub(crate) struct Successor {
    pub(crate) link: Box<Link>,
    pub(crate) pid: Pid,
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
        match make(&path) {
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
        let identity = identity(&path).ok();
        Self(Some(Open { socket, path, standing, identity, watched: None, visitor: None }))
    }

    /// Waits until another broker is ready to have everything. Can be dropped and called again.
    pub(crate) async fn asked(
        &mut self,
        listener: &Listener,
        close_queue: &CloseQueue,
        log: &Log,
    ) -> Successor {
        let Some(open) = &mut self.0 else { return std::future::pending().await };
        loop {
            let Some(visitor) = &mut open.visitor else {
                match open.next(close_queue, log).await {
                    Ok(visitor) => open.visitor = visitor,
                    Err(_) => tokio::time::sleep(PAUSE).await,
                }
                continue;
            };
            match visitor.asks(listener, &open.socket).await {
                Ok(false) => {}
                Ok(true) => {
                    if let Some(Visitor { link, pid, .. }) = open.visitor.take() {
                        return Successor { link, pid };
                    }
                }
                // It has gone, or makes no sense.
                Err(_) => open.visitor = None,
            }
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
    /// The next one that connects, if it may ask.
    async fn next(&mut self, close_queue: &CloseQueue, log: &Log) -> io::Result<Option<Visitor>> {
        if self.watched.is_none() {
            self.watched = Some(Watched::new(self.socket.try_clone()?)?);
        }
        let Some(watched) = &self.watched else { return Ok(None) };
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let stream = watched.read(|socket| Ok(accept_with(socket, flags)?)).await?;
        match may_ask(&stream, self.standing) {
            Ok(pid) => {
                let stream = UnixStream::from_std(StdStream::from(stream))?;
                let link = Box::new(Link::new(stream, close_queue.clone())?);
                let until = Instant::now() + PREPARING;
                Ok(Some(Visitor { link, pid, until }))
            }
            Err(why) => {
                log.warn(&format!("a process that asked to replace this broker is refused: {why}"));
                Ok(None)
            }
        }
    }
}

impl Visitor {
    /// Reads its next message; returns whether it is ready. Can be dropped and called again.
    async fn asks(&mut self, listener: &Listener, door: &OwnedFd) -> Result<bool, String> {
        let message = timeout_at(self.until, self.link.message()).await;
        let message = message.map_err(|_| "it takes too long".to_owned())?;
        match read(message.map_err(|error| error.to_string())?)? {
            Said::Handover(Handover::Ask { version }) => self.answer(version, listener, door),
            Said::Handover(Handover::Begin) => return Ok(true),
            _ => return Err("it does not ask".to_owned()),
        }
        Ok(false)
    }

    fn answer(&mut self, version: u32, listener: &Listener, door: &OwnedFd) {
        let own = Handover::<OwnedFd>::VERSION;
        if version != own {
            let why = format!("it speaks version {version} of the hand-over, and I version {own}");
            return self.link.handover(Handover::Refused(why));
        }
        let shared = listener.to_pass_on().unwrap_or_else(|| Err(ErrorKind::Unsupported.into()));
        match shared.and_then(|(socket, lock)| Ok((socket, lock, door.try_clone()?))) {
            Ok((socket, lock, door)) => {
                self.link.handover(Handover::Listener(socket));
                self.link.handover(Handover::Lock(lock));
                self.link.handover(Handover::Door(door));
            }
            Err(error) => {
                let why = format!("my listening socket cannot be passed on: {error}");
                self.link.handover(Handover::Refused(why));
            }
        }
    }
}

/// Whether a process at the other end of a socket may have everything: it runs as this broker's own user, in its namespace of
/// users, and may do all that this broker might when it began. So root in a container may not. Where the user is not root, the worker and all that the broker has started run as the same user; but they are
/// confined as the broker is, and more.
fn may_ask(stream: &OwnedFd, standing: Standing) -> Result<Pid, String> {
    let peer = getsockopt(stream, sockopt::PeerCredentials).map_err(|error| error.to_string())?;
    let (uid, own) = (peer.uid(), geteuid());
    let pid = Pid::from_raw(peer.pid()).ok_or("it is in another namespace of processes")?;
    let asker = format!("process {} of user {uid}", peer.pid());
    if uid != own.as_raw() || pid == getpid() {
        return Err(format!("{asker}; this broker runs as user {}", own.as_raw()));
    }
    if !has_same_user_ids(pid) {
        return Err(format!("{asker} is in another user namespace"));
    }
    let its = Standing::of(pid);
    if !its.is_some_and(|its| its.is_at_least(standing)) {
        return Err(format!(
            "{asker} may do less than this broker might when it began: it has fewer capabilities, more filters of system \
             calls, or is in a namespace of processes further in"
        ));
    }
    let now = Standing::own();
    let is_free = its.zip(now).is_some_and(|(its, own)| its.is_less_confined(own));
    if !own.is_root() && !is_free {
        return Err(format!(
            "{asker} is as confined as this broker: it may be one that the broker started"
        ));
    }
    Ok(pid)
}

/// Whether a service manager started this process, and watches it.
fn is_managed() -> bool {
    let own = getpid().as_raw_nonzero().to_string();
    let is_main = |pid: String| pid == own;
    std::env::var_os("NOTIFY_SOCKET").is_some()
        || std::env::var("SYSTEMD_EXEC_PID").is_ok_and(is_main)
}

/// Listens for this user only. What is there of an earlier broker goes: we have the lock.
fn make(path: &Path) -> io::Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    let address = SocketAddrUnix::new(path)?;
    if let Err(error) = fs::remove_file(path)
        && error.kind() != ErrorKind::NotFound
    {
        return Err(error);
    }
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
