//! The service manager's store of descriptors (FDSTORE=1, see sd_pid_notify_with_fds(3)): what is sent
//! to it, under which names, and how its answer is awaited.

use std::fmt;
use std::io::{self, IoSlice};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::str::FromStr;
use std::time::Duration;

use rustix::event::PollFlags;
use tokio::time::timeout;

use super::object_number::ObjectNumber;
use crate::look::look;
use crate::payer::Payer;
use crate::sys::watch::Watched;
use crate::transmit::transmit;

/// How long the service manager may take to have read everything that was sent to it.
const ANSWERS: Duration = Duration::from_secs(5);

const PROBE: &str = "p";
/// No broker counts that far.
const LAST: u64 = u64::MAX / 4;

/// What something is called in the store: made of a number of ours, and of nothing that a user says. Short, since
/// all names together come back in one variable of the environment.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Name {
    Journal(u64),
    Object(ObjectNumber),
    /// What is stored for a moment, to see whether there is room.
    Probe,
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Journal(generation) => write!(f, "j{generation:x}"),
            Self::Object(number) => write!(f, "o{:x}", number.0),
            Self::Probe => f.write_str(PROBE),
        }
    }
}

impl FromStr for Name {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        if text == PROBE {
            return Ok(Self::Probe);
        }
        let (kind, digits) = text.split_at_checked(1).ok_or(())?;
        let number = u64::from_str_radix(digits, 16).map_err(|_| ())?;
        // Behind each number there is another one.
        if number > LAST {
            return Err(());
        }
        let name = match kind {
            "j" => Self::Journal(number),
            "o" => Self::Object(ObjectNumber(number)),
            _ => return Err(()),
        };
        // One way to write each.
        if name.to_string() == text { Ok(name) } else { Err(()) }
    }
}

/// How many open file descriptions are stored at most: as many as the unit's FileDescriptorStoreMax= has room for
/// beside the journal.
const MOST: usize = 16_000;
/// What beside them is stored: a journal, and while it is exchanged another one.
const BESIDE: usize = 2;

/// How much of what there is room for.
#[derive(Clone, Copy)]
pub(super) struct Room {
    most: usize,
    /// Whether the service manager has said so. If not, it is seen.
    is_told: bool,
    /// Whether the service manager's own thread never closes what it has stored.
    closes_apart: bool,
}

impl Room {
    /// What the service manager says of it: `FDSTORE` in the environment, since systemd 254. Since then it
    /// also closes on a thread apart, which one that sleeps keeps from nothing else.
    pub(super) fn told() -> Self {
        let told = std::env::var("FDSTORE").ok().and_then(|told| told.parse::<usize>().ok());
        let most = told.map_or(MOST, |told| told.saturating_sub(BESIDE).min(MOST));
        Self { most, is_told: told.is_some(), closes_apart: told.is_some() }
    }

    pub(super) fn most(self) -> usize {
        self.most
    }

    pub(super) fn is_told(self) -> bool {
        self.is_told
    }

    /// Whether deposits of this user are stored. Who can keep a close(2) from ending must not be able to keep the
    /// service manager from going on: when the unit is stopped, that makes the last one.
    pub(super) fn takes(self, payer: Payer) -> bool {
        self.closes_apart || payer.is_of_the_system()
    }
}

/// The way to it.
pub(super) struct Store(Watched);

impl Store {
    /// Connects to the service manager that started this process, if one did.
    ///
    /// # Errors
    /// As connect(2).
    pub(super) fn connect() -> io::Result<Option<Self>> {
        let Some(path) = std::env::var_os("NOTIFY_SOCKET") else { return Ok(None) };
        let socket = UnixDatagram::unbound()?;
        match path.as_bytes().strip_prefix(b"@") {
            Some(name) => socket.connect_addr(&SocketAddr::from_abstract_name(name)?)?,
            None => socket.connect(path)?,
        }
        socket.set_nonblocking(true)?;
        Watched::new(socket.into()).map(Self).map(Some)
    }

    /// Stores a descriptor. It is kept also when the other end hangs up (FDPOLL=0, systemd 246).
    ///
    /// # Errors
    /// As sendmsg(2).
    pub(super) async fn put(&self, name: Name, descriptor: BorrowedFd<'_>) -> io::Result<()> {
        self.send(&format!("FDSTORE=1\nFDPOLL=0\nFDNAME={name}"), Some(descriptor)).await
    }

    /// Removes what has that name.
    ///
    /// # Errors
    /// As sendmsg(2).
    pub(super) async fn remove(&self, name: Name) -> io::Result<()> {
        self.send(&format!("FDSTOREREMOVE=1\nFDNAME={name}"), None).await
    }

    /// Waits until everything that was sent has been read (BARRIER=1, systemd 246).
    ///
    /// # Errors
    /// As sendmsg(2); TimedOut if the service manager does not read it in time.
    pub(super) async fn barrier(&self) -> io::Result<()> {
        let (ours, theirs) = io::pipe()?;
        let theirs = OwnedFd::from(theirs);
        self.send("BARRIER=1", Some(theirs.as_fd())).await?;
        drop(theirs);
        let ours = Watched::new(ours.into())?;
        timeout(ANSWERS, ours.closed()).await.map_err(|_| io::ErrorKind::TimedOut)??;
        Ok(())
    }

    /// Has something stored. It is to be removed when the service manager has read that.
    ///
    /// # Errors
    /// As pipe(2) and sendmsg(2).
    pub(super) async fn probe(&self) -> io::Result<Probe> {
        let (ours, theirs) = io::pipe()?;
        let theirs = OwnedFd::from(theirs);
        self.put(Name::Probe, theirs.as_fd()).await?;
        Ok(Probe(ours.into()))
    }

    async fn send(&self, text: &str, descriptor: Option<BorrowedFd<'_>>) -> io::Result<()> {
        let parts = [IoSlice::new(text.as_bytes())];
        let send = |socket: BorrowedFd<'_>| transmit(socket, &parts, descriptor.as_slice());
        let sent = timeout(ANSWERS, self.0.write(send, || ())).await;
        sent.map_err(|_| io::ErrorKind::TimedOut)?.map(drop)
    }
}

/// What tells whether something was stored.
pub(super) struct Probe(OwnedFd);

impl Probe {
    /// Whether the service manager, which has read it, has not closed it at once: it found room for it.
    ///
    /// # Errors
    /// As poll(2).
    pub(super) fn found_room(&self) -> io::Result<bool> {
        Ok(!look(self.0.as_fd(), PollFlags::empty())?.contains(PollFlags::HUP))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_they_are_written_and_in_no_other_way() {
        for name in [
            Name::Journal(1),
            Name::Object(ObjectNumber(0xabc)),
            Name::Object(ObjectNumber(0)),
            Name::Probe,
        ] {
            assert_eq!(name.to_string().parse(), Ok(name));
        }
        for other in [
            "",
            "o",
            "j",
            "oABC",
            "o01",
            "o+1",
            "x1",
            "fdbrokerd.socket",
            "unknown",
            "é1",
            "jffffffffffffffff",
        ] {
            assert_eq!(other.parse::<Name>(), Err(()), "{other}");
        }
    }

    #[test]
    fn ordinary_users_need_a_service_manager_that_closes_apart() {
        let (service, user) = (Payer::named(33), Payer::named(1000));
        let takes = |closes_apart| {
            let room = Room { most: MOST, is_told: closes_apart, closes_apart };
            [service, user].map(|payer| room.takes(payer))
        };
        assert_eq!([takes(false), takes(true)], [[true, false], [true, true]]);
    }
}
