//! The three system calls of landlock(7).
//!
//! Why not a crate: the one there is brings four others into the root process, for what is a page here.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

/// What a domain handles: all of it is refused unless a rule allows it. As in linux/landlock.h.
#[repr(C)]
#[derive(Clone, Copy, Default)]
pub(crate) struct Handled {
    pub(crate) files: u64,
    pub(crate) network: u64,
    pub(crate) scoped: u64,
}

/// As in linux/landlock.h, where it is packed.
#[repr(C, packed)]
struct PathBeneath {
    allowed: u64,
    parent: RawFd,
}

/// As in linux/landlock.h.
#[repr(C)]
struct NetPort {
    allowed: u64,
    port: u64,
}

const VERSION: libc::c_uint = 1;
const PATH_BENEATH: libc::c_int = 1;
const NET_PORT: libc::c_int = 2;
const NO_FLAGS: libc::c_uint = 0;

/// Returns the version of the kernel's interface.
///
/// # Errors
/// ENOSYS where the kernel has none, EOPNOTSUPP where it is switched off.
pub(crate) fn version() -> io::Result<u32> {
    let (none, no_size) = (std::ptr::null::<Handled>(), 0_usize);
    // SAFETY: with LANDLOCK_CREATE_RULESET_VERSION the call reads no memory; it returns a number.
    let version =
        unsafe { libc::syscall(libc::SYS_landlock_create_ruleset, none, no_size, VERSION) };
    u32::try_from(version).map_err(|_| io::Error::last_os_error())
}

/// Returns a new set of rules that allows nothing of what is `handled`.
///
/// # Errors
/// E2BIG or EINVAL where the kernel does not know something of it.
pub(crate) fn ruleset(handled: Handled) -> io::Result<OwnedFd> {
    let size = size_of::<Handled>();
    // SAFETY: the kernel reads `size` bytes at the address of `handled`, which is ours.
    let number = unsafe {
        libc::syscall(libc::SYS_landlock_create_ruleset, &raw const handled, size, NO_FLAGS)
    };
    let number = RawFd::try_from(number).unwrap_or(-1);
    if number < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel has just made this descriptor for us; nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

/// Allows `allowed` to the files below a directory.
///
/// # Errors
/// As landlock_add_rule(2).
pub(crate) fn allow_beneath(
    ruleset: &OwnedFd,
    directory: BorrowedFd<'_>,
    allowed: u64,
) -> io::Result<()> {
    let rule = PathBeneath { allowed, parent: directory.as_raw_fd() };
    // SAFETY: the kernel reads one packed rule at the address given, which is ours, and keeps
    // nothing of the borrowed descriptor but what it names.
    let result = unsafe {
        libc::syscall(
            libc::SYS_landlock_add_rule,
            ruleset.as_raw_fd(),
            PATH_BENEATH,
            &raw const rule,
            NO_FLAGS,
        )
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Allows `allowed` to a TCP port.
///
/// # Errors
/// As landlock_add_rule(2).
pub(crate) fn allow_port(ruleset: &OwnedFd, port: u16, allowed: u64) -> io::Result<()> {
    let rule = NetPort { allowed, port: port.into() };
    // SAFETY: the kernel reads one rule at the address given, which is ours.
    let result = unsafe {
        libc::syscall(
            libc::SYS_landlock_add_rule,
            ruleset.as_raw_fd(),
            NET_PORT,
            &raw const rule,
            NO_FLAGS,
        )
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Puts the calling thread, and whatever it starts from now on, under the rules.
///
/// # Errors
/// As landlock_restrict_self(2); EPERM without "no new privileges".
pub(crate) fn restrict(ruleset: &OwnedFd) -> io::Result<()> {
    // SAFETY: the call touches no memory of ours.
    let result =
        unsafe { libc::syscall(libc::SYS_landlock_restrict_self, ruleset.as_raw_fd(), NO_FLAGS) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
