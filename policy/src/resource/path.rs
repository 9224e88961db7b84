//! Resources with a path: character and block devices, and regular files.

use std::fmt;

/// A path, and how it is opened.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PathSource {
    /// An absolute path without NUL and without `..`, at most 4095 bytes.
    pub path: String,
    /// For what it is opened.
    pub access: Access,
    /// Whether symbolic links on the way are followed.
    pub follow_symlinks: bool,
}

/// For what a resource is opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Access {
    /// Reading; the default.
    #[default]
    Read,
    /// Writing.
    Write,
    /// Both.
    ReadWrite,
}

/// The number of a device, printed as `10:200`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct DeviceNumber {
    /// The driver, from 0 to 4095.
    pub major: u32,
    /// The device of that driver, from 0 to 1048575.
    pub minor: u32,
}

/// Devices whose open(2) asks for a capability beside the file mode: as they are called, their numbers, and the capability.
const GUARDED_DEVICES: [(&str, (u32, u32), &str); 4] = [
    ("/dev/kmsg", (1, 11), "syslog"),
    ("/dev/mem", (1, 1), "sys_rawio"),
    ("/dev/port", (1, 4), "sys_rawio"),
    ("/dev/snapshot", (10, 231), "sys_admin"),
];

/// Returns the capability that a device takes, by its path or its number.
pub(super) fn guard_of(at: &PathSource, number: Option<DeviceNumber>) -> Option<&'static str> {
    let number = number.map(|number| (number.major, number.minor));
    let known =
        |(path, device, _): &&(&str, (u32, u32), &str)| *path == at.path || Some(*device) == number;
    GUARDED_DEVICES.iter().find(known).map(|(.., capability)| *capability)
}

/// Returns the keys of a resource with a path, and what they mean.
pub(super) fn entries(
    kind: &str,
    at: &PathSource,
    number: Option<DeviceNumber>,
) -> Vec<(&'static str, String)> {
    let PathSource { path, access, follow_symlinks } = at;
    vec![
        ("path", format!("{kind} {path}")),
        ("access", access.to_string()),
        ("number", number.map_or("any".to_owned(), |number| number.to_string())),
        ("follow_symlinks", follow_symlinks.to_string()),
    ]
}

impl Access {
    /// Every access, in the order of the reference.
    pub const ALL: [Self; 3] = [Self::Read, Self::Write, Self::ReadWrite];

    /// The word of the language.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::ReadWrite => "read-write",
        }
    }
}

impl fmt::Display for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl fmt::Display for DeviceNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.major, self.minor)
    }
}
