//! Accepting peers: identity first, then a charge on its user, then a session.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::rc::Rc;
use std::time::Duration;

use fdbroker_policy::{Gid, Uid};
use fdbroker_wire::{Errno, reply};
use nix::sys::socket::{getsockopt, sockopt};
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::net::{Shutdown, SocketFlags, accept_with, shutdown};

use super::Worker;
use super::identity::Identity;
use super::quota::Exceeded;
use super::session;
use crate::log::{Kind, Record, Verdict};
use crate::sys::socket::tell_unread;
use crate::sys::watch::Watched;
use crate::transmit::transmit;

/// The pause after an accept that failed: it may be for want of descriptors, and those come back
/// only as others leave.
const PAUSE: Duration = Duration::from_millis(50);

/// Accepts peers for as long as the worker lives.
///
/// # Errors
/// When the listening socket cannot be used.
pub(super) async fn accept(worker: Rc<Worker>, listener: OwnedFd) -> io::Result<()> {
    set_nonblocking(&listener)?;
    let listener = Watched::new(listener)?;
    worker.vault.serving().await?;
    loop {
        let next = |socket: BorrowedFd<'_>| Ok(accept_with(socket, SocketFlags::CLOEXEC)?);
        match listener.read(next).await {
            Ok(stream) => admit(&worker, stream),
            Err(error) => {
                worker.log().error(&format!("a peer could not be accepted: {error}"));
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

/// Accepting must not wait when a peer has left again meanwhile.
fn set_nonblocking(listener: &OwnedFd) -> io::Result<()> {
    Ok(fcntl_setfl(listener, fcntl_getfl(listener)? | OFlags::NONBLOCK)?)
}

fn admit(worker: &Rc<Worker>, stream: OwnedFd) {
    let identity = match Identity::of(&stream, worker.sees_units) {
        Ok(identity) => identity,
        Err(error) => {
            let reason = format!("its identity cannot be read: {error}");
            // What is not done need not be recorded first.
            let _ = worker.audit.record(&Record { reason: &reason, ..STRANGER });
            return end(worker, Uid::OVERFLOW, stream);
        }
    };
    if !names_writers(&stream) {
        refuse(worker, &identity, NO_WRITERS);
        return end(worker, identity.uid, stream);
    }
    // Where the kernel cannot, each request costs one more look at an empty socket.
    let _ = tell_unread(stream.as_fd());
    match worker.quotas.connection(identity.uid) {
        Ok(charge) => match Watched::new(stream) {
            Ok(stream) => {
                let session = session::serve(Rc::clone(worker), stream, Rc::new(identity), charge);
                tokio::task::spawn_local(session);
            }
            Err(error) => worker.log().error(&format!("a peer cannot be watched: {error}")),
        },
        Err(exceeded) => {
            turn_away(worker, &stream, &identity, exceeded);
            end(worker, identity.uid, stream);
        }
    }
}

/// Whether the kernel tells who wrote what is read. A connection has that from the listening
/// socket: since Linux 6.16 as that was when the peer connected, before as it is at accept.
fn names_writers(stream: &OwnedFd) -> bool {
    getsockopt(stream, sockopt::PassCred).unwrap_or(false)
}

/// Ends a connection that does not become a session.
fn end(worker: &Worker, uid: Uid, stream: OwnedFd) {
    // It fails when the peer has gone: then there is nothing left to end.
    let _ = shutdown(&stream, Shutdown::Both);
    session::put_away(worker, uid, stream, ());
}

/// Whom nobody could name.
const STRANGER: Record<'_> = Record {
    kind: Kind::Connection,
    right: "connect",
    verdict: Verdict::Refused,
    ..Record::of(Uid::OVERFLOW, Gid::OVERFLOW, 0, "unknown")
};

const NO_WRITERS: &str = "it was made before the broker could ask for its writers; set \
     PassCredentials=yes where the socket is made";

/// Records that a connection does not become a session.
fn refuse(worker: &Worker, identity: &Identity, reason: &str) {
    // What is not done need not be recorded first.
    let _ = worker.audit.record(&Record {
        kind: Kind::Connection,
        right: "connect",
        verdict: Verdict::Refused,
        reason,
        ..identity.record()
    });
}

/// Tells a peer for whom there is no room why it is disconnected.
fn turn_away(worker: &Worker, stream: &OwnedFd, identity: &Identity, exceeded: Exceeded) {
    let reason = exceeded.to_string();
    refuse(worker, identity, &reason);
    let answer = reply(-Errno::DQUOT.get(), &reason);
    // A courtesy: the connection ends in any case.
    let _ = transmit(stream.as_fd(), &[io::IoSlice::new(&answer)], &[]);
}
