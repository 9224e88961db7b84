//! Descriptors that this process was started with.

use std::io;
use std::os::fd::{BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::sync::Mutex;

/// Numbers that have been taken: each descriptor gets one owner.
static TAKEN: Mutex<Vec<RawFd>> = Mutex::new(Vec::new());

/// Takes the descriptor `number` that the process which started this one left open for it, and
/// makes it close-on-exec.
///
/// To be called only for numbers that were promised from outside (0 in the worker, LISTEN_FDS,
/// `--ready-fd`), before anything else in this process opens descriptors.
///
/// # Errors
/// When `number` is not open (EBADF), or has been taken already (EBUSY).
pub(crate) fn adopt(number: RawFd) -> io::Result<OwnedFd> {
    let mut taken = TAKEN.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    if number < 0 || (1..=2).contains(&number) {
        return Err(io::Error::from_raw_os_error(libc::EBADF));
    }
    if taken.contains(&number) {
        return Err(io::Error::from_raw_os_error(libc::EBUSY));
    }
    // SAFETY: fcntl(2) with F_SETFD touches no memory; a number that is not open is an error.
    if unsafe { libc::fcntl(number, libc::F_SETFD, libc::FD_CLOEXEC) } != 0 {
        return Err(io::Error::last_os_error());
    }
    taken.push(number);
    // SAFETY: the number is open (fcntl succeeded). It came from outside, nothing in this
    // process has opened it, and `taken` sees to it that no second owner is made.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

/// Marks every descriptor from 3 up close-on-exec: what the starter left open by mistake does
/// not reach the worker. Uses close_range(2), which needs Linux 5.11; where the kernel or a filter
/// of system calls (as of an older container runtime) refuses it, the entries of `/proc/self/fd`.
///
/// # Errors
/// When neither works.
pub(crate) fn seal_inherited() -> io::Result<()> {
    let first: libc::c_uint = 3;
    // SAFETY: with CLOSE_RANGE_CLOEXEC the call closes nothing and touches no memory.
    let result = unsafe {
        libc::syscall(libc::SYS_close_range, first, libc::c_uint::MAX, libc::CLOSE_RANGE_CLOEXEC)
    };
    if result == 0 { Ok(()) } else { seal_one_by_one() }
}

fn seal_one_by_one() -> io::Result<()> {
    let names = std::fs::read_dir("/proc/self/fd")?
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<RawFd>().ok());
    for number in names.filter(|number| *number > 2).collect::<Vec<_>>() {
        // SAFETY: as in `adopt`. The one that read the directory has been closed: EBADF.
        unsafe { libc::fcntl(number, libc::F_SETFD, libc::FD_CLOEXEC) };
    }
    Ok(())
}

/// Standard error, which stays open for as long as the process lives.
pub(crate) fn standard_error() -> BorrowedFd<'static> {
    // SAFETY: `adopt` refuses 2, and nothing else in this process closes it.
    unsafe { BorrowedFd::borrow_raw(libc::STDERR_FILENO) }
}

#[cfg(test)]
mod tests {
    use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

    #[test]
    fn without_close_range_descriptors_are_sealed_one_by_one() {
        let file = tempfile::tempfile().unwrap();
        // SAFETY: dup(2) touches no memory; what it returns is new, and owned from here on.
        let open = unsafe { OwnedFd::from_raw_fd(libc::dup(file.as_raw_fd())) };
        super::seal_one_by_one().unwrap();
        let flags = rustix::io::fcntl_getfd(&open).unwrap();
        assert!(flags.contains(rustix::io::FdFlags::CLOEXEC));
    }
}
