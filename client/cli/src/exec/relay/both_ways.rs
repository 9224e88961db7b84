//! What goes on once a session is open: bytes are copied both ways, until both have ended.
//!
//! Each direction has a thread, which sleeps in recv(2) and wakes to one recv(2) and one send(2). A runtime between
//! would take more system calls and more time for each of the short messages that databases exchange.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::thread;

use rustix::io::retry_on_intr;
use rustix::net::{RecvFlags, SendFlags, Shutdown, recv, send, shutdown};
use tokio::net::UnixStream;
use tokio::sync::oneshot::{self, Sender};

/// How much is copied at once.
const CHUNK: usize = 16 * 1024;
/// The stack of a thread: it has the buffer beside it, and calls little.
const STACK: usize = 64 * 1024;

/// Copies until both sides have ended, or one has failed. The end of one direction is passed on. When this is dropped,
/// both end.
///
/// # Errors
/// If no thread can be started.
pub(super) async fn copy(client: UnixStream, server: UnixStream) -> io::Result<()> {
    let both = Arc::new(Both { client: blocking(client)?, server: blocking(server)? });
    let ends = Ends(Arc::clone(&both));
    let (one, up) = oneshot::channel();
    let (other, down) = oneshot::channel();
    begin(&both, one, |both| (&both.client, &both.server))?;
    begin(&both, other, |both| (&both.server, &both.client))?;
    // Neither is sent anything: each is closed when its thread ends.
    let _ = up.await;
    let _ = down.await;
    drop(ends);
    Ok(())
}

/// The two sockets. They block.
struct Both {
    client: OwnedFd,
    server: OwnedFd,
}

/// Ends both directions when it is dropped: then no thread sleeps on.
struct Ends(Arc<Both>);

type Direction = fn(&Both) -> (&OwnedFd, &OwnedFd);

fn blocking(socket: UnixStream) -> io::Result<OwnedFd> {
    let socket = socket.into_std()?;
    socket.set_nonblocking(false)?;
    Ok(socket.into())
}

fn begin(both: &Arc<Both>, ended: Sender<()>, direction: Direction) -> io::Result<()> {
    let both = Arc::clone(both);
    let begun = thread::Builder::new().stack_size(STACK).spawn(move || {
        let (from, to) = direction(&both);
        match pass_on(from, to) {
            // One that has gone need not be told.
            Ok(()) => drop(shutdown(to, Shutdown::Write)),
            Err(_) => both.end(),
        }
        drop(ended);
    });
    begun.map(drop)
}

/// Passes everything on, to the end.
fn pass_on(from: impl AsFd, to: impl AsFd) -> rustix::io::Result<()> {
    let mut room = vec![0; CHUNK];
    loop {
        let (_, length) = retry_on_intr(|| recv(&from, &mut *room, RecvFlags::empty()))?;
        let mut left = room.get(..length).unwrap_or_default();
        if left.is_empty() {
            return Ok(());
        }
        while !left.is_empty() {
            let sent = retry_on_intr(|| send(&to, left, SendFlags::NOSIGNAL))?;
            left = left.get(sent..).unwrap_or_default();
        }
    }
}

impl Both {
    /// Wakes both threads.
    fn end(&self) {
        for socket in [&self.client, &self.server] {
            // It may have ended.
            let _ = shutdown(socket, Shutdown::Both);
        }
    }
}

impl Drop for Ends {
    fn drop(&mut self) {
        self.0.end();
    }
}
