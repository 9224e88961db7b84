//! How long a message to the supervisor may find no room. A supervisor that gets no processor reads
//! again in time; descriptors that lie unread with peers may lie there for ever.

use std::io::{self, ErrorKind, IoSlice};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout_at};

use crate::sys::socket::unread;
use crate::sys::watch::Watched;
use crate::transmit::{RETRY, too_many_in_flight, transmit};

/// How long descriptors in flight may keep a message back that a peer waits for.
const SOON: Duration = Duration::from_secs(1);
/// How long the supervisor may neither read nor answer before this worker ends.
pub(super) const GIVE_UP: Duration = Duration::from_secs(30);

/// The bounds of one message's wait.
#[derive(Clone, Copy)]
pub(super) struct SendPatience {
    /// While the supervisor has not read all that was sent to it.
    behind: Duration,
    /// While it has, and the kernel takes no more descriptors in flight.
    in_flight: Duration,
}

impl SendPatience {
    /// For what has to be sent, or this worker ends.
    pub(super) const LAST: Self = Self { behind: GIVE_UP, in_flight: GIVE_UP };
    /// For what a peer waits for.
    pub(super) const PEER: Self = Self { behind: GIVE_UP, in_flight: SOON };
    /// For what is tried again.
    pub(super) const BRIEF: Self = Self { behind: SOON, in_flight: SOON };

    /// For what nobody waits for after `until`.
    pub(super) fn until(until: Instant) -> Self {
        let left = until.saturating_duration_since(Instant::now());
        Self { behind: left.min(GIVE_UP), ..Self::PEER }
    }

    /// Sends the first part of a message, with its descriptors, once there is room. Can be dropped.
    ///
    /// # Errors
    /// TimedOut if a bound was reached after which another message may still go; otherwise as
    /// sendmsg(2), or WouldBlock when the supervisor read nothing for the time after which the worker
    /// ends.
    pub(super) async fn begin(
        self,
        stream: &Watched,
        parts: &[IoSlice<'_>],
        descriptors: &[BorrowedFd<'_>],
    ) -> io::Result<usize> {
        // Nearly always there is room, and no timer is needed.
        match transmit(stream.as_fd(), parts, descriptors) {
            Err(error) if error.kind() == ErrorKind::WouldBlock || too_many_in_flight(&error) => {}
            result => return result,
        }
        let until = Instant::now() + self.behind;
        let mut kept_back = Duration::ZERO;
        loop {
            let sent = stream.write(|socket| transmit(socket, parts, descriptors), || ());
            match timeout_at(until, sent).await {
                Err(_) => return Err(Self::over(self.behind)),
                Ok(Err(error)) if too_many_in_flight(&error) => {}
                Ok(result) => return result,
            }
            // What it has still to read may carry the descriptors that are too many.
            if unread(stream.as_fd()).is_ok_and(|unread| unread == 0) {
                kept_back += RETRY;
            }
            if kept_back > self.in_flight {
                return Err(Self::over(self.in_flight));
            }
            if Instant::now() >= until {
                return Err(Self::over(self.behind));
            }
            sleep(RETRY).await;
        }
    }

    fn over(bound: Duration) -> io::Error {
        if bound < GIVE_UP { ErrorKind::TimedOut.into() } else { ErrorKind::WouldBlock.into() }
    }
}
