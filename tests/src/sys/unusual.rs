//! Descriptors that no crate in use makes, and socket options that none sets.

use std::io;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd, RawFd};

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

/// Switches a flag of a socket on (an option of SOL_SOCKET).
pub fn set_flag(socket: impl AsFd, option: libc::c_int) -> io::Result<()> {
    let on: libc::c_int = 1;
    let size = libc::socklen_t::try_from(size_of_val(&on)).unwrap();
    let number = socket.as_fd().as_raw_fd();
    let value = (&raw const on).cast();
    // SAFETY: setsockopt(2) reads one int at the address given, which is ours.
    match unsafe { libc::setsockopt(number, libc::SOL_SOCKET, option, value, size) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Whether a flag of a socket is on (an option of SOL_SOCKET).
pub fn flag(socket: impl AsFd, option: libc::c_int) -> io::Result<bool> {
    let mut value: libc::c_int = 0;
    let mut size = libc::socklen_t::try_from(size_of_val(&value)).unwrap();
    let number = socket.as_fd().as_raw_fd();
    let into = (&raw mut value).cast();
    // SAFETY: getsockopt(2) writes at most one int to the address given, which is ours.
    match unsafe { libc::getsockopt(number, libc::SOL_SOCKET, option, into, &raw mut size) } {
        0 => Ok(value != 0),
        _ => Err(io::Error::last_os_error()),
    }
}

/// A duplicate of the descriptor `number` of another process (pidfd_getfd(2)).
pub fn taken_from(process: u32, number: u32) -> io::Result<OwnedFd> {
    let raw = i32::try_from(process).ok().and_then(rustix::process::Pid::from_raw);
    let pidfd = rustix::process::pidfd_open(raw.unwrap(), rustix::process::PidfdFlags::empty())?;
    Ok(rustix::process::pidfd_getfd(
        &pidfd,
        i32::try_from(number).unwrap(),
        rustix::process::PidfdGetfdFlags::empty(),
    )?)
}

/// Switches SO_PASSCRED of a socket on or off.
pub fn pass_credentials(socket: &OwnedFd, on: bool) -> io::Result<()> {
    use nix::sys::socket::{setsockopt, sockopt};
    Ok(setsockopt(socket, sockopt::PassCred, &on)?)
}
