//! Starts a broker that outlives this program, and waits until it serves.

use std::ffi::OsString;
use std::io::{ErrorKind, Read};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use std::{fmt, io};

use crate::detach;

/// How long a broker may take until it serves.
const PATIENCE: Duration = Duration::from_secs(10);

/// Why there is no broker.
#[derive(Debug)]
pub(crate) enum Failure {
    /// Its program could not be run.
    NotRun(io::Error),
    /// It could not start, and said why.
    Refused(String),
    /// It ended without a reason: another one may have been quicker.
    Ended,
    /// It did not serve in time.
    Late,
}

/// Starts the daemon `program` on `socket`. Its log goes to this program's standard error, or
/// nowhere.
pub(crate) fn start(program: &Path, socket: &Path, log: bool) -> Result<(), Failure> {
    let (ready, tells) = UnixStream::pair().map_err(Failure::NotRun)?;
    run(program, socket, log, tells).map_err(Failure::NotRun)?;
    wait(ready)
}

fn run(program: &Path, socket: &Path, log: bool, tells: UnixStream) -> io::Result<()> {
    // Out of the way of the standard streams, should this program have closed its own.
    let tells: OwnedFd = rustix::io::fcntl_dupfd_cloexec(&tells, 3)?;
    let mut command = Command::new(program);
    command.arg("--socket").arg(socket);
    command.arg("--ready-fd").arg(OsString::from(tells.as_raw_fd().to_string()));
    if socket.is_absolute() {
        command.current_dir("/");
    }
    for name in OUR_MANAGERS {
        command.env_remove(name);
    }
    command.stdin(Stdio::null()).stdout(Stdio::null());
    command.stderr(if log { Stdio::inherit() } else { Stdio::null() });
    detach::detach(&mut command, tells);
    let mut child = command.spawn()?;
    // Our child has made the broker another one's child and ended. A program that ignores SIGCHLD
    // has nothing to wait for.
    let _ = child.wait();
    Ok(())
}

/// What a service manager told this program, and not the broker.
const OUR_MANAGERS: [&str; 7] = [
    "NOTIFY_SOCKET",
    "LISTEN_PID",
    "LISTEN_FDS",
    "LISTEN_FDNAMES",
    "LISTEN_PIDFDID",
    "WATCHDOG_PID",
    "WATCHDOG_USEC",
];

/// Waits for the newline that says that the broker serves. What ends without one is why it does not.
fn wait(mut ready: UnixStream) -> Result<(), Failure> {
    let end = Instant::now() + PATIENCE;
    let mut said = Vec::new();
    loop {
        let left = end.saturating_duration_since(Instant::now());
        // Zero would mean without limit.
        if left.is_zero() {
            return Err(Failure::Late);
        }
        ready.set_read_timeout(Some(left)).map_err(Failure::NotRun)?;
        let mut part = [0; 512];
        match ready.read(&mut part) {
            Ok(0) => return Err(ended(&said)),
            Ok(size) => said.extend(&part[..size]),
            Err(error)
                if [ErrorKind::Interrupted, ErrorKind::WouldBlock].contains(&error.kind()) => {}
            Err(error) => return Err(Failure::NotRun(error)),
        }
        if said.contains(&b'\n') {
            return Ok(());
        }
    }
}

fn ended(said: &[u8]) -> Failure {
    match String::from_utf8_lossy(said) {
        nothing if nothing.is_empty() => Failure::Ended,
        reason => Failure::Refused(reason.into_owned()),
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotRun(error) => write!(f, "the broker cannot be started: {error}"),
            Self::Refused(reason) => write!(f, "the broker does not start: {reason}"),
            Self::Ended => f.write_str("the broker ended before it served"),
            Self::Late => write!(f, "the broker does not serve after {PATIENCE:?}"),
        }
    }
}
