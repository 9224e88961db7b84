//! What a descriptor is, told in JSON: kind, target, access mode, and what its kind adds.
//!
//! It is only looked at. What the kernel does not tell is left out.

use std::fs;
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use fdbroker_policy::Kind;
use fdbroker_types::quoted;
use rustix::fs::{FileType, OFlags, Stat, fcntl_getfl, fstat, major, minor};
use rustix::net::sockopt::{socket_acceptconn, socket_domain, socket_type};
use rustix::net::{
    AddressFamily, SocketAddrAny, SocketAddrUnix, SocketType, getpeername, getsockname,
};
use serde_json::{Map, Value, json};

/// Tells about a descriptor: an object with `kind` (as in a policy's `accept`; null where the kernel does not tell), `target` (as in
/// `/proc/self/fd`), `access`, and where there are: `device` (`major`, `minor`), `local` and
/// `peer` (addresses).
pub(crate) fn describe(descriptor: &OwnedFd) -> Value {
    let target = target(descriptor);
    let mut object = Map::new();
    object.insert("kind".into(), json!(kind(descriptor, target.as_deref()).map(Kind::name)));
    if let Some(target) = target {
        object.insert("target".into(), json!(target));
    }
    if let Ok(flags) = fcntl_getfl(descriptor) {
        object.insert("access".into(), json!(access(flags)));
    }
    if let Some(device) = fstat(descriptor).ok().and_then(|stat| device(&stat)) {
        object.insert("device".into(), device);
    }
    let ends = [("local", getsockname(descriptor).ok()), ("peer", peer(descriptor))];
    for (end, address) in ends {
        if let Some(address) = address.and_then(address_text) {
            object.insert(end.into(), json!(address));
        }
    }
    Value::Object(object)
}

/// Kind and target of a descriptor, in words that a terminal can show.
pub(crate) fn summary(descriptor: &OwnedFd) -> String {
    let target = target(descriptor);
    let kind = kind(descriptor, target.as_deref()).map_or("unknown", Kind::name);
    match target {
        Some(target) => {
            format!("a descriptor (kind {kind}, target {target})", target = quoted(&target))
        }
        None => format!("a descriptor (kind {kind})"),
    }
}

fn target(descriptor: &OwnedFd) -> Option<String> {
    let path = fs::read_link(format!("/proc/self/fd/{}", descriptor.as_raw_fd())).ok()?;
    Some(path.to_string_lossy().into_owned())
}

/// Its kind; `None` where fstat(2) is refused, as a security module may do.
fn kind(descriptor: &OwnedFd, target: Option<&str>) -> Option<Kind> {
    if fcntl_getfl(descriptor).is_ok_and(|flags| flags.contains(OFlags::PATH)) {
        return Some(Kind::Path);
    }
    let stat = fstat(descriptor).ok()?;
    Some(kind_of_type(file_type(&stat), descriptor, target))
}

fn kind_of_type(of_type: FileType, descriptor: &OwnedFd, target: Option<&str>) -> Kind {
    match of_type {
        FileType::Socket => socket_kind(descriptor),
        FileType::RegularFile => pidfd_or(target, Kind::File),
        FileType::Directory => Kind::Directory,
        FileType::Fifo => Kind::Pipe,
        FileType::CharacterDevice => Kind::CharDevice,
        FileType::BlockDevice => Kind::BlockDevice,
        _ => target.map_or(Kind::Other, anonymous_kind),
    }
}

/// Newer kernels keep pidfds in a file system of their own, as regular files.
fn pidfd_or(target: Option<&str>, other: Kind) -> Kind {
    match target {
        Some(target) if target.starts_with("pidfd:") => Kind::Pidfd,
        _ => other,
    }
}

fn anonymous_kind(target: &str) -> Kind {
    match target {
        "anon_inode:[eventpoll]" => Kind::Epoll,
        "anon_inode:[eventfd]" => Kind::Eventfd,
        "anon_inode:[timerfd]" => Kind::Timerfd,
        "anon_inode:[signalfd]" => Kind::Signalfd,
        "anon_inode:inotify" | "anon_inode:[inotify]" => Kind::Inotify,
        "anon_inode:[pidfd]" => Kind::Pidfd,
        "anon_inode:[io_uring]" => Kind::IoUring,
        _ => pidfd_or(Some(target), Kind::Other),
    }
}

fn socket_kind(socket: &OwnedFd) -> Kind {
    let (Ok(family), Ok(of_type)) = (socket_domain(socket), socket_type(socket)) else {
        return Kind::Socket;
    };
    let listens = socket_acceptconn(socket).unwrap_or(false);
    match (family, of_type, listens) {
        (AddressFamily::INET | AddressFamily::INET6, SocketType::STREAM, true) => Kind::TcpListener,
        (AddressFamily::INET | AddressFamily::INET6, SocketType::STREAM, false) => Kind::Tcp,
        (AddressFamily::INET | AddressFamily::INET6, SocketType::DGRAM, _) => Kind::Udp,
        (AddressFamily::UNIX, _, true) => Kind::UnixListener,
        (AddressFamily::UNIX, SocketType::DGRAM, _) => Kind::UnixDatagram,
        (AddressFamily::UNIX, _, false) => Kind::Unix,
        _ => Kind::Socket,
    }
}

fn file_type(stat: &Stat) -> FileType {
    FileType::from_raw_mode(stat.st_mode)
}

fn access(flags: OFlags) -> &'static str {
    match flags & OFlags::RWMODE {
        _ if flags.contains(OFlags::PATH) => "none",
        OFlags::WRONLY => "write",
        OFlags::RDWR => "read-write",
        _ => "read",
    }
}

fn device(stat: &Stat) -> Option<Value> {
    let number = stat.st_rdev;
    matches!(file_type(stat), FileType::CharacterDevice | FileType::BlockDevice)
        .then(|| json!({ "major": major(number), "minor": minor(number) }))
}

fn peer(socket: impl AsFd) -> Option<SocketAddrAny> {
    getpeername(socket).ok().flatten()
}

/// An address as text; none for a socket without a name.
fn address_text(address: SocketAddrAny) -> Option<String> {
    if let Ok(address) = SocketAddr::try_from(address.clone()) {
        return Some(address.to_string());
    }
    let address = SocketAddrUnix::try_from(address).ok()?;
    match (address.path_bytes(), address.abstract_name()) {
        (Some(path), _) => Some(String::from_utf8_lossy(path).into_owned()),
        (None, Some(name)) => Some(format!("@{}", String::from_utf8_lossy(name))),
        (None, None) => None,
    }
}
