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
    /// It ended, and said why on its standard error: another one may have been quicker.
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

fn wait(mut ready: UnixStream) -> Result<(), Failure> {
    let end = Instant::now() + PATIENCE;
    loop {
        let left = end.saturating_duration_since(Instant::now());
        // Zero would mean without limit.
        if left.is_zero() {
            return Err(Failure::Late);
        }
        ready.set_read_timeout(Some(left)).map_err(Failure::NotRun)?;
        match ready.read(&mut [0]) {
            Ok(0) => return Err(Failure::Ended),
            Ok(_) => return Ok(()),
            Err(error)
                if [ErrorKind::Interrupted, ErrorKind::WouldBlock].contains(&error.kind()) => {}
            Err(error) => return Err(Failure::NotRun(error)),
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotRun(error) => write!(f, "the broker cannot be started: {error}"),
            Self::Ended => f.write_str("the broker ended before it served"),
            Self::Late => write!(f, "the broker does not serve after {PATIENCE:?}"),
        }
    }
}
