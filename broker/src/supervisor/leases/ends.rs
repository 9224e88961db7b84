//! Notices that a process has ended, or that a connection has.
//!
//! One epoll instance watches all of them, for their end alone: what a holder reads and writes wakes nobody. A thread
//! waits for it, not the event loop: to watch it by another instance takes a lock that the whole machine has once.
//! Any user can hold that for as long as it likes, by a file of its own server.

use std::io::{self, PipeReader, PipeWriter};
use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, OwnedFd};

use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use rustix::io::Errno;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::lease::LeaseNumber;

/// How many are taken at once.
const AT_ONCE: usize = 64;
/// Marks a process, beside the lease's number.
const PROCESS: u64 = 1;
/// No lease has this number.
const NOBODY: u64 = u64::MAX;

/// What has ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum End {
    Process(LeaseNumber),
    Socket(LeaseNumber),
}

/// What is watched.
pub(super) struct Ends(OwnedFd);

/// What has ended, on the event loop.
pub(super) struct Ended {
    told: UnboundedReceiver<Vec<End>>,
    /// When it is closed, the thread ends.
    _open: PipeWriter,
}

impl Ends {
    /// Watches nothing yet.
    ///
    /// # Errors
    /// As epoll_create1(2).
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self(epoll::create(CreateFlags::CLOEXEC)?))
    }

    /// Returns what has ended, for the event loop.
    ///
    /// # Errors
    /// If there is no descriptor left, or no thread.
    pub(super) fn ended(&self) -> io::Result<Ended> {
        let (ours, theirs) = io::pipe()?;
        epoll::add(&self.0, &ours, EventData::new_u64(NOBODY), EventFlags::empty())?;
        let (epoll, (tell, told)) = (self.0.try_clone()?, unbounded_channel());
        let thread = std::thread::Builder::new().name("leases".to_owned());
        thread.spawn(move || tell_ends(&epoll, &ours, &tell))?;
        Ok(Ended { told, _open: theirs })
    }

    /// Watches a lease's socket, and the process that has it.
    pub(super) fn watch(
        &self,
        LeaseNumber(number): LeaseNumber,
        socket: Option<BorrowedFd<'_>>,
        process: Option<BorrowedFd<'_>>,
    ) -> io::Result<()> {
        let socket = socket.ok_or(io::ErrorKind::NotConnected)?;
        // Of what it was not asked for, the kernel tells a hang-up and an error.
        let once = EventFlags::ET;
        epoll::add(&self.0, socket, EventData::new_u64(number << 1), once | EventFlags::RDHUP)?;
        if let Some(process) = process {
            let data = EventData::new_u64(number << 1 | PROCESS);
            // A pidfd is readable when its process has ended, see pidfd_open(2).
            epoll::add(&self.0, process, data, once | EventFlags::IN).inspect_err(|_| {
                self.watch_no_longer(Some(socket), None);
            })?;
        }
        Ok(())
    }

    /// Watches them no longer. To be called before they are closed: others have what they stand for.
    pub(super) fn watch_no_longer(
        &self,
        socket: Option<BorrowedFd<'_>>,
        process: Option<BorrowedFd<'_>>,
    ) {
        for watched in socket.into_iter().chain(process) {
            // Only what is not watched cannot be removed.
            let _ = epoll::delete(&self.0, watched);
        }
    }
}

impl Ended {
    /// Waits for what has ended. Can be dropped.
    ///
    /// # Errors
    /// When the thread has ended, since epoll_wait(2) failed.
    pub(super) async fn next(&mut self) -> io::Result<Vec<End>> {
        self.told.recv().await.ok_or_else(|| io::ErrorKind::BrokenPipe.into())
    }
}

/// What the thread does.
fn tell_ends(epoll: &OwnedFd, _open: &PipeReader, tell: &UnboundedSender<Vec<End>>) {
    while let Ok(ends) = ends(epoll) {
        // Nobody is left to be told, or to be told of.
        if ends.is_empty() || tell.send(ends).is_err() {
            return;
        }
    }
}

/// Waits for what has ended; nothing of it when the thread is to end.
fn ends(epoll: &OwnedFd) -> io::Result<Vec<End>> {
    let mut room = [MaybeUninit::uninit(); AT_ONCE];
    let events = loop {
        match epoll::wait(epoll, &mut room, None) {
            Ok((events, _)) => break events,
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    };
    let end = |event: &epoll::Event| {
        let data = event.data.u64();
        let number = LeaseNumber(data >> 1);
        if data & PROCESS == 0 { End::Socket(number) } else { End::Process(number) }
    };
    if events.iter().any(|event| event.data.u64() == NOBODY) {
        return Ok(Vec::new());
    }
    Ok(events.iter().map(end).collect())
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::os::fd::AsFd;
    use std::os::unix::net::UnixStream;
    use std::process::{Command, Stdio};
    use std::time::Duration;

    use rustix::process::{Pid, PidfdFlags, pidfd_open};

    use super::*;

    fn watch(ends: &Ends, number: u64, socket: &UnixStream, process: Option<&OwnedFd>) {
        let number = LeaseNumber(number);
        ends.watch(number, Some(socket.as_fd()), process.map(AsFd::as_fd)).unwrap();
    }

    #[tokio::test]
    async fn the_end_of_a_connection_is_noticed_and_nothing_that_goes_over_it() {
        let ends = Ends::new().unwrap();
        let mut ended = ends.ended().unwrap();
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        watch(&ends, 7, &ours, None);
        theirs.write_all(b"an answer").unwrap();
        assert!(tokio::time::timeout(Duration::from_millis(20), ended.next()).await.is_err());
        drop(theirs);
        assert_eq!(ended.next().await.unwrap(), [End::Socket(LeaseNumber(7))]);
        assert!(tokio::time::timeout(Duration::from_millis(20), ended.next()).await.is_err());
    }

    #[tokio::test]
    async fn the_end_of_a_process_is_noticed() {
        let ends = Ends::new().unwrap();
        let mut ended = ends.ended().unwrap();
        let (ours, _theirs) = UnixStream::pair().unwrap();
        let mut child = Command::new("cat").stdin(Stdio::piped()).spawn().unwrap();
        let process = pidfd_open(Pid::from_child(&child), PidfdFlags::empty()).unwrap();
        watch(&ends, 7, &ours, Some(&process));
        assert!(tokio::time::timeout(Duration::from_millis(20), ended.next()).await.is_err());
        child.kill().unwrap();
        assert_eq!(ended.next().await.unwrap(), [End::Process(LeaseNumber(7))]);
        child.wait().unwrap();
    }

    #[tokio::test]
    async fn what_is_watched_no_longer_is_not_noticed() {
        let ends = Ends::new().unwrap();
        let mut ended = ends.ended().unwrap();
        let (ours, theirs) = UnixStream::pair().unwrap();
        watch(&ends, 7, &ours, None);
        let holder = ours.try_clone().unwrap();
        ends.watch_no_longer(Some(ours.as_fd()), None);
        drop((ours, theirs));
        assert!(tokio::time::timeout(Duration::from_millis(20), ended.next()).await.is_err());
        drop(holder);
    }
}
