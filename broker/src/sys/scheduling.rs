//! How the scheduler treats this process, see sched(7).

use std::io;

/// Never interrupts another process just because something arrived for this one (SCHED_BATCH).
/// Children inherit it.
///
/// # Errors
/// As sched_setscheduler(2).
pub(crate) fn yield_to_others() -> io::Result<()> {
    set(libc::SCHED_BATCH)
}

/// Is scheduled like any other process (SCHED_OTHER).
///
/// # Errors
/// As sched_setscheduler(2).
pub(crate) fn be_ordinary() -> io::Result<()> {
    set(libc::SCHED_OTHER)
}

fn set(policy: libc::c_int) -> io::Result<()> {
    let parameters = libc::sched_param { sched_priority: 0 };
    // SAFETY: 0 names the caller; the parameters live until the call returns.
    let failed = unsafe { libc::sched_setscheduler(0, policy, &raw const parameters) } != 0;
    if failed { Err(io::Error::last_os_error()) } else { Ok(()) }
}
