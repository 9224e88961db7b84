//! Where a broker is, whom it must run as, and how long to wait for it.

use std::env;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use nix::sys::socket::{getsockopt, sockopt::PeerCredentials};
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with};
use rustix::process::geteuid;

use crate::connection::Connection;
use crate::patience::Patience;
use crate::{Attempt, Broker, Error, Operation};

/// The environment variable that names the broker's socket.
const SOCKET_VARIABLE: &str = "FDBROKER_SOCKET";
const SYSTEM_SOCKET: &str = "/run/fdbroker/fdbroker.sock";
const SOCKET_NAME: &str = "fdbroker.sock";

/// Whom a broker may run as: the user that called listen(2) on its socket, which is what
/// SO_PEERCRED tells a client, see unix(7).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Trust {
    /// Root, or the effective user of this process.
    #[default]
    RootOrSelf,
    /// This user id alone.
    Uid(u32),
    /// Whoever it is. Descriptors from a broker like that may be anything.
    Anyone,
}

/// How to connect to a broker; what is not set has a default.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Connector {
    socket: Option<PathBuf>,
    trust: Trust,
    timeout: Option<Duration>,
    retry_for: Duration,
}

impl Default for Connector {
    fn default() -> Self {
        let retry_for = Duration::from_secs(5);
        Self { socket: None, trust: Trust::default(), timeout: None, retry_for }
    }
}

impl Connector {
    /// All defaults.
    pub fn new() -> Self {
        Self::default()
    }

    /// The broker's socket. The default is [`default_socket`].
    pub fn socket(mut self, path: impl Into<PathBuf>) -> Self {
        self.socket = Some(path.into());
        self
    }

    /// Whom the broker may run as. The default is [`Trust::RootOrSelf`].
    pub fn trust(mut self, trust: Trust) -> Self {
        self.trust = trust;
        self
    }

    /// How long to wait for each answer to begin, and as long again for it to be complete.
    ///
    /// The default is without limit, because a request on a serial tag waits until the session
    /// that holds the tag has ended. Zero counts as without limit, too. A request that timed
    /// out ends the session, and with it the hold on serial tags; the next request begins another.
    pub fn timeout(mut self, timeout: Option<Duration>) -> Self {
        self.timeout = timeout.filter(|limit| !limit.is_zero());
        self
    }

    /// How long, for each request, to try to get back to a broker that is being restarted. The
    /// default is 5 seconds; zero turns repeating off. The first connection is tried once.
    pub fn retry_for(mut self, limit: Duration) -> Self {
        self.retry_for = limit;
        self
    }

    /// Connects.
    ///
    /// # Errors
    /// [`Error::Broken`] when there is no broker, [`Error::Untrusted`] when it is not trusted,
    /// [`Error::Timeout`] when it accepts nobody.
    pub fn connect(self) -> Result<Broker, Error> {
        let socket = self.path();
        let attempt = Attempt { operation: Operation::Connect, socket: Arc::clone(&socket) };
        let connection = self.open(&attempt)?;
        Ok(Broker::new(self, socket, connection))
    }

    pub(crate) fn patience_limit(&self) -> Duration {
        self.retry_for
    }

    /// For who repeats by himself: no request is repeated, and none waits without limit.
    pub(crate) fn without_repeating(mut self, timeout: Duration) -> Self {
        self.timeout = self.timeout.or(Some(timeout));
        self.retry_for = Duration::ZERO;
        self
    }

    /// The broker's socket, as it was set or is expected.
    pub(crate) fn path(&self) -> Arc<Path> {
        match &self.socket {
            Some(path) => path.as_path().into(),
            None => default_socket().into(),
        }
    }

    pub(crate) fn patience(&self) -> Patience {
        Patience::new(self.retry_for)
    }

    pub(crate) fn answer_timeout(&self) -> Option<Duration> {
        self.timeout
    }

    /// One connection, to a broker that is trusted.
    pub(crate) fn open(&self, attempt: &Attempt) -> Result<Connection, Error> {
        self.open_socket(&attempt.socket)
            .map(|socket| Connection::new(socket, self.timeout))
            .map_err(|unopened| unopened.into_error(attempt.clone()))
    }

    /// A socket that is connected to a broker that is trusted; one that blocks.
    pub(crate) fn open_socket(&self, path: &Path) -> Result<OwnedFd, Unopened> {
        let socket =
            self.dial(path, SocketFlags::CLOEXEC).map_err(|errno| match (errno, self.timeout) {
                (rustix::io::Errno::AGAIN, Some(after)) => Unopened::Timeout(after),
                _ => Unopened::Broken(errno.into()),
            })?;
        self.check(socket)
    }

    /// The same of one that does not block; none when more wait to be accepted than may.
    #[cfg(feature = "tokio")]
    pub(crate) fn open_at_once(&self, path: &Path) -> Result<Option<OwnedFd>, Unopened> {
        match self.dial(path, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK) {
            Ok(socket) => self.check(socket).map(Some),
            Err(rustix::io::Errno::AGAIN) => Ok(None),
            Err(errno) => Err(Unopened::Broken(errno.into())),
        }
    }

    fn dial(&self, path: &Path, flags: SocketFlags) -> rustix::io::Result<OwnedFd> {
        let address = SocketAddrUnix::new(path).map_err(|_| rustix::io::Errno::INVAL)?;
        let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
        if self.timeout.is_some() {
            set_socket_timeout(&socket, Timeout::Send, self.timeout)?;
            set_socket_timeout(&socket, Timeout::Recv, self.timeout)?;
        }
        loop {
            match connect(&socket, &address) {
                Err(rustix::io::Errno::INTR) => {}
                connected => return connected.map(|()| socket),
            }
        }
    }

    /// Not by rustix: its credentials are undefined for a peer of another pid namespace.
    fn check(&self, socket: OwnedFd) -> Result<OwnedFd, Unopened> {
        let trusted = match self.trust {
            Trust::Anyone => return Ok(socket),
            Trust::Uid(uid) => [uid, uid],
            Trust::RootOrSelf => [0, geteuid().as_raw()],
        };
        let credentials = getsockopt(&socket, PeerCredentials);
        let uid = credentials.map_err(|errno| Unopened::Broken(errno.into()))?.uid();
        if trusted.contains(&uid) { Ok(socket) } else { Err(Unopened::Untrusted(uid)) }
    }
}

/// Why there is no connection.
#[derive(Debug)]
pub(crate) enum Unopened {
    /// The broker accepts nobody.
    Timeout(Duration),
    /// There is no broker.
    Broken(io::Error),
    /// It runs as somebody who is not trusted.
    Untrusted(u32),
}

impl Unopened {
    pub(crate) fn into_error(self, attempt: Attempt) -> Error {
        match self {
            Self::Timeout(after) => Error::Timeout { attempt, after },
            Self::Broken(source) => Error::Broken { attempt, source },
            Self::Untrusted(uid) => Error::Untrusted { attempt, uid },
        }
    }
}

/// The socket that a broker is expected at when nobody says otherwise.
///
/// That is what `FDBROKER_SOCKET` names; else `/run/fdbroker/fdbroker.sock`, for root and for
/// everybody on a machine where it exists; else `$XDG_RUNTIME_DIR/fdbroker.sock`.
pub fn default_socket() -> PathBuf {
    let set = |name| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let system = Path::new(SYSTEM_SOCKET);
    if let Some(path) = set(SOCKET_VARIABLE) {
        return path;
    }
    match set("XDG_RUNTIME_DIR") {
        Some(own) if !geteuid().is_root() && !may_exist(system) => own.join(SOCKET_NAME),
        _ => system.to_path_buf(),
    }
}

/// A socket in a directory that this process may not look into may well exist.
fn may_exist(path: &Path) -> bool {
    !matches!(path.symlink_metadata(), Err(error) if error.kind() == io::ErrorKind::NotFound)
}
