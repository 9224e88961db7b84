//! Why the broker does not start, said to the person who started it: what was tried, on what,
//! what the system said, and what to do.

use fdbroker_types::escape_lines;
use std::fmt;
use std::io;
use std::path::PathBuf;
use std::process::ExitCode;

use super::policy_error::{NoPolicy, PolicyError};
use crate::log::Format;
use crate::sandbox::SandboxError;

/// EX_CONFIG of sysexits.h: service managers show it as a matter of configuration.
const INVALID_POLICY: u8 = 78;

/// A reason not to start, or not to go on.
#[derive(Debug)]
pub(crate) enum StartError {
    Log(io::Error),
    Seal(io::Error),
    ReadyDescriptor(i32, io::Error),
    PassedSocket(String),
    Surplus(io::Error),
    Credentials(io::Error),
    Policy(NoPolicy),
    NoRuntimeDirectory,
    SocketDirectory(PathBuf, io::Error),
    SocketLocked(PathBuf, Option<i32>),
    SocketAlive(PathBuf, Option<i32>),
    /// The service manager listens there, and no broker does.
    SocketOfSystemd(PathBuf),
    SocketInTheWay(PathBuf),
    Socket(PathBuf, io::Error),
    Sandbox(SandboxError),
    AuditFile(PathBuf, io::Error),
    AuditCopy(io::Error),
    Runtime(io::Error),
    Mirror(io::Error),
    Worker(String),
    ReplacePassed,
    Replace {
        path: PathBuf,
        why: String,
        /// Whether the broker that was to be replaced has ended in the meantime.
        has_ended: bool,
    },
}

impl StartError {
    /// Whether another broker serves or starts at the same socket.
    pub(super) fn is_for_another_broker(&self) -> bool {
        matches!(self, Self::SocketLocked(..) | Self::SocketAlive(..) | Self::SocketOfSystemd(_))
    }

    /// Reports the error on standard error, and returns the exit status.
    pub(crate) fn report(&self) -> ExitCode {
        // The journal takes a line without a priority for mere information: sd-daemon(3).
        let priority = if Format::detect() == Format::Journald { "<3>" } else { "" };
        let text = format!("fdbrokerd: {}", escape_lines(&self.to_string()));
        text.lines().for_each(|line| eprintln!("{priority}{line}"));
        match self {
            Self::Policy(NoPolicy { error: PolicyError::Resource(_), .. }) => ExitCode::FAILURE,
            Self::Policy(_) => INVALID_POLICY.into(),
            _ => ExitCode::FAILURE,
        }
    }
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Log(error) => {
                write!(f, "cannot reach the journal: {error}; choose --log-format text or json")
            }
            Self::Seal(error) => write!(
                f,
                "cannot make the inherited descriptors close-on-exec: {error}; mount /proc, or allow close_range(2)"
            ),
            Self::ReadyDescriptor(number, error) => write!(
                f,
                "--ready-fd {number}: {error}; name a descriptor from 3 up that is open for writing"
            ),
            Self::PassedSocket(problem) => write!(f, "LISTEN_FDS: {problem}"),
            Self::Surplus(error) => write!(
                f,
                "the listening socket's SO_PASSPIDFD and SO_PASSSEC cannot be switched off: {error}; \
                 pass in another socket, or give --socket PATH"
            ),
            Self::Credentials(error) => {
                write!(
                    f,
                    "cannot switch on SO_PASSCRED of the listening socket: {error}; pass in a Unix stream socket, or give --socket PATH"
                )
            }
            Self::Policy(error) => error.fmt(f),
            Self::NoRuntimeDirectory => f.write_str(
                "no place for the socket: XDG_RUNTIME_DIR is not set; give --socket PATH",
            ),
            Self::SocketDirectory(path, error) => {
                write!(
                    f,
                    "cannot create {}: {error}; create it, or give --socket PATH",
                    path.display()
                )
            }
            Self::SocketLocked(path, pid) => {
                write!(f, "another broker is starting or running on {}", path.display())?;
                stop_it(f, *pid)
            }
            Self::SocketOfSystemd(path) => write!(
                f,
                "systemd already listens on {} (pid 1), for fdbrokerd.socket; start the broker with \
                 `systemctl start fdbrokerd`, or give --socket PATH",
                path.display()
            ),
            Self::SocketAlive(path, pid) => {
                write!(f, "a broker already listens on {}", path.display())?;
                stop_it(f, *pid)
            }
            Self::SocketInTheWay(path) => write!(
                f,
                "{} exists and is not a socket: move it away, or give --socket PATH",
                path.display()
            ),
            Self::Socket(path, error) => {
                write!(f, "cannot listen on {}: {error}; ", path.display())?;
                match path.parent().filter(|_| error.kind() == io::ErrorKind::NotFound) {
                    Some(directory) if directory.as_os_str().is_empty() || directory.exists() => {
                        f.write_str("give --socket PATH")
                    }
                    Some(directory) => write!(
                        f,
                        "create the directory {}, or give --socket PATH",
                        directory.display()
                    ),
                    None => f.write_str("give --socket PATH"),
                }
            }
            Self::AuditFile(path, error) => write!(
                f,
                "--audit-file {}: {error}; name a regular file, in a directory that exists",
                path.display()
            ),
            Self::AuditCopy(error) => write!(
                f,
                "cannot duplicate the descriptor of the audit file: {error}; raise LimitNOFILE="
            ),
            Self::Sandbox(error @ SandboxError::CapabilityGone(_)) => error.fmt(f),
            Self::Sandbox(error) => write!(f, "cannot give up privileges: {error}"),
            Self::Runtime(error) => write!(
                f,
                "cannot start the event loop: {error}; raise LimitNOFILE=, TasksMax= or MemoryMax= of the unit"
            ),
            Self::Mirror(error) => write!(
                f,
                "cannot take over what the service manager keeps: {error}; raise LimitNOFILE= or \
                 MemoryMax= of the unit, or start it without NOTIFY_SOCKET"
            ),
            Self::Worker(problem) => write!(f, "the worker does not start: {problem}"),
            Self::ReplacePassed => f.write_str(
                "--replace takes over the socket of the broker that runs: it does not go with LISTEN_FDS",
            ),
            Self::Replace { path, why, has_ended } => write!(
                f,
                "cannot take over from the broker on {}: {why}; {}",
                path.display(),
                if *has_ended { ENDED } else { "that broker goes on" }
            ),
        }
    }
}

const ENDED: &str =
    "that broker has ended in the meantime, and what it had is lost; start this one again";

/// What to do about another broker, which is named where it is known.
fn stop_it(f: &mut fmt::Formatter<'_>, pid: Option<i32>) -> fmt::Result {
    if let Some(pid) = pid {
        write!(f, " (pid {pid})")?;
    }
    f.write_str("; stop it, or give --socket PATH")
}

impl From<SandboxError> for StartError {
    fn from(error: SandboxError) -> Self {
        Self::Sandbox(error)
    }
}

impl From<PolicyError> for StartError {
    fn from(error: PolicyError) -> Self {
        Self::Policy(error.into())
    }
}

impl From<NoPolicy> for StartError {
    fn from(error: NoPolicy) -> Self {
        Self::Policy(error)
    }
}

impl std::error::Error for StartError {}
