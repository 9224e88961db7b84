//! Why a policy cannot be in force, and why a reload changes nothing: what was tried, on what, what the
//! system said, and what to do.

use std::fmt;
use std::io;
use std::path::PathBuf;

use fdbroker_host::{AccountError, PolicyFileError};
use fdbroker_policy::Finding;
use fdbroker_types::quoted;

use crate::sandbox::SandboxError;

/// What keeps a policy from being in force, at start or later.
#[derive(Debug)]
pub(crate) enum PolicyError {
    File(PolicyFileError),
    Account(AccountError),
    WorkerIsRoot,
    NoAuditFile,
    Resource(String),
}

/// What keeps a policy from being in force at start, and why no older one is.
#[derive(Debug)]
pub(crate) struct NoPolicy {
    pub(crate) error: PolicyError,
    /// The file of the last good policy that is of no use, and the reason.
    pub(crate) last: Option<(PathBuf, String)>,
}

/// What keeps a reload from changing anything.
#[derive(Debug)]
pub(crate) enum ReloadError {
    Policy(PolicyError),
    AccountChanges,
    Gone(PathBuf),
    Capabilities(SandboxError),
    Hangs,
    /// Names are as open as before.
    NoNews,
    NoThread(io::Error),
}

impl PolicyError {
    /// One line for each thing that is wrong.
    pub(crate) fn lines(&self) -> Vec<String> {
        let Self::File(PolicyFileError::Findings(findings)) = self else {
            return vec![self.to_string()];
        };
        findings.iter().map(Finding::line).chain(findings.rest()).collect()
    }
}

impl ReloadError {
    /// One line for each thing that is wrong.
    pub(crate) fn lines(&self) -> Vec<String> {
        match self {
            Self::Policy(error) => error.lines(),
            error => vec![error.to_string()],
        }
    }
}

impl fmt::Display for NoPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)?;
        let Some((path, reason)) = &self.last else { return Ok(()) };
        let path = quoted(path).to_string();
        write!(f, "\nthe last good policy in {path} is not used: {reason}; correct the policy")
    }
}

impl From<PolicyError> for NoPolicy {
    fn from(error: PolicyError) -> Self {
        Self { error, last: None }
    }
}

impl fmt::Display for PolicyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(error) => error.fmt(f),
            Self::Account(error) => error.fmt(f),
            Self::WorkerIsRoot => f.write_str(
                "the worker must not run as root: name an ordinary account as `user` in the \
                 policy's [broker]",
            ),
            Self::NoAuditFile => f.write_str(
                "the policy says audit = \"required\", but there is no audit file; start the \
                 broker with --audit-file PATH",
            ),
            Self::Resource(problem) => f.write_str(problem),
        }
    }
}

impl fmt::Display for ReloadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Policy(error) => error.fmt(f),
            Self::AccountChanges => f.write_str(
                "the policy names another `user` in [broker] than the worker runs as; restart the \
                 broker, which not every deposit survives",
            ),
            Self::Gone(path) => write!(
                f,
                "there is no policy file {} any more; put it back, or restart the broker to use \
                 the built-in policy",
                path.display()
            ),
            Self::Capabilities(error) => error.fmt(f),
            Self::Hangs => f.write_str(
                "reading the policy timed out: opening a resource or looking up an account hangs; \
                 repair the device or the name service, and reload again",
            ),
            Self::NoNews => f.write_str("no name of the policy is known that was not before"),
            Self::NoThread(error) => write!(
                f,
                "cannot start a thread that reads the policy: {error}; raise TasksMax= of the unit"
            ),
        }
    }
}

impl From<PolicyError> for ReloadError {
    fn from(error: PolicyError) -> Self {
        Self::Policy(error)
    }
}

impl From<SandboxError> for ReloadError {
    fn from(error: SandboxError) -> Self {
        Self::Capabilities(error)
    }
}

impl std::error::Error for NoPolicy {}
impl std::error::Error for PolicyError {}
impl std::error::Error for ReloadError {}
