//! Why the policy in force is not kept, what to do about it, and what has become of the copy of an older one.

use std::fmt;
use std::io;

use rustix::io::Errno;

/// Why it is not kept.
#[derive(Debug)]
pub(crate) struct NotKept {
    pub(super) error: io::Error,
    pub(super) older: Older,
}

/// The copy that was there before.
#[derive(Debug)]
pub(crate) enum Older {
    /// There was none, or it is removed.
    Gone,
    /// It is of the policy in force.
    Same,
    /// It cannot be removed; a note keeps it from being used.
    Noted(io::Error),
    /// It cannot be removed, and nothing keeps it from being used.
    Usable(io::Error),
}

impl fmt::Display for NotKept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}; {}; {}", self.error, cure(&self.error), self.older)
    }
}

impl fmt::Display for Older {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Gone => f.write_str("there is no older copy any more"),
            Self::Same => f.write_str("the copy that is there has the same text"),
            Self::Noted(error) => write!(
                f,
                "the older copy cannot be removed ({error}): remove it before the next boot, until then \
                 it is not used"
            ),
            Self::Usable(error) => write!(
                f,
                "the older copy cannot be removed ({error}): remove it, or a start with a policy that \
                 does not load allows what has been revoked"
            ),
        }
    }
}

/// What to do about the directory.
fn cure(error: &io::Error) -> &'static str {
    match Errno::from_io_error(error) {
        Some(Errno::NOSPC | Errno::DQUOT) => "make room in its file system",
        Some(Errno::ROFS | Errno::ACCESS | Errno::PERM) => "make its directory writable",
        Some(Errno::AGAIN) => "raise TasksMax= of the unit",
        Some(Errno::IO) => "look for errors of the disk in the kernel's log",
        _ => "set StateDirectory=fdbroker in the unit, or start the broker with --state-directory",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_unit_is_not_to_be_changed_where_the_disk_is_at_fault() {
        for (errno, cure) in [
            (Errno::NOSPC, "make room"),
            (Errno::DQUOT, "make room"),
            (Errno::ROFS, "make its directory writable"),
            (Errno::ACCESS, "make its directory writable"),
            (Errno::NOENT, "set StateDirectory=fdbroker"),
            (Errno::NOTDIR, "--state-directory"),
        ] {
            let said = NotKept { error: errno.into(), older: Older::Gone }.to_string();
            assert!(said.contains(cure), "{said}");
            assert_eq!(said.contains("StateDirectory="), cure.contains("tate"), "{said}");
        }
    }
}
