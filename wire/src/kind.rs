//! What a slot holds: the numbers on the wire, and the names in a policy's `accept`.

/// What a slot holds.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[repr(u8)]
#[expect(missing_docs, reason = "the names are what there is to say")]
pub enum Kind {
    /// A payload without descriptor.
    PayloadOnly = 0,
    File = 1,
    Directory = 2,
    Pipe = 3,
    CharDevice = 4,
    BlockDevice = 5,
    Tcp = 6,
    TcpListener = 7,
    Udp = 8,
    Unix = 9,
    UnixListener = 10,
    UnixDatagram = 11,
    /// Another socket.
    Socket = 12,
    /// A descriptor opened with O_PATH.
    Path = 13,
    Epoll = 14,
    Eventfd = 15,
    Timerfd = 16,
    Signalfd = 17,
    Inotify = 18,
    Pidfd = 19,
    IoUring = 20,
    /// A descriptor that is none of these.
    Other = 21,
}

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

    /// The kind of this number; none for a number that stands for no kind.
    pub fn from_number(number: u8) -> Option<Self> {
        Self::ALL.get(usize::from(number)).copied()
    }

    /// The number, as it stands on the wire.
    pub const fn number(self) -> u8 {
        self as u8
    }

    /// The name, as a policy's `accept` spells it.
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

    /// The kind of this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }
}
