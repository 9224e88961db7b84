//! Waiting on the event loop for a descriptor.
//!
//! Why not tokio's own sockets: they are always watched for writing too. So the kernel would wake
//! the worker each time a peer reads an answer. The worker hardly ever wants to know that there is
//! room again. Measured, that is a tenth of a whole request.

use std::cell::Cell;
use std::io::{self, ErrorKind};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::rc::Rc;
use std::time::Duration;

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// The pause between tries where nothing can be watched.
const TRY_AGAIN: Duration = Duration::from_millis(10);

/// A descriptor that is watched for reading; for writing only while somebody waits for that.
pub(crate) struct Watched {
    descriptor: AsyncFd<OwnedFd>,
    /// Something to read was set aside: the next read must look by itself.
    unsure: Cell<bool>,
}

impl Watched {
    /// Watches `descriptor`.
    ///
    /// # Errors
    /// When it cannot be watched: epoll_ctl(2).
    pub(crate) fn new(descriptor: OwnedFd) -> io::Result<Self> {
        Self::or_back(descriptor).map_err(|(_, error)| error)
    }

    /// Watches `descriptor`, or returns it, since closing it may sleep.
    ///
    /// # Errors
    /// As [`Watched::new`].
    pub(crate) fn or_back(descriptor: OwnedFd) -> Result<Self, (OwnedFd, io::Error)> {
        let descriptor = watch_or_back(descriptor, Interest::READABLE)?;
        Ok(Self { descriptor, unsure: Cell::new(false) })
    }

    /// Does `step`, which must not block, as soon as it finds something to read. Can be dropped:
    /// then `step` has not been done.
    ///
    /// # Errors
    /// Those of `step`, except WouldBlock.
    pub(crate) async fn read<T>(
        &self,
        mut step: impl FnMut(BorrowedFd<'_>) -> io::Result<T>,
    ) -> io::Result<T> {
        loop {
            if let Some(found) = self.read_once(&mut step, |_| false).await? {
                return Ok(found);
            }
        }
    }

    /// Does `step`, which must not block, when there may be something to read. Returns `None` if
    /// there was nothing after all. Can be dropped: then `step` has not been done.
    ///
    /// `empties` says whether a result of `step` means that nothing more was there. Then the next
    /// read waits without a look: the kernel announces what arrives after that.
    ///
    /// # Errors
    /// As [`Watched::read`].
    pub(crate) async fn read_once<T>(
        &self,
        mut step: impl FnMut(BorrowedFd<'_>) -> io::Result<T>,
        empties: impl Fn(&T) -> bool,
    ) -> io::Result<Option<T>> {
        if self.unsure.get() {
            return match step(self.as_fd()) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    self.unsure.set(false);
                    Ok(None)
                }
                result => result.map(Some),
            };
        }
        let mut ready = self.descriptor.readable().await?;
        let Ok(result) = ready.try_io(|descriptor| step(descriptor.get_ref().as_fd())) else {
            return Ok(None);
        };
        if result.as_ref().is_ok_and(&empties) {
            // Keeps what is known of the other end's having shut.
            ready.clear_ready();
        }
        result.map(Some)
    }

    /// Does `step`, which must not block, as soon as there is room to write; the first time at
    /// once. Can be dropped: then `step` has not been done.
    ///
    /// To wait takes a second descriptor, which is charged by `charge`.
    ///
    /// # Errors
    /// Those of `step`, except WouldBlock.
    pub(crate) async fn write<T, C>(
        &self,
        mut step: impl FnMut(BorrowedFd<'_>) -> io::Result<T>,
        charge: impl FnOnce() -> C,
    ) -> io::Result<T> {
        match step(self.as_fd()) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            result => return result,
        }
        let _charge = charge();
        let other = self.as_fd().try_clone_to_owned();
        let Ok(other) = other.and_then(|other| watch(other, Interest::WRITABLE)) else {
            return self.write_by_trying(step).await;
        };
        loop {
            let mut ready = other.writable().await?;
            if let Ok(result) = ready.try_io(|descriptor| step(descriptor.get_ref().as_fd())) {
                return result;
            }
        }
    }

    /// Like [`Watched::write`], where there is no descriptor left to watch with.
    async fn write_by_trying<T>(
        &self,
        mut step: impl FnMut(BorrowedFd<'_>) -> io::Result<T>,
    ) -> io::Result<T> {
        loop {
            tokio::time::sleep(TRY_AGAIN).await;
            match step(self.as_fd()) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                result => return result,
            }
        }
    }

    /// Waits until the other end is shut, whatever lies unread here. Can be dropped.
    ///
    /// # Errors
    /// When the event loop has ended.
    pub(crate) async fn closed(&self) -> io::Result<()> {
        loop {
            let mut ready = self.descriptor.readable().await?;
            if ready.ready().is_read_closed() {
                return Ok(());
            }
            ready.clear_ready();
            self.unsure.set(true);
        }
    }

    /// Watches it no longer.
    pub(crate) fn into_inner(self) -> OwnedFd {
        self.descriptor.into_inner()
    }

    /// Waits until there may be something to read; whether the other end is known to be shut. Can be
    /// dropped.
    ///
    /// # Errors
    /// When the event loop has ended.
    pub(crate) async fn readable(&self) -> io::Result<bool> {
        if self.unsure.get() {
            return Ok(false);
        }
        Ok(self.descriptor.readable().await?.ready().is_read_closed())
    }
}

impl AsFd for Watched {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.descriptor.get_ref().as_fd()
    }
}

/// A process whose end is noticed.
pub(crate) struct Ending(AsyncFd<Rc<OwnedFd>>);

impl Ending {
    /// Watches a process by its pidfd.
    ///
    /// # Errors
    /// When it cannot be watched: epoll_ctl(2).
    pub(crate) fn new(process: Rc<OwnedFd>) -> io::Result<Self> {
        watch(process, Interest::READABLE).map(Self)
    }

    /// Whether the process had ended when the event loop last asked the kernel what has happened.
    /// This costs no system call.
    pub(crate) fn was_told(&self) -> bool {
        // It is never cleared: a process ends once.
        self.0.try_io(Interest::READABLE, |_| Ok(())).is_ok()
    }
}

fn watch<T: AsRawFd>(descriptor: T, interest: Interest) -> io::Result<AsyncFd<T>> {
    watch_or_back(descriptor, interest).map_err(|(_, error)| error)
}

fn watch_or_back<T: AsRawFd>(
    descriptor: T,
    interest: Interest,
) -> Result<AsyncFd<T>, (T, io::Error)> {
    // SAFETY: the AsyncFd owns the descriptor, or a share in it, and deregisters it before it is
    // closed; an OwnedFd returns the same open descriptor for as long as it lives.
    let watched = unsafe { AsyncFd::register_with_interest(descriptor, interest) };
    watched.map_err(tokio::io::unix::AsyncFdRegisterError::into_parts)
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::os::unix::net::UnixStream;
    use std::time::Duration;

    use super::*;

    fn byte(socket: BorrowedFd<'_>) -> io::Result<u8> {
        let mut byte = [0];
        rustix::net::recv(socket, &mut byte, rustix::net::RecvFlags::DONTWAIT)?;
        Ok(byte[0])
    }

    #[tokio::test]
    async fn a_read_that_finds_nothing_comes_back_and_the_next_one_waits() {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let watched = Watched::new(ours.into()).unwrap();
        theirs.write_all(b"a").unwrap();
        assert_eq!(watched.read_once(byte, |_| false).await.unwrap(), Some(b'a'));
        // Nobody has said that it was all: the reader has to ask for its turn again.
        assert_eq!(watched.read_once(byte, |_| false).await.unwrap(), None);
        let waits = watched.read_once(byte, |_| false);
        assert!(tokio::time::timeout(Duration::from_millis(10), waits).await.is_err());
        theirs.write_all(b"b").unwrap();
        assert_eq!(watched.read_once(byte, |_| true).await.unwrap(), Some(b'b'));
        let waits = watched.read_once(byte, |_| false);
        assert!(tokio::time::timeout(Duration::from_millis(10), waits).await.is_err());
    }
}
