//! Opens devices and files, and checks that what was opened is what the policy says.

use std::os::fd::{BorrowedFd, OwnedFd};

use fdbroker_policy::{Access, DeviceNumber, PathSource};
use fdbroker_wire::Errno;
use rustix::fs::{
    CWD, FileType, Mode, OFlags, ResolveFlags, Stat, fcntl_getfl, fcntl_setfl, fstat, openat2,
};

use super::capability::permission_cure;
use super::failure::OpenFailure;
use crate::fd::device;

/// Opens what is at a path.
pub(crate) struct PathOpener {
    at: PathSource,
    expected: Expected,
}

/// What must be found at the path.
enum Expected {
    File,
    /// A device; one with this number, if the policy names one.
    Device(Option<DeviceNumber>),
}

impl PathOpener {
    /// Opens a device. A device that comes back may have another number: only the policy pins it.
    pub(crate) fn device(at: &PathSource, number: Option<DeviceNumber>) -> Self {
        Self { at: at.clone(), expected: Expected::Device(number) }
    }

    /// Opens a regular file.
    pub(crate) fn file(at: &PathSource) -> Self {
        Self { at: at.clone(), expected: Expected::File }
    }

    /// Returns whether the path leads to what is open, looked at without opening it (O_PATH). If it leads nowhere now,
    /// nothing has taken its place.
    pub(crate) fn leads_to(&self, opened: BorrowedFd<'_>) -> bool {
        let flags = OFlags::PATH | OFlags::CLOEXEC;
        let found = openat2(CWD, &self.at.path, flags, Mode::empty(), resolution(&self.at));
        let (Ok(now), Ok(before)) = (found.and_then(fstat), fstat(opened)) else { return true };
        let identity = |stat: &Stat| (stat.st_dev, stat.st_ino, stat.st_rdev);
        identity(&now) == identity(&before)
    }

    pub(crate) fn path(&self) -> &str {
        &self.at.path
    }

    pub(crate) fn is_device(&self) -> bool {
        matches!(self.expected, Expected::Device(_))
    }

    /// Opens it: an open file description of its own, close-on-exec and blocking.
    ///
    /// The open itself does not wait for a FIFO's other end or a modem's carrier, and gains no
    /// controlling terminal.
    pub(crate) fn open(&self, capabilities: &[String]) -> Result<OwnedFd, OpenFailure> {
        let flags =
            access_flags(self.at.access) | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let failed = |error| self.not_opened(error, capabilities);
        let opened = openat2(CWD, &self.at.path, flags, Mode::empty(), resolution(&self.at))
            .map_err(failed)?;
        let stat = fstat(&opened).map_err(failed)?;
        self.check(&stat)?;
        fcntl_getfl(&opened)
            .and_then(|flags| fcntl_setfl(&opened, flags - OFlags::NONBLOCK))
            .map_err(failed)?;
        Ok(opened)
    }

    fn check(&self, stat: &Stat) -> Result<(), OpenFailure> {
        let found = FileType::from_raw_mode(stat.st_mode);
        match (&self.expected, device::number_of(stat)) {
            (Expected::File, _) if found == FileType::RegularFile => Ok(()),
            (Expected::File, _) => {
                Err(self.mistaken(&format!("is {}, not a regular file", noun(found))))
            }
            (Expected::Device(Some(number)), Some(device)) if *number != device => {
                Err(self.mistaken(&format!("is device {device}, not {number}")))
            }
            (Expected::Device(_), Some(_)) => Ok(()),
            (Expected::Device(_), None) => {
                Err(self.mistaken(&format!("is {}, not a device", noun(found))))
            }
        }
    }

    fn not_opened(&self, error: rustix::io::Errno, capabilities: &[String]) -> OpenFailure {
        let cure = match error {
            rustix::io::Errno::PERM | rustix::io::Errno::ACCESS => &*permission_cure(capabilities),
            rustix::io::Errno::LOOP => {
                "the path contains a symbolic link; if that is intended, set follow_symlinks = true"
            }
            rustix::io::Errno::NOSYS => {
                "openat2(2) needs Linux 5.6 or later, and a seccomp filter must not forbid it; \
                 remove RestrictSUIDSGID= from the unit"
            }
            rustix::io::Errno::NOENT | rustix::io::Errno::NXIO | rustix::io::Errno::NODEV => {
                match self.expected {
                    Expected::File => "create the file, or correct the path",
                    Expected::Device(_) => {
                        "plug the device in, load its driver, or correct the path"
                    }
                }
            }
            _ => "see open(2)",
        };
        self.failure(Errno::IO, &format!("cannot be opened: {error}; {cure}"))
    }

    fn mistaken(&self, what: &str) -> OpenFailure {
        let cure = "it was closed again; correct the path or the policy, then reload (`fdbroker \
                   reload`, \
                    or SIGHUP)";
        self.failure(Errno::NODEV, &format!("{what}; {cure}"))
    }

    fn failure(&self, errno: Errno, what: &str) -> OpenFailure {
        OpenFailure { errno, text: format!("{} {what}", self.at.path) }
    }
}

fn resolution(at: &PathSource) -> ResolveFlags {
    if at.follow_symlinks { ResolveFlags::NO_MAGICLINKS } else { ResolveFlags::NO_SYMLINKS }
}

/// What a file is called that is none of its kind.
fn noun(kind: FileType) -> &'static str {
    match kind {
        FileType::RegularFile => "a regular file",
        FileType::Directory => "a directory",
        FileType::Symlink => "a symlink",
        FileType::Fifo => "a FIFO",
        FileType::Socket => "a socket",
        FileType::CharacterDevice | FileType::BlockDevice => "a device",
        FileType::Unknown => "a file of unknown type",
    }
}

fn access_flags(access: Access) -> OFlags {
    match access {
        Access::Read => OFlags::RDONLY,
        Access::Write => OFlags::WRONLY,
        Access::ReadWrite => OFlags::RDWR,
    }
}
