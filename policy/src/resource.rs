//! A slot that the broker itself fills by opening something.

use std::fmt;

use crate::Slot;
use crate::capability::GUARDED_DEVICES;

/// One table `[resources.NAME]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resource {
    /// What the policy calls it.
    pub name: String,
    /// Where callers find it.
    pub slot: Slot,
    /// What is opened.
    pub source: Source,
    /// When it is opened, and who shares the result.
    pub opening: Opening,
    /// Linux capabilities that opening it needs: lower case, without `cap_`, each once.
    pub capabilities: Vec<String>,
}

/// The position of a resource in its policy, in the order of the file, from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ResourceIndex(pub u32);

/// What a resource is, with all that opening it takes: one kind each.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Source {
    /// A character or block device.
    Device {
        /// Where it is.
        at: PathSource,
        /// The device number expected once it is open.
        number: Option<DeviceNumber>,
    },
    /// A regular file.
    File {
        /// Where it is.
        at: PathSource,
    },
}

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

/// When a resource is opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Opening {
    /// At each request, so that every caller has an open file description of its own; the default.
    #[default]
    PerRequest,
    /// Once, when the broker starts; all callers share the open file description, its offset and its flags.
    Startup,
}

/// The number of a device, printed as `10:200`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct DeviceNumber {
    /// The driver, from 0 to 4095.
    pub major: u32,
    /// The device of that driver, from 0 to 1048575.
    pub minor: u32,
}

impl Source {
    /// The key of the language that says so.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Device { .. } => "device",
            Self::File { .. } => "file",
        }
    }

    /// The path, and how it is opened.
    #[must_use]
    pub const fn at(&self) -> &PathSource {
        match self {
            Self::Device { at, .. } | Self::File { at } => at,
        }
    }

    /// The device number that the policy expects.
    #[must_use]
    pub const fn number(&self) -> Option<DeviceNumber> {
        match self {
            Self::Device { number, .. } => *number,
            Self::File { .. } => None,
        }
    }

    /// The capability that opening one of this kind takes beside the file mode, whatever the policy names.
    /// `found` tells the number of a device for which the policy gives none.
    #[must_use]
    pub fn implied_capability(
        &self,
        found: impl FnOnce(&str) -> Option<DeviceNumber>,
    ) -> Option<&'static str> {
        let Self::Device { at, number } = self else { return None };
        let number = number.or_else(|| found(&at.path));
        let number = number.map(|number| (number.major, number.minor));
        let known = |(path, device, _): &&(&str, (u32, u32), &str)| {
            *path == at.path || Some(*device) == number
        };
        GUARDED_DEVICES.iter().find(known).map(|(.., capability)| *capability)
    }
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

impl Opening {
    /// Both ways, in the order of the reference.
    pub const ALL: [Self; 2] = [Self::PerRequest, Self::Startup];

    /// The word of the language.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::PerRequest => "per-request",
            Self::Startup => "startup",
        }
    }
}

impl ResourceIndex {
    /// The position as an index into [`crate::Policy::resources`].
    #[must_use]
    pub fn position(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl fmt::Display for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl fmt::Display for Opening {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl fmt::Display for DeviceNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.major, self.minor)
    }
}
