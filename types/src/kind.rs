//! What a slot holds: the numbers on the wire, and the names in a policy's `accept`.

use std::fmt;
use std::str::FromStr;

/// What a slot holds.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[repr(u8)]
pub enum Kind {
    /// A payload without descriptor.
    PayloadOnly = 0,
    /// A regular file; a memfd is one.
    File = 1,
    /// A directory.
    Directory = 2,
    /// A pipe or FIFO.
    Pipe = 3,
    /// A character device.
    CharDevice = 4,
    /// A block device.
    BlockDevice = 5,
    /// A TCP socket that does not listen.
    Tcp = 6,
    /// A TCP socket that listens.
    TcpListener = 7,
    /// A UDP socket.
    Udp = 8,
    /// A stream or packet Unix socket that does not listen.
    Unix = 9,
    /// A Unix socket that listens.
    UnixListener = 10,
    /// A Unix datagram socket.
    UnixDatagram = 11,
    /// Any other socket.
    Socket = 12,
    /// A descriptor opened with `O_PATH`, whatever it refers to.
    Path = 13,
    /// An epoll instance.
    Epoll = 14,
    /// An eventfd.
    Eventfd = 15,
    /// A timerfd.
    Timerfd = 16,
    /// A signalfd.
    Signalfd = 17,
    /// An inotify instance.
    Inotify = 18,
    /// A pidfd.
    Pidfd = 19,
    /// An io_uring instance.
    IoUring = 20,
    /// A descriptor that is none of these.
    Other = 21,
}

/// The text names no kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnknownKind;

impl Kind {
    /// Every kind, in the order of the numbers.
    pub const ALL: [Self; 22] = [
        Self::PayloadOnly,
        Self::File,
        Self::Directory,
        Self::Pipe,
        Self::CharDevice,
        Self::BlockDevice,
        Self::Tcp,
        Self::TcpListener,
        Self::Udp,
        Self::Unix,
        Self::UnixListener,
        Self::UnixDatagram,
        Self::Socket,
        Self::Path,
        Self::Epoll,
        Self::Eventfd,
        Self::Timerfd,
        Self::Signalfd,
        Self::Inotify,
        Self::Pidfd,
        Self::IoUring,
        Self::Other,
    ];

    /// Returns the kind of this number, or `None` if no kind has it.
    #[must_use]
    pub fn from_number(number: u8) -> Option<Self> {
        Self::ALL.get(usize::from(number)).copied()
    }

    /// Returns the number that stands on the wire.
    #[must_use]
    pub const fn number(self) -> u8 {
        self as u8
    }

    /// Returns the name that a policy's `accept` uses.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::PayloadOnly => "none",
            Self::File => "file",
            Self::Directory => "directory",
            Self::Pipe => "pipe",
            Self::CharDevice => "char-device",
            Self::BlockDevice => "block-device",
            Self::Tcp => "tcp",
            Self::TcpListener => "tcp-listener",
            Self::Udp => "udp",
            Self::Unix => "unix",
            Self::UnixListener => "unix-listener",
            Self::UnixDatagram => "unix-datagram",
            Self::Socket => "socket",
            Self::Path => "path",
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

    /// Returns the kind of this name, or `None` if no kind has it.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
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
        Self::from_name(text).ok_or(UnknownKind)
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
    fn every_kind_is_read_back_from_its_name_and_number() {
        for kind in Kind::ALL {
            assert_eq!(kind.to_string().parse(), Ok(kind));
            assert_eq!(Kind::from_number(kind.number()), Some(kind));
        }
        assert_eq!("any".parse::<Kind>(), Err(UnknownKind));
    }
}
