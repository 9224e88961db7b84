//! The closer: a process that closes connections with unread descriptors in them.
//!
//! With such a connection the kernel closes the descriptors, and each close(2) can sleep for as
//! long as their sender likes. A user can make any number of connections that the broker turns
//! away. In the worker's descriptor table they would take everybody's room; here they are in
//! nobody's way. The kernel bounds how many there are: each carries a descriptor that its sender
//! has in flight.
//!
//! The closer has no privilege, knows no policy, and gets one connection a message from its worker.
//! It keeps the last one open until the next message, which may bring nothing. Then the worker has
//! closed its own descriptor of it, and the close here is the one that may sleep. If its table is
//! full, the closer takes no more, and its worker gets another closer; this one ends when it has
//! closed everything.

use std::io::{self, ErrorKind};
use std::os::fd::{AsFd, OwnedFd};
use std::process::ExitCode;
use std::sync::mpsc::{Sender, channel};

use fdbroker_wire::Account;
use rustix::event::{PollFlags, Timespec, poll};
use rustix::net::{Shutdown, shutdown};

use crate::child;
use crate::fd::{CloseQueue, Depositor, PeerFd, table};
use crate::look::wait_for;
use crate::payer::Payer;
use crate::sandbox::{self, credentials};
use crate::sys::receive::{Received, receive};

/// How long it waits for more when it has read everything: then its worker wakes it once for many.
const PAUSE: Timespec = Timespec { tv_sec: 0, tv_nsec: 2_000_000 };
/// Entries of the table that are left for what one message may bring, and for the process itself.
const LEFT_FREE: u64 = 16;

/// The first message: whom to become.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Become(pub(crate) Option<Account>);

impl Become {
    const LENGTH: usize = 9;

    pub(crate) fn to_bytes(self) -> [u8; Self::LENGTH] {
        let account = self.0.unwrap_or(Account { uid: 0, gid: 0 });
        let mut bytes = [u8::from(self.0.is_some()); Self::LENGTH];
        bytes[1..5].copy_from_slice(&account.uid.to_ne_bytes());
        bytes[5..].copy_from_slice(&account.gid.to_ne_bytes());
        bytes
    }

    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (changes, rest) = bytes.split_first()?;
        let (uid, gid) = rest.split_first_chunk()?;
        let (uid, gid) = (u32::from_ne_bytes(*uid), u32::from_ne_bytes(gid.try_into().ok()?));
        Some(Self((*changes != 0).then_some(Account { uid, gid })))
    }
}

/// Runs a closer until its worker has gone and everything is closed.
pub(crate) fn main() -> ExitCode {
    child::report("closer", run())
}

fn run() -> Result<(), String> {
    let link = child::begin(c"fdbroker-closer")?;
    let mut bytes = [0; Become::LENGTH];
    let length = read(&link, &mut bytes, |descriptor| descriptor).map_err(failed)?.length;
    let whom = Become::from_bytes(&bytes[..length]).ok_or("no user to become was named")?;
    credentials::give_up(whom.0).map_err(|error| error.to_string())?;
    table::enlarge().map_err(failed)?;
    // Not to be had once it is confined.
    let table = table::size();
    // What is missing its worker has told.
    sandbox::confine_worker(false).map_err(|error| error.to_string())?;
    serve(link, table).map_err(failed)
}

fn failed(error: io::Error) -> String {
    format!("it cannot go on: {error}")
}

/// Closes what it is sent, until its worker has gone or the table is full; then until all is closed.
fn serve(link: OwnedFd, table: u64) -> io::Result<()> {
    let queue = CloseQueue::new();
    let (open, all_closed) = channel();
    let full = table.saturating_sub(LEFT_FREE);
    let mut last = None;
    while let Some(sent) = next(&link, &queue, &open)? {
        // Of the one before, its worker has closed its own.
        drop(last.take());
        let Sent::Connection(connection) = sent else { continue };
        let number = u64::try_from(connection.number()).unwrap_or_default();
        last = Some(connection);
        if number >= full {
            take_no_more(&link)?;
            break;
        }
    }
    drop((last, link, open));
    // Never sent to: this waits until every connection is closed.
    let _ = all_closed.recv();
    Ok(())
}

/// What its worker sends.
enum Sent {
    Connection(PeerFd),
    /// For a moment there was no other: it need not keep the last one open.
    Nothing,
}

/// Returns the next connection, or `None` if there will be no more, or no room for it.
fn next(link: &OwnedFd, queue: &CloseQueue, open: &Sender<()>) -> io::Result<Option<Sent>> {
    let mut uid = [0; 4];
    let received = read(link, &mut uid, |descriptor| queue.hold(Depositor::Nobody, descriptor))?;
    if received.truncated {
        take_no_more(link)?;
        return Ok(None);
    }
    let Some(mut connection) = received.descriptors.into_iter().next() else {
        return Ok((received.length > 0).then_some(Sent::Nothing));
    };
    connection.move_to(Depositor::Brought(Payer::named(u32::from_ne_bytes(uid))));
    connection.keep_until_closed(open.clone());
    Ok(Some(Sent::Connection(connection)))
}

/// Tells its worker, and waits until that has closed its end: then it has also closed what it sent last.
fn take_no_more(link: &OwnedFd) -> io::Result<()> {
    shutdown(link, Shutdown::Read)?;
    wait_for(link, PollFlags::empty())
}

/// Reads one message, when it comes.
fn read<F>(
    link: &OwnedFd,
    buffer: &mut [u8],
    mut own: impl FnMut(OwnedFd) -> F,
) -> io::Result<Received<F>> {
    loop {
        match receive(link.as_fd(), buffer, &mut own) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                wait_for(link, PollFlags::IN)?;
                // A signal only makes it shorter.
                let _ = poll(&mut [], Some(&PAUSE));
            }
            result => return result,
        }
    }
}
