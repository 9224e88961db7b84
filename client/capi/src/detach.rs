//! A program that is started here and outlives the one that started it.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::Command;

/// Has `command` run its program in a session of its own, as nobody's child here. The program gets
/// the standard streams and `kept` under its number, and no other descriptor. So descriptors that
/// the program with this library has open, and forgot to mark, stay its own.
pub(crate) fn detach(command: &mut Command, kept: OwnedFd) {
    // SAFETY: between fork(2) and execve(2) of a process that may have threads, only
    // async-signal-safe calls are allowed: setsid, fork (by way of a plain system call, without
    // handlers), _exit, close_range and fcntl are. Nothing is allocated, and `kept` is open there
    // because the closure owns it.
    unsafe {
        command.pre_exec(move || {
            if libc::setsid() < 0 {
                return Err(io::Error::last_os_error());
            }
            match fork() {
                -1 => return Err(io::Error::last_os_error()),
                0 => {}
                // This one is waited for; the other one is taken over by init.
                _ => libc::_exit(0),
            }
            // A system call of Linux 5.9, with this flag of 5.11; libc's wrapper is younger than
            // some libcs. On exec: the channel that reports a failed one is among them.
            let flag = libc::CLOSE_RANGE_CLOEXEC;
            if libc::syscall(libc::SYS_close_range, 3, libc::c_uint::MAX, flag) < 0 {
                return Err(io::Error::last_os_error());
            }
            match libc::fcntl(kept.as_raw_fd(), libc::F_SETFD, 0) {
                -1 => Err(io::Error::last_os_error()),
                _ => Ok(()),
            }
        });
    }
}

/// fork(2) without what libc does around it, which need not be safe after another fork.
///
/// # Safety
/// As for what follows a fork in a process with threads: nothing but async-signal-safe calls.
unsafe fn fork() -> libc::c_long {
    const NULL: libc::c_long = 0;
    let signal = libc::c_long::from(libc::SIGCHLD);
    // SAFETY: clone(2) with a signal alone is fork: no memory is shared, and no stack is given, so
    // that the child goes on with a copy of ours. The flags come first wherever we are built for (not so
    // on s390), and everything behind them is null.
    unsafe { libc::syscall(libc::SYS_clone, signal, NULL, NULL, NULL, NULL) }
}
