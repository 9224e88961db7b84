//! Where a broker is, whom it must run as, and how long to wait for it.

use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustix::net::sockopt::{Timeout, set_socket_oobinline, set_socket_timeout};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with};
use rustix::process::geteuid;

use crate::environment;
use crate::transport::backoff::Backoff;
use crate::transport::socket::Socket;
use crate::transport::trust::{Distrust, Trust};
use crate::{Attempt, Error};

/// The environment variable that names the broker's socket.
const SOCKET_VARIABLE: &str = "FDBROKER_SOCKET";
const SYSTEM_SOCKET: &str = "/run/fdbroker/fdbroker.sock";
const SOCKET_NAME: &str = "fdbroker.sock";

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

    pub(crate) fn patience_limit(&self) -> Duration {
        self.retry_for
    }

    /// For who repeats by himself: no request is repeated, and none waits without limit.
    pub(crate) fn without_repeating(mut self, timeout: Duration) -> Self {
        self.retry_for = Duration::ZERO;
        self.with_limit(timeout)
    }

    /// No request waits without limit.
    pub(crate) fn with_limit(mut self, timeout: Duration) -> Self {
        self.timeout = self.timeout.or(Some(timeout));
        self
    }

    /// The broker's socket, as it was set or is expected.
    pub(crate) fn path(&self) -> Arc<Path> {
        match &self.socket {
            Some(path) => path.as_path().into(),
            None => default_socket().into(),
        }
    }

    pub(crate) fn backoff(&self) -> Backoff {
        Backoff::new(self.retry_for)
    }

    pub(crate) fn answer_timeout(&self) -> Option<Duration> {
        self.timeout
    }

    /// A socket that is connected to a broker that is trusted; one that blocks.
    pub(crate) fn open_socket(&self, path: &Path) -> Result<Socket, Unopened> {
        let socket =
            self.dial(path, SocketFlags::CLOEXEC).map_err(|errno| match (errno, self.timeout) {
                (rustix::io::Errno::AGAIN, Some(after)) => Unopened::Timeout(after),
                _ => Unopened::Broken(errno.into()),
            })?;
        self.check(socket).map(Socket::new)
    }

    /// The same for a socket that does not block; `None` if the broker's backlog is full.
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
        // An out-of-band byte stays in its place: passed over, its descriptors would be closed by the kernel inside our
        // recvmsg(2), for as long as that takes.
        set_socket_oobinline(&socket, true)?;
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

    fn check(&self, socket: OwnedFd) -> Result<OwnedFd, Unopened> {
        self.trust.check(&socket).map(|()| socket).map_err(Unopened::Untrusted)
    }
}

/// Why there is no connection.
#[derive(Debug)]
pub(crate) enum Unopened {
    /// The broker accepts nobody.
    Timeout(Duration),
    /// There is no broker.
    Broken(io::Error),
    /// It is not trusted.
    Untrusted(Distrust),
}

impl Unopened {
    pub(crate) fn into_error(self, attempt: Attempt) -> Error {
        match self {
            Self::Timeout(after) => Error::Timeout { attempt, after },
            Self::Broken(source) => Error::Broken { attempt, source },
            Self::Untrusted(Distrust::Stranger(uid)) => Error::Untrusted { attempt, uid },
            Self::Untrusted(Distrust::Unidentified(uid)) => Error::Unidentified { attempt, uid },
            Self::Untrusted(Distrust::Unknown(source)) => Error::Broken { attempt, source },
        }
    }
}

/// The socket that a broker is expected at when nobody says otherwise.
///
/// That is what `FDBROKER_SOCKET` names; else `/run/fdbroker/fdbroker.sock`, for root and for
/// everybody on a machine where it exists; else `$XDG_RUNTIME_DIR/fdbroker.sock`. A program that runs with more rights
/// than its caller (set-user-ID, or capabilities of its file) takes neither variable from it.
pub fn default_socket() -> PathBuf {
    let system = Path::new(SYSTEM_SOCKET);
    if let Some(path) = environment::path(SOCKET_VARIABLE) {
        return path;
    }
    match environment::path("XDG_RUNTIME_DIR") {
        Some(own) if !geteuid().is_root() && !may_exist(system) => own.join(SOCKET_NAME),
        _ => system.to_path_buf(),
    }
}

/// A socket in a directory that this process may not look into may well exist.
fn may_exist(path: &Path) -> bool {
    !matches!(path.symlink_metadata(), Err(error) if error.kind() == io::ErrorKind::NotFound)
}
