//! Descriptors that no crate in use makes.

use std::io;
use std::os::fd::{FromRawFd, OwnedFd, RawFd};

/// An io_uring instance.
pub fn io_uring() -> io::Result<OwnedFd> {
    let mut parameters = [0u64; 15];
    // SAFETY: io_uring_setup(2) reads and writes one io_uring_params of 120 bytes, which is ours.
    let number = unsafe { libc::syscall(libc::SYS_io_uring_setup, 1, parameters.as_mut_ptr()) };
    match RawFd::try_from(number) {
        // SAFETY: the kernel has just installed this descriptor for us alone.
        Ok(number) if number >= 0 => Ok(unsafe { OwnedFd::from_raw_fd(number) }),
        _ => Err(io::Error::last_os_error()),
    }
}

/// A signalfd that waits for nothing.
pub fn signalfd() -> OwnedFd {
    // SAFETY: sigset_t is an array of integers, and all zeroes is the empty set on Linux;
    // signalfd(2) only reads it.
    let number = unsafe { libc::signalfd(-1, &std::mem::zeroed(), libc::SFD_CLOEXEC) };
    assert!(number >= 0, "signalfd: {}", io::Error::last_os_error());
    // SAFETY: the kernel has just installed this descriptor for us alone.
    unsafe { OwnedFd::from_raw_fd(number) }
}
