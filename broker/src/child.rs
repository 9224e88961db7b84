//! What each process that the supervisor starts does first and last.

use std::ffi::CStr;
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::process::ExitCode;

use crate::sandbox::memory;
use crate::sys::adopt::adopt;
use crate::sys::signal;

/// Begins; returns what the supervisor passed on as standard input.
///
/// # Errors
/// When it did not, or this process cannot be sealed.
pub(crate) fn begin(name: &CStr) -> Result<OwnedFd, String> {
    signal::ignore_unused();
    signal::leave_stopping_to_the_supervisor();
    // What ps(1) shows; for a person only.
    let _ = rustix::thread::set_name(name);
    memory::be_the_first_to_go();
    memory::seal().map_err(|error| error.to_string())?;
    adopt(0).map_err(|error| format!("no supervisor on standard input: {error}"))
}

/// Says what a process of this role ended by; returns what it is to exit with.
pub(crate) fn report(role: &str, result: Result<(), String>) -> ExitCode {
    let Err(problem) = result else { return ExitCode::SUCCESS };
    // Not eprintln, which panics where nobody reads standard error.
    let _ = writeln!(io::stderr(), "fdbrokerd: {role}: {problem}");
    ExitCode::FAILURE
}
