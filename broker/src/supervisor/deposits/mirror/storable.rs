//! What may be given to the service manager to keep.
//!
//! Whenever the service manager starts a process, that process closes all its descriptors, and each close asks the
//! file's server whether there is anything to write (`flush` in the kernel's table of a file's operations). Newer
//! ones also ask what a descriptor is that they are given (fstat(2)). A file whose server is a user's program
//! (FUSE) never answers if that user likes: then nothing on the machine would start any more. Sockets, pipes
//! and memory have no such server, and neither has a file on a block device, which only root can mount.

use std::os::fd::BorrowedFd;

use rustix::fs::{FileType, fcntl_get_seals};
use rustix::net::sockopt::socket_domain;

use crate::fd::kind;

const OF_A_SERVER: &str =
    "the service manager does not keep files whose file system has no block device";
const OTHER: &str = "the service manager does not keep descriptors of this kind";

/// Returns why a descriptor is not stored, or `None` if neither fstat(2) nor a close(2) that is not the last one can
/// sleep.
pub(super) fn why_not_storable(descriptor: BorrowedFd<'_>) -> Option<&'static str> {
    let why = match kind::file_type(descriptor) {
        Some(FileType::RegularFile | FileType::Directory | FileType::Fifo) => OF_A_SERVER,
        _ => OTHER,
    };
    (!is_storable(descriptor)).then_some(why)
}

fn is_storable(descriptor: BorrowedFd<'_>) -> bool {
    match kind::file_type(descriptor) {
        // Not the file of a socket, opened as a path.
        Some(FileType::Socket) => socket_domain(descriptor).is_ok(),
        Some(FileType::Fifo) => {
            kind::is_anonymous_pipe(descriptor) || kind::is_on_block_device(descriptor)
        }
        Some(FileType::RegularFile | FileType::Directory) => {
            kind::is_on_block_device(descriptor) || fcntl_get_seals(descriptor).is_ok()
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::os::fd::AsFd;

    use rustix::fs::{CWD, FileType, MemfdFlags, Mode, OFlags, memfd_create, mknodat, open};

    use super::is_storable;

    #[test]
    fn what_no_server_of_a_users_stands_behind_is_storable() {
        let (reader, _writer) = std::io::pipe().unwrap();
        assert!(is_storable(reader.as_fd()));
        let socket = std::os::unix::net::UnixDatagram::unbound().unwrap();
        assert!(is_storable(socket.as_fd()));
        assert!(is_storable(memfd_create(c"memory", MemfdFlags::CLOEXEC).unwrap().as_fd()));
    }

    #[test]
    fn a_fifo_and_the_file_of_a_socket_are_what_their_file_system_is() {
        // A file system without a block device, as one that a user's program serves.
        let Ok(directory) = tempfile::tempdir_in("/dev/shm") else { return };
        let fifo = directory.path().join("fifo");
        mknodat(CWD, &fifo, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
        let both = File::options().read(true).write(true).open(&fifo).unwrap();
        assert!(!is_storable(both.as_fd()));
        let socket = directory.path().join("socket");
        let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
        let path = open(&socket, OFlags::PATH, Mode::empty()).unwrap();
        assert!(!is_storable(path.as_fd()));
    }

    #[test]
    fn a_device_and_a_file_of_a_file_system_without_a_device_are_not() {
        assert!(!is_storable(File::open("/dev/null").unwrap().as_fd()));
        assert!(!is_storable(File::open("/proc/self/status").unwrap().as_fd()));
    }
}
