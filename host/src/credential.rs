//! Whether a file is kept well enough to hold a secret: the supervisor asks before it reads one, and a check of
//! a policy beforehand.

use std::fmt;
use std::fs::{File, Metadata};
use std::os::unix::fs::MetadataExt;

use fdbroker_policy::Uid;
use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, openat2};

/// What is wrong with a file that is to hold a secret.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CredentialFault {
    /// It is a directory, a FIFO, or anything but a regular file.
    NotAFile,
    /// It belongs to another user than the one who is to use it.
    Owner {
        /// Whose it is.
        found: Uid,
        /// Whose it should be.
        expected: Uid,
    },
    /// Others than its owner may do something with it.
    Mode(u32),
    /// Others than its owner may write it.
    Writable(u32),
}

/// Who may do something with the file beside its owner.
const OTHERS: u32 = 0o077;
/// Who may write it beside its owner.
const OTHERS_WRITE: u32 = 0o022;

/// Opens a file that is to hold a secret. It waits for no FIFO, and follows no symbolic link.
///
/// # Errors
/// As openat2(2): ELOOP for a symbolic link anywhere in the path.
pub fn open_credential(path: &str) -> Result<File, rustix::io::Errno> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY;
    let flags = flags | OFlags::CLOEXEC;
    openat2(CWD, path, flags, Mode::empty(), ResolveFlags::NO_SYMLINKS).map(File::from)
}

/// Returns what is wrong with a file that is to hold a secret of `owner`, or `None`.
#[must_use]
pub fn credential_fault(file: &Metadata, owner: Uid) -> Option<CredentialFault> {
    let (found, mode) = (Uid(file.uid()), file.mode() & 0o7777);
    if !file.is_file() {
        return Some(CredentialFault::NotAFile);
    }
    if found != owner {
        return Some(CredentialFault::Owner { found, expected: owner });
    }
    (mode & OTHERS != 0).then_some(CredentialFault::Mode(mode))
}

/// Returns what is wrong with a file of certificates that the broker of `owner` is to believe, or `None`: others
/// may read it, and nobody but root and `owner` may change it.
#[must_use]
pub fn certificate_fault(file: &Metadata, owner: Uid) -> Option<CredentialFault> {
    let (found, mode) = (Uid(file.uid()), file.mode() & 0o7777);
    if !file.is_file() {
        return Some(CredentialFault::NotAFile);
    }
    if found != owner && found != Uid::ROOT {
        return Some(CredentialFault::Owner { found, expected: owner });
    }
    (mode & OTHERS_WRITE != 0).then_some(CredentialFault::Writable(mode))
}

impl fmt::Display for CredentialFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotAFile => f.write_str("it is not a regular file"),
            Self::Owner { found, expected } => write!(
                f,
                "it belongs to user {}, who can change it: change its owner to user {}",
                found.0, expected.0
            ),
            Self::Mode(mode) => {
                write!(f, "others than its owner may use it (mode {mode:04o}): chmod 600")
            }
            Self::Writable(mode) => {
                write!(f, "others than its owner may write it (mode {mode:04o}): chmod go-w")
            }
        }
    }
}

impl std::error::Error for CredentialFault {}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    #[test]
    fn a_file_that_only_its_owner_may_read_has_no_fault() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("secret");
        fs::write(&path, "x").unwrap();
        let own = Uid(fs::metadata(&path).unwrap().uid());
        let fault = |mode, owner| {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            credential_fault(&fs::metadata(&path).unwrap(), owner)
        };
        assert_eq!((fault(0o600, own), fault(0o400, own)), (None, None));
        for mode in [0o640, 0o604, 0o620, 0o601] {
            assert_eq!(fault(mode, own), Some(CredentialFault::Mode(mode)));
        }
        let (found, expected) = (own, Uid(own.0 + 1));
        assert_eq!(fault(0o600, expected), Some(CredentialFault::Owner { found, expected }));
        let directory = fs::metadata(directory.path()).unwrap();
        assert_eq!(credential_fault(&directory, own), Some(CredentialFault::NotAFile));
    }

    #[test]
    fn certificates_may_be_read_by_others_and_written_by_nobody() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("ca.pem");
        fs::write(&path, "x").unwrap();
        let own = Uid(fs::metadata(&path).unwrap().uid());
        let fault = |mode, owner| {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            certificate_fault(&fs::metadata(&path).unwrap(), owner)
        };
        assert_eq!((fault(0o644, own), fault(0o400, own)), (None, None));
        for mode in [0o664, 0o646, 0o620] {
            assert_eq!(fault(mode, own), Some(CredentialFault::Writable(mode)));
        }
        let expected = Uid(own.0 + 1);
        let of_another = Some(CredentialFault::Owner { found: own, expected });
        let of_another = if own == Uid::ROOT { None } else { of_another };
        assert_eq!(fault(0o644, expected), of_another);
        let directory = fs::metadata(directory.path()).unwrap();
        assert_eq!(certificate_fault(&directory, own), Some(CredentialFault::NotAFile));
    }

    #[test]
    fn no_symbolic_link_is_followed_and_no_fifo_waited_for() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name).to_str().unwrap().to_owned();
        fs::write(path("secret"), "x").unwrap();
        symlink(path("secret"), path("link")).unwrap();
        symlink(directory.path(), path("directory")).unwrap();
        rustix::fs::mkfifoat(CWD, path("fifo"), Mode::RUSR).unwrap();
        for link in ["link", "directory/secret"] {
            assert_eq!(open_credential(&path(link)).unwrap_err(), rustix::io::Errno::LOOP);
        }
        open_credential(&path("fifo")).unwrap();
    }
}
