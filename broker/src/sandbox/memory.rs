//! Keeping what lies in memory away from everybody else: no core dump, no debugger, no new privileges.

use rustix::process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit};
use rustix::thread::set_no_new_privs;

use super::SandboxError;

/// Lets no process of the same user look into this one (PR_SET_DUMPABLE in prctl(2)), and the kernel write no core dump:
/// both would show payloads.
///
/// # Errors
/// As prctl(2) and setrlimit(2); neither is known to fail.
pub(crate) fn seal() -> Result<(), SandboxError> {
    set_dumpable_behavior(DumpableBehavior::NotDumpable)
        .map_err(|error| SandboxError::new("PR_SET_DUMPABLE", error))?;
    setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) })
        .map_err(|error| SandboxError::new("RLIMIT_CORE", error))
}

/// Lets nothing that is executed from here gain a privilege by it.
///
/// # Errors
/// As prctl(2).
pub(crate) fn gain_nothing() -> Result<(), SandboxError> {
    set_no_new_privs(true).map_err(|error| SandboxError::new("PR_SET_NO_NEW_PRIVS", error))
}
