//! What each process that the supervisor starts does first and last.

use std::ffi::CStr;
use std::io::{self, ErrorKind, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::process::ExitCode;

use rustix::event::PollFlags;

use crate::look::wait_for;
use crate::sandbox::memory;
use crate::sys::adopt::adopt;
use crate::sys::receive::receive;
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

/// Waits for the first message on its link, and what comes with it.
///
/// # Errors
/// When there is none.
pub(crate) fn first_message(
    link: &OwnedFd,
    most: usize,
) -> Result<(Vec<u8>, Vec<OwnedFd>), String> {
    let mut bytes = vec![0; most];
    loop {
        match receive(link.as_fd(), &mut bytes, |descriptor| descriptor) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                wait_for(link, PollFlags::IN).map_err(|error| cannot_go_on(&error))?;
            }
            Err(error) => return Err(cannot_go_on(&error)),
            Ok(received) => {
                bytes.truncate(received.length);
                return Ok((bytes, received.descriptors));
            }
        }
    }
}

/// What a process of this kind says of an error that it can do nothing about.
pub(crate) fn cannot_go_on(error: &io::Error) -> String {
    format!("it cannot go on: {error}")
}

/// Says what a process of this role ended by; returns what it is to exit with.
pub(crate) fn report(role: &str, result: Result<(), String>) -> ExitCode {
    let Err(problem) = result else { return ExitCode::SUCCESS };
    // Not eprintln, which panics where nobody reads standard error.
    let _ = writeln!(io::stderr(), "fdbrokerd: {role}: {problem}");
    ExitCode::FAILURE
}
