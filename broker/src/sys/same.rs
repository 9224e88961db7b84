//! Which descriptors of this process are one open file description.

use std::cmp::Ordering;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

/// The type of comparison, see kcmp(2).
const KCMP_FILE: libc::c_int = 0;

/// Compares two descriptors by their open file descriptions, in an order of the kernel's own that lasts
/// until it is booted again (kcmp(2), Linux 3.5). The file itself is not asked anything, so this
/// cannot sleep.
///
/// # Errors
/// As kcmp(2); ENOSYS where the kernel was built without it.
pub(crate) fn compare(one: BorrowedFd<'_>, other: BorrowedFd<'_>) -> io::Result<Ordering> {
    let own = std::process::id();
    let (one, other) = (one.as_raw_fd(), other.as_raw_fd());
    // SAFETY: kcmp(2) takes numbers only, and changes nothing.
    match unsafe { libc::syscall(libc::SYS_kcmp, own, own, KCMP_FILE, one, other) } {
        0 => Ok(Ordering::Equal),
        1 => Ok(Ordering::Less),
        2 => Ok(Ordering::Greater),
        // Unequal, and in no order.
        3.. => Err(io::ErrorKind::Unsupported.into()),
        _ => Err(io::Error::last_os_error()),
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::os::fd::AsFd;

    use super::*;

    #[test]
    fn duplicates_are_one_and_others_are_in_one_order() {
        let first = File::open("/dev/null").unwrap();
        let (duplicate, second) = (first.try_clone().unwrap(), File::open("/dev/null").unwrap());
        let ordered = |one: &File, other: &File| compare(one.as_fd(), other.as_fd()).unwrap();
        assert_eq!(ordered(&first, &duplicate), Ordering::Equal);
        assert_eq!(ordered(&first, &second), ordered(&second, &first).reverse());
        assert_ne!(ordered(&first, &second), Ordering::Equal);
    }
}
