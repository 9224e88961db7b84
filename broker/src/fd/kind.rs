//! What a descriptor is, as the kernel says. Neither function asks the file's server, which may never answer.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::sync::OnceLock;

use fdbroker_policy::Kind;
use rustix::fs::{AtFlags, FileType, OFlags, StatxFlags, fcntl_getfl, statx};
use rustix::net::sockopt::{socket_acceptconn, socket_domain, socket_type};
use rustix::net::{AddressFamily, SocketType};

/// The kind of a deposit.
pub(crate) fn of(descriptor: Option<BorrowedFd<'_>>) -> Kind {
    let Some(descriptor) = descriptor else { return Kind::PayloadOnly };
    match fcntl_getfl(descriptor) {
        Ok(flags) if flags.contains(OFlags::PATH) => return Kind::Path,
        Ok(_) => {}
        Err(_) => return Kind::Other,
    }
    let Some(file_type) = file_type(descriptor) else { return Kind::Other };
    match file_type {
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

/// Whether it is a socket or a device: others may want its address, or to open the device.
pub(crate) fn is_socket_or_device(descriptor: BorrowedFd<'_>) -> bool {
    let file_type = file_type(descriptor);
    matches!(file_type, Some(FileType::Socket | FileType::CharacterDevice | FileType::BlockDevice))
}

pub(crate) fn file_type(descriptor: BorrowedFd<'_>) -> Option<FileType> {
    let no_server = AtFlags::EMPTY_PATH | AtFlags::STATX_DONT_SYNC;
    let found = statx(descriptor, "", no_server, StatxFlags::TYPE).ok()?;
    Some(FileType::from_raw_mode(found.stx_mode.into()))
}

/// Whether it is on a file system that has a block device of its own. Those that are served by a program, by
/// another machine or by nobody have the device number 0:N.
pub(crate) fn is_on_block_device(descriptor: BorrowedFd<'_>) -> bool {
    device_number(descriptor).is_some_and(|(major, _)| major != 0)
}

/// Whether it is a pipe that has no name anywhere: on the kernel's own file system for these.
pub(crate) fn is_anonymous_pipe(descriptor: BorrowedFd<'_>) -> bool {
    static PIPES: OnceLock<Option<(u32, u32)>> = OnceLock::new();
    let pipes = PIPES.get_or_init(|| device_number(std::io::pipe().ok()?.0.as_fd()));
    pipes.is_some() && device_number(descriptor) == *pipes
}

/// Of the file system that it is on.
fn device_number(descriptor: BorrowedFd<'_>) -> Option<(u32, u32)> {
    let no_server = AtFlags::EMPTY_PATH | AtFlags::STATX_DONT_SYNC;
    let found = statx(descriptor, "", no_server, StatxFlags::TYPE).ok()?;
    Some((found.stx_dev_major, found.stx_dev_minor))
}

/// What a file is known by: its device and its number there. Another open file can have the same; the same one has another
/// only if its file system numbers it again.
pub(crate) type FileNumber = (u32, u32, u64);

/// Returns that of an open file, without asking a server.
///
/// # Errors
/// As statx(2).
pub(crate) fn file_number(descriptor: BorrowedFd<'_>) -> std::io::Result<FileNumber> {
    let no_server = AtFlags::EMPTY_PATH | AtFlags::STATX_DONT_SYNC;
    let found = statx(descriptor, "", no_server, StatxFlags::INO)?;
    Ok((found.stx_dev_major, found.stx_dev_minor, found.stx_ino))
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

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream, UdpSocket};
    use std::os::fd::{AsFd, OwnedFd};
    use std::os::unix::net::{UnixDatagram, UnixStream};

    use fdbroker_policy::Kind;
    use rustix::fs::{Mode, OFlags, open};

    use super::of;

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
}
