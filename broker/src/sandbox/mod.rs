//! What each process may still do once it has what it needs.
//!
//! The supervisor keeps a few capabilities and loses the system calls that open nothing. The worker keeps nothing but
//! descriptors, memory, threads, and the reading of /proc. A helper may look names up and connect to its servers. A program of
//! the operator's may read files and start programs. All of it holds until the process ends, and for whatever it starts.
//!
//! Where the kernel or a container lacks a part, the broker works without it and says so: see [`Confinement`].

pub(crate) mod capabilities;
pub(crate) mod credentials;
mod error;
mod landlock;
pub(crate) mod memory;
pub(crate) mod seccomp;

use std::fmt;

pub use error::SandboxError;
pub use seccomp::worker::{Call, Needed, calls};

/// What a process was confined by, and what is missing.
#[derive(Debug, Default)]
pub struct Confinement {
    in_force: Vec<String>,
    missing: Vec<String>,
}

impl Confinement {
    fn note(&mut self, part: Result<String, String>) {
        match part {
            Ok(part) => self.in_force.push(part),
            Err(why) => self.missing.push(why),
        }
    }

    /// Returns a sentence for each part that this system does not have.
    #[must_use]
    pub fn missing(&self) -> &[String] {
        &self.missing
    }

    /// Returns `full`, `partial` or `none`: how much of it is in force.
    #[must_use]
    pub fn extent(&self) -> &'static str {
        match (self.in_force.is_empty(), self.missing.is_empty()) {
            (false, true) => "full",
            (false, false) => "partial",
            (true, _) => "none",
        }
    }

    /// Whether any part is in force.
    #[must_use]
    pub fn is_any(&self) -> bool {
        !self.in_force.is_empty()
    }
}

impl fmt::Display for Confinement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "confined by {}", self.in_force.join(", "))
    }
}

/// Confines the worker, for good: Landlock first, since it takes calls that the filter refuses.
///
/// Must run while the process has one thread: Landlock is a thread's own. With `journal`, datagrams may be sent to an
/// address, as entries of the journal are.
///
/// # Errors
/// When what is missing is no matter of the system: a filter that cannot be compiled.
pub fn confine_worker(journal: bool) -> Result<Confinement, SandboxError> {
    let mut confinement = Confinement::default();
    // Without it neither part is to be had by an ordinary user.
    memory::gain_nothing()?;
    confinement.note(landlock::read_only_proc());
    confinement.note(seccomp::confine_worker(journal)?);
    Ok(confinement)
}

/// Confines a helper, which connects to these TCP ports. What the system does not have is left out: the worker has said
/// what that is.
///
/// # Errors
/// When a part that the system has does not take effect.
pub fn confine_helper(ports: &[u16]) -> Result<(), SandboxError> {
    memory::gain_nothing()?;
    landlock::look_up_and_connect(ports).map_err(|error| SandboxError::new("Landlock", error))?;
    seccomp::confine_helper()
}

/// Confines a process that becomes a program of the operator's. What the system does not have is left out, as with a
/// helper.
///
/// # Errors
/// As [`confine_helper`].
pub fn confine_program() -> Result<(), SandboxError> {
    memory::gain_nothing()?;
    landlock::read_and_execute().map_err(|error| SandboxError::new("Landlock", error))?;
    seccomp::confine_program()
}

/// Confines the supervisor, for good: it and whatever it starts gain no privilege, and lose the system calls that open
/// nothing.
///
/// Must run while the process has one thread.
///
/// # Errors
/// As [`confine_worker`].
pub fn confine_supervisor() -> Result<Confinement, SandboxError> {
    let mut confinement = Confinement::default();
    memory::gain_nothing()?;
    confinement.note(seccomp::confine_supervisor()?);
    Ok(confinement)
}
