//! Opening one resource as the policy says, and checking that what was opened is what it says.

use std::fmt;
use std::os::fd::OwnedFd;
use std::sync::OnceLock;

use fdbroker_policy::{Access, DeviceNumber, Resource, Source};
use fdbroker_wire::Errno;
use rustix::fs::{
    CWD, FileType, Mode, OFlags, ResolveFlags, Stat, fcntl_getfl, fcntl_setfl, fstat, major, minor,
    openat2,
};

/// A resource, and the device number that it must have.
pub(crate) struct Openable {
    resource: Resource,
    /// Set when the policy names a number, or by the first look at the device.
    number: OnceLock<DeviceNumber>,
}

/// Why a resource was not opened.
#[derive(Clone, Debug)]
pub(crate) struct OpenFailure {
    /// What the peer is answered.
    pub(crate) errno: Errno,
    /// What the log says: the resource, the path, what the system said, what to do.
    pub(crate) text: String,
}

impl Openable {
    /// The resource, with its device number as it is now if the policy gives none.
    ///
    /// Behind a symlink that the policy allows, numbers may change: there only the type counts.
    pub(crate) fn new(resource: &Resource) -> Self {
        let openable = Self { resource: resource.clone(), number: OnceLock::new() };
        if let Some(number) = resource.source.number().or_else(|| current_number(resource)) {
            // Just made: nobody else has set it.
            let _ = openable.number.set(number);
        }
        openable
    }

    /// Whether it is exactly this one.
    pub(crate) fn is(&self, resource: &Resource) -> bool {
        self.resource == *resource
    }

    /// Whether the device is still the one that it was at the first look, where only that look names
    /// it. A device that is not there has not changed: it may come back.
    pub(crate) fn is_current(&self) -> bool {
        let changed = || {
            let now = current_number(&self.resource)?;
            self.number.get().map(|first| *first != now)
        };
        self.resource.source.number().is_some() || !changed().unwrap_or(false)
    }

    pub(crate) fn resource(&self) -> &Resource {
        &self.resource
    }

    pub(crate) fn name(&self) -> &str {
        &self.resource.name
    }

    /// Opens it: an open file description of its own, close-on-exec and blocking.
    ///
    /// The open itself does not wait for a FIFO's other end or a modem's carrier, and gains no
    /// controlling terminal.
    pub(crate) fn open(&self) -> Result<OwnedFd, OpenFailure> {
        let flags = access_flags(self.resource.source.at().access)
            | OFlags::NONBLOCK
            | OFlags::NOCTTY
            | OFlags::CLOEXEC;
        let opened =
            openat2(CWD, &self.resource.source.at().path, flags, Mode::empty(), self.resolution())
                .map_err(|error| self.not_opened(error))?;
        let stat = fstat(&opened).map_err(|error| self.not_opened(error))?;
        self.check(&stat)?;
        fcntl_getfl(&opened)
            .and_then(|flags| fcntl_setfl(&opened, flags - OFlags::NONBLOCK))
            .map_err(|error| self.not_opened(error))?;
        Ok(opened)
    }

    fn resolution(&self) -> ResolveFlags {
        resolution(&self.resource)
    }

    fn check(&self, stat: &Stat) -> Result<(), OpenFailure> {
        let found = FileType::from_raw_mode(stat.st_mode);
        match (&self.resource.source, found) {
            (Source::File { .. }, FileType::RegularFile) => Ok(()),
            (Source::Device { .. }, FileType::CharacterDevice | FileType::BlockDevice) => {
                self.check_number(stat)
            }
            (Source::File { .. }, _) => {
                Err(self.mistaken(&format!("is {}, not a regular file", noun(found))))
            }
            (Source::Device { .. }, _) => {
                Err(self.mistaken(&format!("is {}, not a device", noun(found))))
            }
        }
    }

    fn check_number(&self, stat: &Stat) -> Result<(), OpenFailure> {
        let found = number_of(stat);
        let source = &self.resource.source;
        if source.at().follow_symlinks && source.number().is_none() {
            return Ok(());
        }
        let expected = *self.number.get_or_init(|| found);
        if expected == found {
            return Ok(());
        }
        Err(self.mistaken(&format!(
            "is device {}:{}, not {}:{}",
            found.major, found.minor, expected.major, expected.minor
        )))
    }

    fn not_opened(&self, error: rustix::io::Errno) -> OpenFailure {
        let cure = match error {
            rustix::io::Errno::PERM | rustix::io::Errno::ACCESS => &*self.permission_cure(),
            rustix::io::Errno::LOOP => {
                "a symlink is in the path; if that is meant, say follow_symlinks = true"
            }
            rustix::io::Errno::NOSYS => {
                "openat2(2) takes Linux 5.6, and a service manager's seccomp filter must allow it \
                 (not RestrictSUIDSGID=)"
            }
            rustix::io::Errno::NOENT | rustix::io::Errno::NXIO | rustix::io::Errno::NODEV => {
                match self.resource.source {
                    Source::File { .. } => "make the file, or mend the path",
                    Source::Device { .. } => "is the device plugged in and its driver loaded?",
                }
            }
            _ => "see open(2)",
        };
        self.failure(Errno::IO, format_args!("cannot be opened: {error}; {cure}"))
    }

    /// What to do about a permission that was denied: by a filter of system calls, for want of a
    /// capability that the policy names, or of one that it does not name.
    fn permission_cure(&self) -> String {
        let root = openat2(CWD, "/", OFlags::PATH | OFlags::CLOEXEC, Mode::empty(), RESOLVE_ALL);
        if root.is_err() {
            return FILTERED.to_owned();
        }
        match not_held(&self.resource).as_slice() {
            [] => "if opening it takes a capability, name it in the resource's `capabilities`"
                .to_owned(),
            missing => NOT_HELD.replace("{}", &missing.join(" ")),
        }
    }

    fn mistaken(&self, what: &str) -> OpenFailure {
        let cure = "it was closed again; mend the path or the policy, then reload (`fdbroker reload`, \
                    or SIGHUP)";
        self.failure(Errno::NODEV, format_args!("{what}; {cure}"))
    }

    fn failure(&self, errno: Errno, what: fmt::Arguments<'_>) -> OpenFailure {
        let (name, path) = (&self.resource.name, &self.resource.source.at().path);
        OpenFailure { errno, text: format!("resource {name:?}: {path} {what}") }
    }
}

/// Returns the capabilities that the policy names for a resource and that this process does not
/// hold, as a unit has them. Without root none is held, and none is missed.
pub(crate) fn not_held(resource: &Resource) -> Vec<String> {
    let is_missing = |name: &String| {
        let capability: Result<caps::Capability, _> = name.parse();
        capability.is_ok_and(|it| !caps::has_cap(None, caps::CapSet::Permitted, it).unwrap_or(true))
    };
    if !rustix::process::geteuid().is_root() {
        return Vec::new();
    }
    let names = resource.capabilities.iter();
    names.map(|name| format!("CAP_{}", name.to_uppercase())).filter(is_missing).collect()
}

/// What to do about capabilities that are named and not held.
pub(crate) const NOT_HELD: &str = "the policy names {} for it, which the broker was not started with: \
     add it to CapabilityBoundingSet= in a drop-in of its unit, or to what the container may have, \
     and restart the broker";
const FILTERED: &str = "not even / can be opened by openat2(2): a filter of system calls (seccomp) of \
     a container or service manager refuses it; allow openat2 there";
const RESOLVE_ALL: ResolveFlags = ResolveFlags::empty();

fn resolution(resource: &Resource) -> ResolveFlags {
    if resource.source.at().follow_symlinks {
        ResolveFlags::NO_MAGICLINKS
    } else {
        ResolveFlags::NO_SYMLINKS
    }
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
        FileType::Unknown => "of no type that is known",
    }
}

fn access_flags(access: Access) -> OFlags {
    match access {
        Access::Read => OFlags::RDONLY,
        Access::Write => OFlags::WRONLY,
        Access::ReadWrite => OFlags::RDWR,
    }
}

/// The number that the device has now, looked at without opening it (O_PATH).
fn current_number(resource: &Resource) -> Option<DeviceNumber> {
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    let found =
        openat2(CWD, &resource.source.at().path, flags, Mode::empty(), resolution(resource))
            .ok()?;
    let stat = fstat(found).ok()?;
    let is_device = matches!(
        FileType::from_raw_mode(stat.st_mode),
        FileType::CharacterDevice | FileType::BlockDevice
    );
    is_device.then(|| number_of(&stat))
}

fn number_of(stat: &Stat) -> DeviceNumber {
    DeviceNumber { major: major(stat.st_rdev), minor: minor(stat.st_rdev) }
}
