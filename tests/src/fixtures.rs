//! Policies and descriptors that many tests need.

use std::fs::File;
use std::io::{Read, Seek, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::time::Duration;

/// Anyone may do anything to the slots of tag 1.
pub const OPEN: &str = r#"
[tags.open]
id = 1

[[rules]]
id = "all to everyone"
allow = ["*"]
slots = ["*"]
anyone = true
"#;

/// The same, where the tag has another number.
pub fn open_at(id: i16) -> String {
    OPEN.replace("id = 1\n", &format!("id = {id}\n"))
}

/// The same, where tag 1 accepts the kinds given (a list of the policy language).
pub fn accepting(kinds: &str) -> String {
    OPEN.replace("id = 1\n", &format!("id = 1\naccept = {kinds}\n"))
}

/// The same, where tag 1 is serial.
pub fn serial() -> String {
    OPEN.replace("id = 1\n", "id = 1\nserial = true\n")
}

/// A TCP socket with a full buffer that nobody reads, whose last close(2) waits for `linger`, and
/// its other end.
pub fn full_and_lingering(linger: Duration) -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (other_end, _) = listener.accept().unwrap();
    stream.set_nonblocking(true).unwrap();
    while stream.write(&[0; 65536]).is_ok() {}
    rustix::net::sockopt::set_socket_linger(&stream, Some(linger)).unwrap();
    (stream, other_end)
}

/// A file without a name that says `content`, with its offset at the start.
pub fn file_saying(content: &str) -> OwnedFd {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(content.as_bytes()).unwrap();
    file.rewind().unwrap();
    file.into()
}

/// What a file says from its offset on.
pub fn content(descriptor: OwnedFd) -> String {
    let mut text = String::new();
    File::from(descriptor).read_to_string(&mut text).unwrap();
    text
}

/// Whether two descriptors refer to the same inode.
pub fn same_file(one: impl AsFd, other: impl AsFd) -> bool {
    let (one, other) = (rustix::fs::fstat(one).unwrap(), rustix::fs::fstat(other).unwrap());
    (one.st_dev, one.st_ino) == (other.st_dev, other.st_ino)
}

/// The flags of an open file description (F_GETFL).
pub fn flags(descriptor: impl AsFd) -> rustix::fs::OFlags {
    rustix::fs::fcntl_getfl(descriptor).unwrap()
}

/// How a descriptor may be used.
pub fn access_mode(descriptor: impl AsFd) -> rustix::fs::OFlags {
    flags(descriptor) & rustix::fs::OFlags::RWMODE
}

/// The first device node of this machine that exists, that only root may open, and that opens:
/// its path, and how many bytes can be read from it (0: it is only opened).
pub fn restricted_device() -> Option<(PathBuf, usize)> {
    let known = [("cpu_dma_latency", 4), ("hwrng", 4), ("loop-control", 0), ("net/tun", 0)];
    let more = [("fuse", 0), ("kvm", 0), ("vda", 4), ("sda", 4)];
    let candidates = known.into_iter().chain(more);
    candidates
        .map(|(name, bytes)| (PathBuf::from("/dev").join(name), bytes))
        .find(|(path, _)| is_restricted(path) && File::open(path).is_ok())
}

fn is_restricted(path: &std::path::Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    std::fs::metadata(path).is_ok_and(|found| found.mode() & 0o7 == 0 && found.uid() == 0)
}

/// A secret that a test deposits.
pub const SECRET: &str = "hunter2";

/// Looks for [`SECRET`] in what `Debug` shows, as text and as numbers, and for anything too long
/// for a line of a log.
#[track_caller]
pub fn assert_hides_secret(value: &impl std::fmt::Debug) {
    let numbers = SECRET.bytes().map(|byte| byte.to_string()).collect::<Vec<_>>().join(", ");
    for shown in [format!("{value:?}"), format!("{value:#?}")] {
        let line = shown.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(!line.contains(SECRET) && !line.contains(&numbers), "{line}");
        assert!(line.len() < 1000, "{} characters: {line}", line.len());
    }
}
