//! What this process does about a signal, where tokio has no say.
//!
//! Most signals end a process that does not expect them, and the supervisor's end empties every
//! slot. So both processes ignore each signal that they have no use for. What the starter left
//! behind goes first: a blocked signal never arrives, and while SIGCHLD is ignored the kernel
//! reaps children itself and wait(2) fails.

use std::mem::MaybeUninit;

/// Signals that end a process by default, and mean nothing to the broker. SIGTTOU comes from a
/// terminal that stops background programs (`stty tostop`); SIGXFSZ from a write past the size
/// limit of a file, which then fails with EFBIG. SIGHUP is here for the time before the
/// supervisor waits for it.
const UNUSED: [libc::c_int; 13] = [
    libc::SIGHUP,
    libc::SIGPIPE,
    libc::SIGALRM,
    libc::SIGUSR1,
    libc::SIGUSR2,
    libc::SIGSTKFLT,
    libc::SIGIO,
    libc::SIGPWR,
    libc::SIGPROF,
    libc::SIGVTALRM,
    libc::SIGXCPU,
    libc::SIGXFSZ,
    libc::SIGTTOU,
];

/// Signals that stop the broker: its supervisor waits for them and then ends its worker.
const STOPPING: [libc::c_int; 3] = [libc::SIGINT, libc::SIGTERM, libc::SIGQUIT];

/// Unblocks every signal, has children waited for, and ignores what the broker has no use for.
/// The worker inherits all of it.
pub(crate) fn ignore_unused() {
    unblock_all();
    // SAFETY: SIG_DFL installs no handler: no code of ours runs. SIGCHLD can be reset, so that
    // this cannot fail.
    unsafe { libc::signal(libc::SIGCHLD, libc::SIG_DFL) };
    let real_time = libc::SIGRTMIN()..=libc::SIGRTMAX();
    UNUSED.into_iter().chain(real_time).for_each(ignore);
}

/// Ignores the signals that stop the broker: a worker ends when its link to the supervisor does. A
/// signal to the whole group or unit is meant for the supervisor.
pub(crate) fn leave_stopping_to_the_supervisor() {
    STOPPING.into_iter().for_each(ignore);
}

/// Ends this process after so many seconds, whatever it does then (SIGALRM).
pub(crate) fn end_after(seconds: u32) {
    // SAFETY: SIG_DFL installs no handler: no code of ours runs. SIGALRM can be reset. alarm(2) touches no
    // memory and cannot fail.
    unsafe {
        libc::signal(libc::SIGALRM, libc::SIG_DFL);
        libc::alarm(seconds);
    }
}

/// Has the end of that time mean nothing any more.
pub(crate) fn end_no_more() {
    ignore(libc::SIGALRM);
}

/// Has every signal do what it does by default: a program that this process becomes is to be ended by them.
pub(crate) fn heed_all() {
    let real_time = libc::SIGRTMIN()..=libc::SIGRTMAX();
    for signal in UNUSED.into_iter().chain(STOPPING).chain(real_time) {
        // SAFETY: SIG_DFL installs no handler: no code of ours runs. Each of these signals can be reset.
        unsafe { libc::signal(signal, libc::SIG_DFL) };
    }
}

fn ignore(signal: libc::c_int) {
    // SAFETY: SIG_IGN installs no handler: no code of ours runs. Each of these signals can be
    // ignored; an error would leave things as they were.
    unsafe { libc::signal(signal, libc::SIG_IGN) };
}

/// Blocks every signal in this thread: others handle them. A process that it starts unblocks them by
/// [`ignore_unused`].
pub(crate) fn block_all() {
    let mut all = MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: sigfillset(3) initialises the set, which is ours, and cannot fail for one that is;
    // pthread_sigmask(3) then reads it.
    unsafe {
        libc::sigfillset(all.as_mut_ptr());
        libc::pthread_sigmask(libc::SIG_SETMASK, all.as_ptr(), std::ptr::null_mut());
    }
}

fn unblock_all() {
    let mut none = MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: sigemptyset(3) initialises the set, which is ours, and cannot fail for one that is;
    // sigprocmask(2) then reads it. There is one thread.
    unsafe {
        libc::sigemptyset(none.as_mut_ptr());
        libc::sigprocmask(libc::SIG_SETMASK, none.as_ptr(), std::ptr::null_mut());
    }
}
