//! Why a process cannot be confined, or cannot give up its privileges.

use std::fmt;

/// A step that failed: what was tried, and what the system said.
#[derive(Debug)]
pub enum SandboxError {
    /// The policy needs a capability that was given up when the broker started.
    CapabilityGone(String),
    /// Anything else.
    Failed {
        /// What was tried.
        what: &'static str,
        /// What the system said.
        problem: String,
    },
}

impl SandboxError {
    pub(super) fn new(what: &'static str, problem: impl fmt::Display) -> Self {
        Self::Failed { what, problem: problem.to_string() }
    }
}

impl fmt::Display for SandboxError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CapabilityGone(name) => write!(
                f,
                "the policy needs {name}, which the broker gave up when it started; restart the \
                 broker, which not every deposit survives"
            ),
            Self::Failed { what, problem } => write!(f, "{what}: {problem}"),
        }
    }
}

impl std::error::Error for SandboxError {}
