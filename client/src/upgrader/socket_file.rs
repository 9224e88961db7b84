//! The file of a Unix socket: which one it was when the socket was bound, and whether clients still find it.
//!
//! A socket whose file was removed or replaced goes on listening, and no client reaches it. Only the process that
//! binds a socket knows its file for sure, so the file is noted with the deposit. The next process can be in
//! another mount namespace, and then a file that it does not see is not gone.

use std::ffi::OsStr;
use std::fs::{self, Metadata};
use std::io::ErrorKind;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf, absolute};

use super::Address;

/// A file and the root directory from which it was seen.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct SocketFile {
    path: PathBuf,
    file: Id,
    root: Id,
}

/// Tells a file from all others that exist at the same time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Id {
    device: u64,
    inode: u64,
}

/// What became of the file.
pub(crate) const GONE: &str = "its path has gone";
/// The same.
pub(crate) const REPLACED: &str = "its path is another file by now";

impl SocketFile {
    /// Returns the file at the path of a Unix socket; `None` for a socket without one.
    pub(crate) fn of(socket: impl AsFd) -> Option<Self> {
        let Ok(Some(Address::Path(path))) = Address::of_local(socket) else { return None };
        let path = absolute(path).ok()?;
        let found = fs::metadata(&path).ok().filter(|found| found.file_type().is_socket())?;
        Some(Self { path, file: Id::of(&found), root: Id::at("/".as_ref())? })
    }

    /// Returns why clients do not find the socket any more; `None` if they do, or if this process cannot tell.
    pub(crate) fn why_lost(&self) -> Option<&'static str> {
        let why = match fs::metadata(&self.path) {
            Ok(found) if Id::of(&found) == self.file => return None,
            Ok(_) => REPLACED,
            Err(error) if error.kind() == ErrorKind::NotFound => GONE,
            Err(_) => return None,
        };
        self.would_be_seen().then_some(why)
    }

    /// Whether this process would see the file if it were still there: the root directory is the same, and so is the
    /// file system of its directory, or of what is left of the path.
    fn would_be_seen(&self) -> bool {
        let above = self.path.ancestors().skip(1).find_map(Id::at);
        Id::at("/".as_ref()) == Some(self.root)
            && above.is_some_and(|above| above.device == self.file.device)
    }

    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let numbers = [self.file.device, self.file.inode, self.root.device, self.root.inode];
        let mut out = numbers.map(u64::to_ne_bytes).concat();
        out.extend(self.path.as_os_str().as_bytes());
        out
    }

    /// Returns `None` if no version writes such bytes.
    pub(crate) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (file, rest) = Id::from_bytes(bytes)?;
        let (root, path) = Id::from_bytes(rest)?;
        Some(Self { path: OsStr::from_bytes(path).into(), file, root })
    }
}

impl Id {
    fn of(file: &Metadata) -> Self {
        Self { device: file.dev(), inode: file.ino() }
    }

    fn at(path: &Path) -> Option<Self> {
        fs::metadata(path).ok().as_ref().map(Self::of)
    }

    fn from_bytes(bytes: &[u8]) -> Option<(Self, &[u8])> {
        let (device, rest) = bytes.split_first_chunk()?;
        let (inode, rest) = rest.split_first_chunk()?;
        let (device, inode) = (u64::from_ne_bytes(*device), u64::from_ne_bytes(*inode));
        Some((Self { device, inode }, rest))
    }
}

#[cfg(test)]
impl SocketFile {
    /// One with these numbers.
    pub(crate) fn numbered(path: PathBuf, [device, inode, other, root]: [u64; 4]) -> Self {
        Self { path, file: Id { device, inode }, root: Id { device: other, inode: root } }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use std::os::unix::net::UnixListener;

    fn bound(path: &Path) -> (UnixListener, SocketFile) {
        let socket = UnixListener::bind(path).unwrap();
        let file = SocketFile::of(&socket).unwrap();
        (socket, file)
    }

    #[test]
    fn a_file_that_is_there_is_not_lost_also_behind_a_link() {
        let directory = tempfile::tempdir().unwrap();
        let (path, moved) = (directory.path().join("socket"), directory.path().join("moved"));
        let (_socket, file) = bound(&path);
        assert_eq!(file.why_lost(), None);
        fs::rename(&path, &moved).unwrap();
        std::os::unix::fs::symlink(&moved, &path).unwrap();
        assert_eq!(file.why_lost(), None, "clients reach it by the link");
    }

    #[test]
    fn a_path_that_has_gone_or_is_another_file_is_lost() {
        let directory = tempfile::tempdir().unwrap();
        let below = directory.path().join("run");
        fs::create_dir(&below).unwrap();
        let (_socket, file) = bound(&below.join("socket"));
        fs::remove_dir_all(&below).unwrap();
        assert_eq!(file.why_lost(), Some(GONE), "with its directory");
        fs::create_dir(&below).unwrap();
        assert_eq!(file.why_lost(), Some(GONE));
        let _other = bound(&below.join("socket"));
        assert_eq!(file.why_lost(), Some(REPLACED));
    }

    #[test]
    fn a_file_that_this_process_would_not_see_is_not_called_lost() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("socket");
        let (_socket, file) = bound(&path);
        fs::remove_file(&path).unwrap();
        let mut elsewhere = file.clone();
        elsewhere.file.device += 1;
        assert_eq!(elsewhere.why_lost(), None, "another file system is mounted there");
        let mut elsewhere = file;
        elsewhere.root.inode += 1;
        assert_eq!(elsewhere.why_lost(), None, "it was bound below another root");
    }

    #[test]
    fn a_socket_without_a_path_has_no_file() {
        let (pair, _other) = std::os::unix::net::UnixStream::pair().unwrap();
        assert_eq!(SocketFile::of(&pair), None);
        assert_eq!(SocketFile::of(std::net::TcpListener::bind("127.0.0.1:0").unwrap()), None);
    }
}
