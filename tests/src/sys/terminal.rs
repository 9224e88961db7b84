//! Pseudo-terminals.

use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use rustix::fs::{Mode, OFlags, open};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};

/// A pseudo-terminal: the end that reads what programs write, and the end for programs.
pub fn terminal() -> io::Result<(OwnedFd, OwnedFd)> {
    let reader = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)?;
    grantpt(&reader)?;
    unlockpt(&reader)?;
    let name = ptsname(&reader, Vec::new())?;
    let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
    Ok((reader, open(name, flags, Mode::empty())?))
}

/// Has a terminal stop processes that write to it from the background (`stty tostop`).
pub fn stop_background_writers(terminal: impl AsFd) {
    let mut modes = tcgetattr(&terminal).unwrap();
    modes.local_modes |= LocalModes::TOSTOP;
    tcsetattr(&terminal, OptionalActions::Now, &modes).unwrap();
}

/// Has `command` start its program as a terminal does: in the foreground of a session of its own.
pub fn on_terminal(command: &mut std::process::Command, terminal: OwnedFd) {
    use std::os::unix::process::CommandExt;
    // SAFETY: setsid(2) and ioctl(2) are async-signal-safe and take no memory; the closure owns
    // the terminal.
    unsafe {
        command.pre_exec(move || {
            if libc::setsid() < 0 || libc::ioctl(terminal.as_raw_fd(), libc::TIOCSCTTY, 0) < 0 {
                return Err(io::Error::last_os_error());
            }
            Ok(())
        });
    }
}
