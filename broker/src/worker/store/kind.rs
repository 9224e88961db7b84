//! What a descriptor is, as the kernel says, and which ones are never held.

use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

use fdbroker_policy::Kind;
use rustix::fs::{AtFlags, FileType, OFlags, StatxFlags, fcntl_getfl, statx};
use rustix::net::sockopt::{socket_acceptconn, socket_domain, socket_type};
use rustix::net::{AddressFamily, SocketAddrAny, SocketType, getpeername, getsockname};

/// The kind of a deposit.
pub(crate) fn of(descriptor: Option<BorrowedFd<'_>>) -> Kind {
    let Some(descriptor) = descriptor else { return Kind::PayloadOnly };
    match fcntl_getfl(descriptor) {
        Ok(flags) if flags.contains(OFlags::PATH) => return Kind::Path,
        Ok(_) => {}
        Err(_) => return Kind::Other,
    }
    // Not even a file's server is asked: it may be the peer's own, and never answer.
    let no_server = AtFlags::EMPTY_PATH | AtFlags::STATX_DONT_SYNC;
    let Ok(found) = statx(descriptor, "", no_server, StatxFlags::TYPE) else { return Kind::Other };
    match FileType::from_raw_mode(found.stx_mode.into()) {
        FileType::Socket => socket(descriptor),
        // Some anonymous inodes call themselves regular files: pidfds do, since Linux 6.9.
        FileType::RegularFile => anonymous(descriptor).unwrap_or(Kind::File),
        FileType::Directory => Kind::Directory,
        FileType::Fifo => Kind::Pipe,
        FileType::CharacterDevice => Kind::CharDevice,
        FileType::BlockDevice => Kind::BlockDevice,
        _ => anonymous(descriptor).unwrap_or(Kind::Other),
    }
}

fn socket(socket: BorrowedFd<'_>) -> Kind {
    let listens = socket_acceptconn(socket).unwrap_or(false);
    let (Ok(family), Ok(kind)) = (socket_domain(socket), socket_type(socket)) else {
        return Kind::Other;
    };
    match (family, kind) {
        (AddressFamily::UNIX, SocketType::DGRAM) => Kind::UnixDatagram,
        (AddressFamily::UNIX, _) if listens => Kind::UnixListener,
        (AddressFamily::UNIX, _) => Kind::Unix,
        (AddressFamily::INET | AddressFamily::INET6, SocketType::STREAM) if listens => {
            Kind::TcpListener
        }
        (AddressFamily::INET | AddressFamily::INET6, SocketType::STREAM) => Kind::Tcp,
        (AddressFamily::INET | AddressFamily::INET6, SocketType::DGRAM) => Kind::Udp,
        _ => Kind::Socket,
    }
}

/// What has no file type of its own is told by the name that proc_pid_fd(5) shows; none for what
/// has a path. Where it cannot be read, it is nothing that any tag has to accept.
fn anonymous(descriptor: BorrowedFd<'_>) -> Option<Kind> {
    let Ok(name) = std::fs::read_link(format!("/proc/self/fd/{}", descriptor.as_raw_fd())) else {
        return Some(Kind::Other);
    };
    let name = name.to_str()?;
    if name.starts_with("pidfd:") {
        return Some(Kind::Pidfd);
    }
    let name = name.strip_prefix("anon_inode:")?;
    Some(match name.trim_start_matches('[').trim_end_matches(']') {
        "eventpoll" => Kind::Epoll,
        "eventfd" => Kind::Eventfd,
        "timerfd" => Kind::Timerfd,
        "signalfd" => Kind::Signalfd,
        "inotify" => Kind::Inotify,
        "pidfd" => Kind::Pidfd,
        "io_uring" => Kind::IoUring,
        _ => Kind::Other,
    })
}

/// Knows the broker's own sockets when it sees them.
pub(crate) struct OwnSockets(Option<SocketAddrAny>);

impl OwnSockets {
    /// A guard of the broker that listens on this socket.
    pub(crate) fn of(listener: &OwnedFd) -> Self {
        Self(getsockname(listener).ok())
    }

    /// Whether the descriptor is the broker's own listening socket, or an end of a connection to
    /// the broker: a peer that deposits its own end and leaves would never be seen to leave.
    ///
    /// Told by the address: a connected end has the listener's as its own or as its peer's. Of a
    /// broker without an address (nothing was bound) no peer can exist.
    pub(crate) fn knows(&self, descriptor: Option<BorrowedFd<'_>>, kind: Kind) -> bool {
        let (Some(descriptor), Some(own)) = (descriptor, &self.0) else { return false };
        matches!(kind, Kind::Unix | Kind::UnixListener)
            && (getsockname(descriptor).is_ok_and(|name| name == *own)
                || getpeername(descriptor).is_ok_and(|name| name == Some(own.clone())))
    }
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream, UdpSocket};
    use std::os::fd::{AsFd, OwnedFd};
    use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};

    use fdbroker_policy::Kind;
    use rustix::fs::{Mode, OFlags, open};

    use super::{OwnSockets, of};

    fn kind(descriptor: impl Into<OwnedFd>) -> Kind {
        of(Some(descriptor.into().as_fd()))
    }

    fn opened(path: &str, flags: OFlags) -> OwnedFd {
        open(path, flags | OFlags::CLOEXEC, Mode::empty()).unwrap()
    }

    #[test]
    fn every_kind_of_socket_is_told_from_the_others() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        assert_eq!(kind(TcpStream::connect(listener.local_addr().unwrap()).unwrap()), Kind::Tcp);
        assert_eq!(kind(listener), Kind::TcpListener);
        assert_eq!(kind(UdpSocket::bind("127.0.0.1:0").unwrap()), Kind::Udp);
        assert_eq!(kind(UnixStream::pair().unwrap().0), Kind::Unix);
        assert_eq!(kind(UnixDatagram::pair().unwrap().0), Kind::UnixDatagram);
    }

    #[test]
    fn every_kind_of_file_is_told_from_the_others() {
        assert_eq!(of(None), Kind::PayloadOnly);
        assert_eq!(kind(tempfile::tempfile().unwrap()), Kind::File);
        assert_eq!(kind(opened("/", OFlags::RDONLY)), Kind::Directory);
        assert_eq!(kind(opened("/dev/null", OFlags::PATH)), Kind::Path);
        assert_eq!(kind(opened("/dev/null", OFlags::RDONLY)), Kind::CharDevice);
        assert_eq!(kind(std::io::pipe().unwrap().0), Kind::Pipe);
    }

    #[test]
    fn what_has_no_path_is_told_by_its_name() {
        use rustix::event::{EventfdFlags, epoll, eventfd};
        assert_eq!(kind(epoll::create(epoll::CreateFlags::CLOEXEC).unwrap()), Kind::Epoll);
        assert_eq!(kind(eventfd(0, EventfdFlags::CLOEXEC).unwrap()), Kind::Eventfd);
        let own = rustix::process::getpid();
        let flags = rustix::process::PidfdFlags::empty();
        assert_eq!(kind(rustix::process::pidfd_open(own, flags).unwrap()), Kind::Pidfd);
    }

    #[test]
    fn the_brokers_own_sockets_are_known_and_strangers_are_not() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("s");
        let listener = UnixListener::bind(&path).unwrap();
        let guard = OwnSockets::of(&OwnedFd::from(listener.try_clone().unwrap()));
        let client = OwnedFd::from(UnixStream::connect(&path).unwrap());
        let accepted = OwnedFd::from(listener.accept().unwrap().0);
        let stranger = OwnedFd::from(UnixStream::pair().unwrap().0);
        let listener = OwnedFd::from(listener);
        let knows = |socket: &OwnedFd| {
            let socket = Some(socket.as_fd());
            guard.knows(socket, of(socket))
        };
        assert!(knows(&client));
        assert!(knows(&accepted));
        assert!(knows(&listener));
        assert!(!knows(&stranger));
    }
}
