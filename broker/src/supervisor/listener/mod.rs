//! The socket that peers connect to: passed in by the process that started the broker, or bound
//! here.
//!
//! The supervisor listens, not the worker: what a client's SO_PEERCRED shows is who called
//! listen(2), and a client wants to see root there. A lock file beside the socket decides between
//! two brokers that start at once, and says who holds it; the socket file itself says whether its
//! broker lives. Nothing here waits for another process.

mod access;
mod acl;
mod floods;
pub(super) mod pass_on;
mod repair;
mod shut_out;

use std::fmt;
use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, ErrorKind, Read, Seek, Write};
use std::mem;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use fdbroker_host::has_exited;
use nix::sys::socket::{UnixAddr, getsockname, getsockopt, setsockopt, sockopt};
use rustix::event::PollFlags;
use rustix::fs::{FlockOperation, Mode, flock};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with};
use rustix::process::{Pid, geteuid, getpid, test_kill_process, umask};

use super::StartError;
use crate::fd::{CloseQueue, PeerFd};
use crate::look::look;
use crate::sys::socket::without_surplus;
use access::Access;
use shut_out::ShutOut;

/// A listening socket, and the file to remove at the end if it was made here.
pub(super) struct Listener {
    socket: OwnedFd,
    /// Closes the listening socket before this one, which may have unread messages in its backlog.
    close_queue: CloseQueue,
    made: Option<SocketFile>,
    /// What has become of it, for the status.
    state: &'static str,
    /// Device and inode of its file, where it could be seen at first: of one that was passed in, it may not be.
    seen: Option<(u64, u64)>,
    /// Users who may not connect for a while.
    shut_out: ShutOut,
}

/// A socket file of ours.
struct SocketFile {
    path: PathBuf,
    /// Device and inode, so that nobody else's is removed.
    identity: (u64, u64),
    lock: Lock,
}

/// The lock of the socket's place.
struct Lock {
    name: PathBuf,
    file: File,
}

impl Listener {
    /// Listens on `path`.
    pub(super) fn bind(path: PathBuf, close_queue: CloseQueue) -> Result<Self, StartError> {
        let lock = lock_beside(&path)?;
        clear_stale(&path)?;
        let socket = listen(&path).map_err(|error| StartError::Socket(path.clone(), error))?;
        let identity = identity(&path).map_err(|error| StartError::Socket(path.clone(), error))?;
        let made = Some(SocketFile { path, identity, lock });
        let shut_out = ShutOut::default();
        Ok(Self { socket, close_queue, made, state: "ok", seen: Some(identity), shut_out })
    }

    /// Returns a duplicate of the socket, for the worker. It can become the last one, if this
    /// socket is replaced.
    pub(super) fn share(&self) -> io::Result<PeerFd> {
        Ok(self.close_queue.hold(self.close_queue.unread(), self.socket.try_clone()?))
    }

    /// Whether it listens, and names who writes, as at first. The worker has a duplicate, and what it
    /// does to that it does to this. Takes no lock that the worker could hold.
    pub(super) fn is_intact(&self) -> bool {
        let names_writers = getsockopt(&self.socket, sockopt::PassCred).unwrap_or(false);
        names_writers && !self.is_shut_down()
    }

    fn is_shut_down(&self) -> bool {
        let ended = PollFlags::RDHUP | PollFlags::HUP;
        look(self.socket.as_fd(), PollFlags::RDHUP).is_ok_and(|found| found.intersects(ended))
    }

    /// Listens on another socket at the same path, with the same mode and group; returns the path.
    fn replace(&mut self) -> io::Result<PathBuf> {
        let path = self.path().ok_or(ErrorKind::AddrNotAvailable)?;
        let before = fs::symlink_metadata(&path).ok();
        let ours = self
            .made
            .as_ref()
            .is_none_or(|file| before.is_none() || identity(&path).ok() == Some(file.identity));
        if !ours || before.as_ref().is_some_and(|before| !before.file_type().is_socket()) {
            return Err(ErrorKind::AlreadyExists.into());
        }
        if before.is_some() {
            fs::remove_file(&path)?;
        }
        let access = before.as_ref().map(Access::of);
        let former = mem::replace(&mut self.socket, listen_with(&path, access)?);
        drop(self.close_queue.hold(self.close_queue.unread(), former));
        let made = identity(&path)?;
        self.seen = Some(made);
        if let Some(file) = &mut self.made {
            file.identity = made;
        }
        Ok(path)
    }

    /// The path of the socket's file.
    pub(super) fn path(&self) -> Option<PathBuf> {
        if let Some(file) = &self.made {
            return Some(file.path.clone());
        }
        let address: UnixAddr = getsockname(self.socket.as_raw_fd()).ok()?;
        address.path().map(Path::to_owned)
    }

    /// What has become of it, for the status.
    pub(super) fn state(&self) -> &'static str {
        self.state
    }

    /// Removes the socket file, if it was made here and is still the same, and its lock.
    pub(super) fn remove(&self) -> io::Result<()> {
        let Some(file) = &self.made else { return Ok(()) };
        if identity(&file.path).ok() == Some(file.identity) {
            fs::remove_file(&file.path)?;
        }
        fs::remove_file(&file.lock.name)
    }

    /// Has the kernel tell, with everything that is read, who wrote it (SO_PASSCRED). Connections
    /// inherit this, since Linux 6.16 when they are made: one that was made to a passed-in socket
    /// before is without, and the worker ends it. They inherit as well what else a passed-in
    /// socket was made to tell, at the price of a descriptor for each message: that goes.
    fn with_senders(self) -> Result<Self, StartError> {
        without_surplus(self.socket.as_fd()).map_err(StartError::Surplus)?;
        setsockopt(&self.socket, sockopt::PassCred, &true)
            .map_err(|error| StartError::Credentials(error.into()))?;
        Ok(self)
    }
}

impl fmt::Display for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.made {
            Some(file) => write!(f, "on {}", file.path.display()),
            None => f.write_str("on the socket that was passed in"),
        }
    }
}

/// The listening socket that a service manager passed in, if it did.
pub(super) fn passed_in(
    mut sockets: Vec<OwnedFd>,
    close_queue: CloseQueue,
) -> Result<Option<Listener>, StartError> {
    let problem = |text: String| StartError::PassedSocket(text);
    let Some(socket) = sockets.pop() else { return Ok(None) };
    if !sockets.is_empty() {
        return Err(problem(format!("{} descriptors were passed; pass one", sockets.len() + 1)));
    }
    if !listens(&socket) {
        return Err(problem(
            "the descriptor that was passed is not a listening Unix stream socket".to_owned(),
        ));
    }
    let (made, shut_out) = (None, ShutOut::default());
    let mut passed = Listener { socket, close_queue, made, state: "ok", seen: None, shut_out };
    let path = passed.path().filter(|path| path.is_absolute());
    passed.seen = path.and_then(|path| identity(&path).ok());
    passed.with_senders().map(Some)
}

fn listens(socket: &OwnedFd) -> bool {
    use rustix::net::sockopt::{socket_acceptconn, socket_domain, socket_type};
    socket_domain(socket).is_ok_and(|domain| domain == AddressFamily::UNIX)
        && socket_type(socket).is_ok_and(|kind| kind == SocketType::STREAM)
        && socket_acceptconn(socket).unwrap_or(false)
}

/// Where to listen: on `path`, or where this user's broker is expected.
pub(super) fn place(path: Option<&Path>) -> Result<PathBuf, StartError> {
    if let Some(path) = path {
        return Ok(path.to_owned());
    }
    if geteuid().is_root() {
        let directory = Path::new("/run/fdbroker");
        make_directory(directory)
            .map_err(|error| StartError::SocketDirectory(directory.to_owned(), error))?;
        return Ok(directory.join(SOCKET_NAME));
    }
    let directory = std::env::var_os("XDG_RUNTIME_DIR").ok_or(StartError::NoRuntimeDirectory)?;
    Ok(PathBuf::from(directory).join(SOCKET_NAME))
}

const SOCKET_NAME: &str = "fdbroker.sock";

fn make_directory(path: &Path) -> io::Result<()> {
    match DirBuilder::new().mode(0o755).create(path) {
        // Peers go through it, whatever the umask of the shell that started this.
        Ok(()) => fs::set_permissions(path, Permissions::from_mode(0o755)),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error),
    }
}

/// Holds `PATH.lock` for as long as this process lives.
///
/// The last owner removes the file as it goes: so what was locked counts only if it is still the
/// one that the path names.
fn lock_beside(path: &Path) -> Result<Lock, StartError> {
    let failed = |error: io::Error| StartError::Socket(path.to_owned(), error);
    let name = lock_name(path);
    loop {
        let mut file = open_lock(&name).map_err(failed)?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(Errno::WOULDBLOCK) if is_left_behind(&mut file, &name) => continue,
            Err(Errno::WOULDBLOCK) => return Err(held(path, &mut file)),
            Err(error) => return Err(failed(error.into())),
        }
        if is_in_place(&file, &name).map_err(failed)? {
            // Only a name for those who find it held: a full disk is no reason not to start.
            let _ = sign(&mut file);
            return Ok(Lock { name, file });
        }
    }
}

fn lock_name(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".lock");
    name.into()
}

/// Whether the holder of a lock has exited, and still has it because one of its threads sleeps in
/// the kernel. Then the lock's file is removed, and another one counts.
fn is_left_behind(lock: &mut File, name: &Path) -> bool {
    let holder = signature(lock).and_then(Pid::from_raw);
    if !holder.is_some_and(has_exited) {
        return false;
    }
    // Of several that find this, one at a time: or the next would remove the lock of the first.
    let directory = name.parent().and_then(|parent| File::open(parent).ok());
    let alone = directory.as_ref().is_some_and(|directory| {
        flock(directory, FlockOperation::NonBlockingLockExclusive).is_ok()
    });
    alone && is_in_place(lock, name).unwrap_or(false) && fs::remove_file(name).is_ok()
}

fn open_lock(name: &Path) -> io::Result<File> {
    // Neither through a symlink, nor waiting for a FIFO's other end.
    let flags = rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK;
    let flags = i32::try_from(flags.bits()).unwrap_or(0);
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .custom_flags(flags)
        .open(name)
}

/// Writes our process id into the lock file, in the place of what a dead broker left there.
fn sign(file: &mut File) -> io::Result<()> {
    file.set_len(0)?;
    file.rewind()?;
    writeln!(file, "{}", getpid())
}

/// Who signed a lock file, provided that it lives: in between taking the lock and signing it,
/// what a dead broker wrote is still there.
fn signature(file: &mut File) -> Option<i32> {
    let mut text = String::new();
    // It may have been asked for before.
    file.rewind().ok()?;
    file.take(MAX_SIGNATURE).read_to_string(&mut text).ok()?;
    let pid = text.trim().parse().ok().and_then(Pid::from_raw)?;
    match test_kill_process(pid) {
        Ok(()) | Err(Errno::PERM) => Some(pid.as_raw_pid()),
        Err(_) => None,
    }
}

const MAX_SIGNATURE: u64 = 32;

/// Is there where systemd is process 1: sd_booted(3). In a container, the broker may be that.
const SYSTEMD_RUNS: &str = "/run/systemd/system";

/// Removes the socket file of a broker that has died; anything else in its place is an error.
fn clear_stale(path: &Path) -> Result<(), StartError> {
    let failed = |error| StartError::Socket(path.to_owned(), error);
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(error) => Err(failed(error)),
        Ok(found) if !found.file_type().is_socket() => {
            Err(StartError::SocketInTheWay(path.to_owned()))
        }
        Ok(_) => match listening(path) {
            Ok(None) => fs::remove_file(path).map_err(failed),
            // Its socket listens for as long as a thread of it sleeps in the kernel.
            Ok(Some(Some(pid))) if Pid::from_raw(pid).is_some_and(has_exited) => {
                fs::remove_file(path).map_err(failed)
            }
            Ok(Some(Some(1))) if Path::new(SYSTEMD_RUNS).is_dir() => {
                Err(StartError::SocketOfSystemd(path.to_owned()))
            }
            Ok(Some(pid)) => Err(StartError::SocketAlive(path.to_owned(), pid)),
            Err(error) => Err(failed(error)),
        },
    }
}

/// Another broker holds the lock: names it as far as its socket, or else its lock file, does.
fn held(path: &Path, lock: &mut File) -> StartError {
    let signed = signature(lock);
    match listening(path) {
        Ok(Some(pid)) => StartError::SocketAlive(path.to_owned(), pid.or(signed)),
        _ => StartError::SocketLocked(path.to_owned(), signed),
    }
}

/// Whether somebody listens on a socket file, and who, as far as the kernel tells. Does not wait:
/// the queue of a listener that does not accept may be full, and it listens all the same.
fn listening(path: &Path) -> io::Result<Option<Option<i32>>> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    match connect(&socket, &SocketAddrUnix::new(path)?) {
        Ok(()) => {
            let peer = getsockopt(&socket.as_fd(), sockopt::PeerCredentials);
            Ok(Some(peer.map(|peer| peer.pid()).ok().filter(|pid| *pid > 0)))
        }
        Err(Errno::AGAIN) => Ok(Some(None)),
        Err(Errno::CONNREFUSED) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Binds under a umask that lets everybody connect to root's broker, since the policy decides
/// there, and only its own user to any other.
fn listen(path: &Path) -> io::Result<OwnedFd> {
    listen_with(path, None)
}

/// The same with this access: what was there before it may have had one of its own.
fn listen_with(path: &Path, access: Option<Access>) -> io::Result<OwnedFd> {
    let mask = if geteuid().is_root() && access.is_none() { 0o111 } else { 0o177 };
    let before = umask(Mode::from_raw_mode(mask));
    let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    // Connections have it from the moment they are made, since Linux 6.16: nobody may come before.
    setsockopt(&socket, sockopt::PassCred, &true)?;
    let address = SocketAddrUnix::new(path)?;
    let bind = || rustix::net::bind(&socket, &address);
    let bound = access.as_ref().map_or_else(bind, |access| access.in_group(bind));
    umask(before);
    bound?;
    if let Some(Access { mode, .. }) = access {
        fs::set_permissions(path, mode)?;
    }
    // As long a queue as the system allows: peers wait there while a worker is being replaced.
    rustix::net::listen(&socket, i32::MAX)?;
    Ok(socket)
}

/// Whether an open file is the one that a path names.
fn is_in_place(file: &File, path: &Path) -> io::Result<bool> {
    let opened = file.metadata()?;
    Ok(identity(path).ok() == Some((opened.dev(), opened.ino())))
}

fn identity(path: &Path) -> io::Result<(u64, u64)> {
    let found = fs::symlink_metadata(path)?;
    Ok((found.dev(), found.ino()))
}
