//! A descriptor that only those can name who may look into this process.
//!
//! What may trace a process (PTRACE_MODE_READ in ptrace(2)) sees by /proc what it has open. The kernel denies that to a process
//! that is confined more: by a Landlock domain, which no file of /proc tells of, or by another security module.
//! So this broker makes memory with a name that nobody can guess, and the other one tells the name.

use std::fs;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;

use rustix::fs::{MemfdFlags, memfd_create};
use rustix::process::Pid;
use rustix::rand::{GetRandomFlags, getrandom};

/// What nobody has to name.
const NOTHING: i32 = -1;

/// What one that asks is shown.
pub(super) struct Shown(Option<Memory>);

struct Memory {
    descriptor: OwnedFd,
    name: String,
}

impl Shown {
    /// Something that can be named by looking into this process only.
    ///
    /// # Errors
    /// As memfd_create(2) and readlink(2).
    pub(super) fn new() -> io::Result<Self> {
        let mut bytes = [0_u8; 16];
        let length = getrandom(&mut bytes, GetRandomFlags::empty())?;
        if length < bytes.len() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let random = u128::from_ne_bytes(bytes);
        let called = format!("fdbroker-{random:032x}");
        // Linux 6.3 and later may refuse what could be executed (vm.memfd_noexec); earlier ones do not know the flag.
        let descriptor = memfd_create(&called, MemfdFlags::CLOEXEC | MemfdFlags::NOEXEC_SEAL)
            .or_else(|_| memfd_create(&called, MemfdFlags::CLOEXEC))?;
        let name = read("self", descriptor.as_raw_fd())?;
        Ok(Self(Some(Memory { descriptor, name })))
    }

    /// Nothing: one that asks needs no such right.
    pub(super) fn nothing() -> Self {
        Self(None)
    }

    /// The number of the descriptor.
    pub(super) fn number(&self) -> i32 {
        self.0.as_ref().map_or(NOTHING, |memory| memory.descriptor.as_raw_fd())
    }

    /// Whether this is its name.
    pub(super) fn is_called(&self, name: &str) -> bool {
        self.0.as_ref().is_none_or(|memory| memory.name == name)
    }
}

/// The name of what another process shows.
///
/// # Errors
/// As readlink(2): this process may not look into that one.
pub(super) fn name_of(pid: Pid, number: i32) -> io::Result<String> {
    if number < 0 {
        return Ok(String::new());
    }
    read(&pid.as_raw_pid().to_string(), number)
}

fn read(process: &str, number: i32) -> io::Result<String> {
    let link = Path::new("/proc").join(process).join("fd").join(number.to_string());
    Ok(fs::read_link(link)?.to_string_lossy().into_owned())
}

#[cfg(test)]
mod tests {
    use rustix::process::getpid;

    use super::*;

    #[test]
    fn what_may_look_into_a_process_can_name_what_that_shows() {
        let shown = Shown::new().unwrap();
        let name = name_of(getpid(), shown.number()).unwrap();
        assert!(name.starts_with("/memfd:fdbroker-"), "{name}");
        assert!(shown.is_called(&name) && !shown.is_called(""));
        assert!(!Shown::new().unwrap().is_called(&name), "the next one has the same name");
    }

    #[test]
    fn nothing_has_any_name() {
        let nothing = Shown::nothing();
        assert_eq!(name_of(getpid(), nothing.number()).unwrap(), "");
        assert!(nothing.is_called(""));
    }
}
