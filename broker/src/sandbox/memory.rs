//! Keeps the contents of memory away from everybody else: no core dump, no debugger, no new
//! privileges.

use rustix::process::{
    DumpableBehavior, Resource, Rlimit, geteuid, getrlimit, set_dumpable_behavior, setrlimit,
};
use rustix::thread::set_no_new_privs;

use super::SandboxError;

/// When memory runs out, the kernel takes this process rather than its supervisor, which replaces it.
///
/// Before it is sealed: afterwards the file is root's.
pub(crate) fn be_the_first_to_go() {
    // Without it, memory decides alone.
    let _ = std::fs::write("/proc/self/oom_score_adj", OOM_SCORE_ADJUST);
}

/// The oom_score_adj of a process that can be replaced, see proc(5).
const OOM_SCORE_ADJUST: &str = "500";

/// Has the kernel write no core dump, and lets nobody but root look into this process: both would show payloads.
///
/// Started without root, it belongs to its user like any other program: who may look into those may look into it.
///
/// # Errors
/// As prctl(2) and setrlimit(2); neither is known to fail.
pub(crate) fn seal() -> Result<(), SandboxError> {
    if geteuid().is_root() {
        hide()?;
    }
    setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) })
        .map_err(|error| SandboxError::new("RLIMIT_CORE", error))
}

/// Lets no process of the same user look into this one (PR_SET_DUMPABLE in prctl(2)). A process
/// that has become another user must call it again: fs.suid_dumpable in proc(5) may have undone it.
///
/// # Errors
/// As prctl(2).
pub(crate) fn hide() -> Result<(), SandboxError> {
    set_dumpable_behavior(DumpableBehavior::NotDumpable)
        .map_err(|error| SandboxError::new("PR_SET_DUMPABLE", error))
}

/// Lets this process and what it starts have no more processes of their user than so many, those of others of that
/// user counted: the broker keeps room for its own.
///
/// # Errors
/// As setrlimit(2).
pub(crate) fn start_no_crowd() -> Result<(), SandboxError> {
    let failed = |error| SandboxError::new("RLIMIT_NPROC", error);
    let is_less = |limit: Option<u64>| limit.is_some_and(|limit| limit <= MOST_PROCESSES);
    if is_less(getrlimit(Resource::Nproc).maximum) {
        return Ok(());
    }
    let most = Some(MOST_PROCESSES);
    setrlimit(Resource::Nproc, Rlimit { current: most, maximum: most }).map_err(failed)
}

/// More than all helpers, relays and closers, and the worker's threads.
const MOST_PROCESSES: u64 = 2048;

/// Lets nothing that is executed from here gain a privilege by it.
///
/// # Errors
/// As prctl(2).
pub(crate) fn gain_nothing() -> Result<(), SandboxError> {
    set_no_new_privs(true).map_err(|error| SandboxError::new("PR_SET_NO_NEW_PRIVS", error))
}
