//! How processes begin: with which id, which descriptors, which user.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::Duration;

/// Starts `program` with one argument as a process of exactly this id (clone3(2) with set_tid),
/// with `input` as its standard input. Only for a process with one thread.
pub fn start_with_pid(pid: u32, program: &std::ffi::CStr, input: OwnedFd) -> io::Result<()> {
    let wanted = [libc::pid_t::try_from(pid).unwrap()];
    // SAFETY: clone_args is a C struct of integers, for which all zeroes is a value.
    let mut args: libc::clone_args = unsafe { std::mem::zeroed() };
    args.exit_signal = u64::try_from(libc::SIGCHLD).unwrap();
    args.set_tid = wanted.as_ptr() as u64;
    args.set_tid_size = 1;
    let arguments = [program.as_ptr(), std::ptr::null()];
    // SAFETY: without CLONE_VM this is fork(2) in a process with one thread; `wanted` outlives it.
    match unsafe { libc::syscall(libc::SYS_clone3, &raw const args, size_of_val(&args)) } {
        // SAFETY: in the child, which only calls these three and leaves; the strings and the
        // array that execv(3) reads end in nul and null.
        0 => unsafe {
            libc::dup2(input.as_raw_fd(), 0);
            libc::execv(program.as_ptr(), arguments.as_ptr());
            libc::_exit(127)
        },
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}

/// Does something in a copy of this process (fork(2)) that ends behind it; returns whether that
/// ended well. The copy has the one thread that calls this. It is killed some seconds after the
/// time is up.
pub fn in_a_child(within: Duration, what: impl FnOnce()) -> io::Result<bool> {
    let alarm = u32::try_from(within.as_secs() + 10).unwrap_or(u32::MAX);
    // SAFETY: the child takes no lock that another thread may hold: the C library sees to those of
    // its own. It leaves without running what belongs to the parent.
    let child = unsafe { libc::fork() };
    match child {
        -1 => Err(io::Error::last_os_error()),
        // SAFETY: both take an integer. A child that hangs is killed by the alarm.
        0 => unsafe {
            libc::alarm(alarm);
            what();
            libc::_exit(0)
        },
        child => {
            let mut status = 0;
            // SAFETY: waitpid(2) writes one int, which is ours.
            match unsafe { libc::waitpid(child, &raw mut status, 0) } {
                -1 => Err(io::Error::last_os_error()),
                _ => Ok(status == 0),
            }
        }
    }
}

/// Has `command` start its program as the leader of a session of its own, without a terminal.
pub fn in_own_session(command: &mut std::process::Command) {
    use std::os::unix::process::CommandExt;
    // SAFETY: setsid(2) is async-signal-safe and takes no memory.
    unsafe {
        command.pre_exec(|| match libc::setsid() {
            -1 => Err(io::Error::last_os_error()),
            _ => Ok(()),
        });
    }
}

/// Has `command` start its program with every signal blocked and SIGCHLD ignored.
pub fn with_signals_blocked(command: &mut std::process::Command) {
    use std::os::unix::process::CommandExt;
    // SAFETY: all three are async-signal-safe; sigfillset(3) initialises the set that
    // sigprocmask(2) reads.
    unsafe {
        command.pre_exec(|| {
            let mut all = std::mem::MaybeUninit::<libc::sigset_t>::uninit();
            libc::sigfillset(all.as_mut_ptr());
            libc::sigprocmask(libc::SIG_SETMASK, all.as_ptr(), std::ptr::null_mut());
            libc::signal(libc::SIGCHLD, libc::SIG_IGN);
            Ok(())
        });
    }
}

/// Has `command` leave `descriptors` open for its program, as the numbers 3, 4, … in their order.
pub fn pass_descriptors(command: &mut std::process::Command, descriptors: Vec<OwnedFd>) {
    use std::os::unix::process::CommandExt;
    // First out of the way of the numbers to be given, then there.
    let beyond = i32::try_from(descriptors.len()).unwrap() + 100;
    let high: Vec<OwnedFd> = descriptors
        .into_iter()
        .map(|descriptor| rustix::io::fcntl_dupfd_cloexec(descriptor, beyond).unwrap())
        .collect();
    // SAFETY: dup2(2) is async-signal-safe; the numbers stay open in the parent because the
    // closure owns them.
    unsafe {
        command.pre_exec(move || {
            for (number, descriptor) in (3..).zip(&high) {
                if libc::dup2(descriptor.as_raw_fd(), number) < 0 {
                    return Err(io::Error::last_os_error());
                }
            }
            Ok(())
        });
    }
}

/// Has `command` become `ids` before it runs its program.
pub fn become_before(command: &mut std::process::Command, ids: crate::Ids) {
    use std::os::unix::process::CommandExt;
    // SAFETY: `become_user` makes three system calls and allocates nothing.
    unsafe {
        command.pre_exec(move || super::become_user(&ids));
    }
}

/// Has `command` run its program with at most so many descriptors, for good.
pub fn limit_before(command: &mut std::process::Command, limit: u64) {
    use std::os::unix::process::CommandExt;
    let limit = libc::rlimit { rlim_cur: limit, rlim_max: limit };
    // SAFETY: setrlimit(2) is async-signal-safe and only reads the rlimit that the closure owns.
    unsafe {
        command.pre_exec(move || match libc::setrlimit(libc::RLIMIT_NOFILE, &limit) {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        });
    }
}
