//! A thread with a descriptor table of its own.
//!
//! A process that it starts inherits nothing of what the rest of this process has open, not even until it
//! calls execve(2). With close-on-exec alone the new process closes its copies, and each of these closes
//! can sleep: a FUSE file is flushed by every close, and the last close of anything can sleep.
//!
//! Signals are for the other threads. Their handler writes to a descriptor, whose number means something
//! else in this table, or nothing: the signal would be lost.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::sync::mpsc::channel;
use std::thread;

use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};

use super::signal;

/// What the thread needs of a stack, in bytes.
const STACK: usize = 256 * 1024;

/// Starts such a thread. Its table has 0 to 2, and one end of a socket pair, which `work` is given and
/// whose other end is returned. `work` must touch no descriptor that this process opened elsewhere: the
/// number means nothing there.
///
/// # Errors
/// As unshare(2): EPERM where a filter of system calls refuses it. As for any thread and socket.
pub(crate) fn start(
    name: &str,
    work: impl FnOnce(OwnedFd) + Send + 'static,
) -> io::Result<OwnedFd> {
    let (ours, theirs) =
        socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
    let number = theirs.as_raw_fd();
    let (begun, begins) = channel();
    let apart = move || match leave_table(number) {
        Ok(theirs) => {
            // Somebody waits for it.
            let _ = begun.send(Ok(()));
            work(theirs);
        }
        Err(error) => drop(begun.send(Err(error))),
    };
    thread::Builder::new().name(name.to_owned()).stack_size(STACK).spawn(apart)?;
    begins.recv().map_err(io::Error::other)??;
    Ok(ours)
}

/// Leaves this thread a descriptor table with only 0 to 2 and this descriptor.
fn leave_table(number: RawFd) -> io::Result<OwnedFd> {
    signal::block_all();
    // SAFETY: unshare(2) touches no memory. This thread has no descriptor of its own yet.
    if unsafe { libc::unshare(libc::CLONE_FILES) } != 0 {
        return Err(io::Error::last_os_error());
    }
    let names = std::fs::read_dir("/proc/thread-self/fd")?;
    let open = names.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<RawFd>().ok());
    for other in open.filter(|other| *other > 2 && *other != number).collect::<Vec<_>>() {
        // SAFETY: in this table nobody owns what was open before: the owners use another table. The one
        // that read the directory has been closed: EBADF.
        unsafe { libc::close(other) };
    }
    // SAFETY: it is open: the thread that started this one holds it until this has returned. Its owner is in the
    // other table, so this is the only one here.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::os::fd::AsRawFd;
    use std::sync::mpsc::channel;

    #[test]
    fn its_table_has_nothing_of_the_others() {
        let file = tempfile::tempfile().unwrap();
        let (tell, told) = channel();
        let number = file.as_raw_fd();
        let _ours = super::start("test", move |_theirs| {
            let open = std::fs::read_link(format!("/proc/thread-self/fd/{number}"));
            tell.send(open.is_err()).unwrap();
        });
        assert!(told.recv().unwrap(), "it has the file");
        assert_eq!((&file).read(&mut [0]).unwrap(), 0, "it is still open here");
    }

    #[test]
    fn it_handles_no_signal() {
        let (tell, told) = channel();
        let _ours = super::start("test", move |_theirs| {
            tell.send(std::fs::read_to_string("/proc/thread-self/status").unwrap()).unwrap();
        });
        let status = told.recv().unwrap();
        let blocked = status.lines().find_map(|line| line.strip_prefix("SigBlk:\t")).unwrap();
        let blocked = u64::from_str_radix(blocked, 16).unwrap();
        for signal in [libc::SIGHUP, libc::SIGTERM, libc::SIGCHLD] {
            assert!(blocked & (1 << (signal - 1)) != 0, "signal {signal}");
        }
    }
}
