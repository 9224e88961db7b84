//! What sort of descriptor a deposit may bring.

use std::fmt;
use std::str::FromStr;

/// The sort of a descriptor, or the absence of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// No descriptor: a payload alone.
    None,
    /// A TCP socket that does not listen.
    Tcp,
    /// A TCP socket that listens.
    TcpListener,
    /// A UDP socket.
    Udp,
    /// A stream or packet Unix socket that does not listen.
    Unix,
    /// A Unix socket that listens.
    UnixListener,
    /// A Unix datagram socket.
    UnixDatagram,
    /// Any other socket.
    Socket,
    /// A regular file; a memfd is one.
    File,
    /// A directory.
    Directory,
    /// A descriptor opened with `O_PATH`, whatever it refers to.
    Path,
    /// A pipe or FIFO.
    Pipe,
    /// A character device.
    CharDevice,
    /// A block device.
    BlockDevice,
    /// An epoll instance.
    Epoll,
    /// An eventfd.
    Eventfd,
    /// A timerfd.
    Timerfd,
    /// A signalfd.
    Signalfd,
    /// An inotify instance.
    Inotify,
    /// A pidfd.
    Pidfd,
    /// An io_uring instance.
    IoUring,
    /// Anything else.
    Other,
}

/// A set of kinds: what a tag accepts.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Accept(u32);

/// The text names no kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnknownKind;

impl Kind {
    /// Every kind, in the order of the reference.
    pub const ALL: [Self; 22] = [
        Self::None,
        Self::Tcp,
        Self::TcpListener,
        Self::Udp,
        Self::Unix,
        Self::UnixListener,
        Self::UnixDatagram,
        Self::Socket,
        Self::File,
        Self::Directory,
        Self::Path,
        Self::Pipe,
        Self::CharDevice,
        Self::BlockDevice,
        Self::Epoll,
        Self::Eventfd,
        Self::Timerfd,
        Self::Signalfd,
        Self::Inotify,
        Self::Pidfd,
        Self::IoUring,
        Self::Other,
    ];

    /// The kind's name in the language.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Tcp => "tcp",
            Self::TcpListener => "tcp-listener",
            Self::Udp => "udp",
            Self::Unix => "unix",
            Self::UnixListener => "unix-listener",
            Self::UnixDatagram => "unix-datagram",
            Self::Socket => "socket",
            Self::File => "file",
            Self::Directory => "directory",
            Self::Path => "path",
            Self::Pipe => "pipe",
            Self::CharDevice => "char-device",
            Self::BlockDevice => "block-device",
            Self::Epoll => "epoll",
            Self::Eventfd => "eventfd",
            Self::Timerfd => "timerfd",
            Self::Signalfd => "signalfd",
            Self::Inotify => "inotify",
            Self::Pidfd => "pidfd",
            Self::IoUring => "io-uring",
            Self::Other => "other",
        }
    }

    const fn bit(self) -> u32 {
        1 << self as u32
    }
}

impl Accept {
    /// Nothing: the tag holds resources only.
    pub const NOTHING: Self = Self(0);

    /// Every kind; `"any"` in the language.
    pub const ANY: Self = Self::of(&Kind::ALL);

    /// What a tag accepts that does not say.
    ///
    /// Left out are kinds that can hold other descriptors or give access beyond themselves: unix sockets
    /// (a listening one through what waits to be accepted), directories, `O_PATH`, epoll, io_uring and pidfds.
    pub const DEFAULT: Self = Self::of(&[
        Kind::None,
        Kind::Tcp,
        Kind::TcpListener,
        Kind::Udp,
        Kind::File,
        Kind::Pipe,
        Kind::CharDevice,
        Kind::BlockDevice,
        Kind::Eventfd,
    ]);

    /// The set of these kinds.
    #[must_use]
    pub const fn of(kinds: &[Kind]) -> Self {
        let mut bits = 0;
        let mut at = 0;
        while at < kinds.len() {
            bits |= kinds[at].bit();
            at += 1;
        }
        Self(bits)
    }

    /// The set with this kind added.
    #[must_use]
    pub const fn with(self, kind: Kind) -> Self {
        Self(self.0 | kind.bit())
    }

    /// Whether a deposit of this kind is accepted.
    #[must_use]
    pub const fn contains(self, kind: Kind) -> bool {
        self.0 & kind.bit() != 0
    }

    /// The kinds in the set, in the order of the reference.
    pub fn iter(self) -> impl Iterator<Item = Kind> {
        Kind::ALL.into_iter().filter(move |kind| self.contains(*kind))
    }
}

impl Default for Accept {
    fn default() -> Self {
        Self::DEFAULT
    }
}

impl FromIterator<Kind> for Accept {
    fn from_iter<I: IntoIterator<Item = Kind>>(kinds: I) -> Self {
        kinds.into_iter().fold(Self::NOTHING, Self::with)
    }
}

impl fmt::Debug for Accept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Kind {
    type Err = UnknownKind;

    fn from_str(text: &str) -> Result<Self, UnknownKind> {
        Self::ALL.into_iter().find(|kind| kind.name() == text).ok_or(UnknownKind)
    }
}

impl fmt::Display for UnknownKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not the name of a kind of descriptor")
    }
}

impl std::error::Error for UnknownKind {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_is_read_back_from_its_name() {
        for kind in Kind::ALL {
            assert_eq!(kind.to_string().parse(), Ok(kind));
        }
        assert_eq!("any".parse::<Kind>(), Err(UnknownKind));
    }

    #[test]
    fn no_kind_that_can_hold_other_descriptors_is_accepted_by_default() {
        for kind in [
            Kind::Unix,
            Kind::UnixDatagram,
            Kind::Epoll,
            Kind::IoUring,
            Kind::Directory,
            Kind::Path,
        ] {
            assert!(!Accept::DEFAULT.contains(kind), "{kind}");
            assert!(Accept::ANY.contains(kind), "{kind}");
        }
        assert_eq!(Accept::ANY.iter().count(), Kind::ALL.len());
        assert_eq!(Accept::NOTHING.iter().count(), 0);
    }
}
