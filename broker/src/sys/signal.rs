//! What this process does about a signal, where tokio has no say.

/// Lets no terminal stop this process, and the programs that it starts, for writing to it from
/// the background (SIGTTOU, which `stty tostop` has sent).
pub(crate) fn write_from_the_background() {
    // SAFETY: SIG_IGN installs no handler: no code of ours runs. SIGTTOU can be ignored, so that
    // this cannot fail.
    unsafe { libc::signal(libc::SIGTTOU, libc::SIG_IGN) };
}

/// Has a write past the limit of a file's size fail with EFBIG, instead of ending the process
/// (SIGXFSZ, see setrlimit(2)).
pub(crate) fn hear_of_full_files() {
    // SAFETY: as above; SIGXFSZ can be ignored too.
    unsafe { libc::signal(libc::SIGXFSZ, libc::SIG_IGN) };
}

/// Lets a SIGHUP that comes before anybody heeds it end nothing: the policy is being read for the
/// first time then.
pub(crate) fn wait_with_reloads() {
    // SAFETY: as above; SIGHUP can be ignored too.
    unsafe { libc::signal(libc::SIGHUP, libc::SIG_IGN) };
}
