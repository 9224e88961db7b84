//! Hands a session of TLS over to the kernel: after that, a process that has the socket sends and receives plain text.
//!
//! What this side sends is encrypted with new keys from then on. A caller can ask the kernel for its keys, and could
//! else decrypt a log-in that was recorded on its way. The server goes on with its keys.

use std::io::ErrorKind;
use std::os::fd::{AsFd, OwnedFd};

use fdbroker_wire::MAX_PAYLOAD;
use rustix::event::PollFlags;
use rustix::io::Errno;
use rustix::net::{SendFlags, send};

use super::failure;
use super::keys::{received, sent};
use super::renewal::Renewal;
use super::session::TlsSession;
use crate::helper::answer::{Failure, Step};
use crate::helper::patience::Patience;
use crate::sys::ktls::{self, Direction};

/// The result.
pub(crate) enum Handover {
    /// The kernel has it. These bytes the server sent before.
    Done(Vec<u8>),
    /// It stays as it was: the kernel, or what was agreed on with the server, does not allow it.
    Kept(Box<TlsSession>),
}

/// Hands a session over, if the kernel can have it: TLS 1.3, with a cipher that it knows. The server must have
/// sent data already: what it has to say of the handshake comes before these.
///
/// # Errors
/// When the connection fails, or the kernel does not do its part.
pub(crate) fn hand_over(
    session: TlsSession,
    socket: &OwnedFd,
    patience: Patience<'_>,
) -> Result<Handover, Failure> {
    if !session.is_for_kernel() || ktls::prepare(socket.as_fd()).is_err() {
        return Ok(Handover::Kept(Box::new(session)));
    }
    let mut end = End { session, socket, patience, early: Vec::new() };
    end.record()?;
    let End { session, early, .. } = end;
    install(session, socket, patience)?;
    Ok(Handover::Done(early))
}

/// The end of a session as it was.
struct End<'a> {
    session: TlsSession,
    socket: &'a OwnedFd,
    patience: Patience<'a>,
    /// What the server has sent and nobody has read.
    early: Vec<u8>,
}

impl End<'_> {
    /// Receives the rest of a record that has begun, and no more.
    fn record(&mut self) -> Result<(), Failure> {
        self.keep_early()?;
        while !self.session.records().is_between() {
            match self.session.take_in_record(self.socket) {
                Ok(true) => self.keep_early()?,
                Ok(false) => return Err(Failure::new(Step::Tls, ENDED)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    let waited = self.patience.wait(self.socket, PollFlags::IN);
                    waited.map_err(|error| failed(&error))?;
                }
                Err(error) => return Err(failed(&error)),
            }
        }
        Ok(())
    }

    /// Takes what has been decrypted.
    fn keep_early(&mut self) -> Result<(), Failure> {
        loop {
            let length = match self.session.received() {
                Ok([]) => return Err(Failure::new(Step::Tls, ENDED)),
                Ok(bytes) => {
                    self.early.extend_from_slice(bytes);
                    bytes.len()
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(failed(&error)),
            };
            self.session.consume(length);
            if self.early.len() > MAX_PAYLOAD {
                let text = "the server sends more after the log-in than a payload holds";
                return Err(Failure::new(Step::Tls, text));
            }
        }
    }
}

const ENDED: &str = "the server closed the connection after the log-in";

/// Renews the keys of what this side sends, and sets those of both directions.
fn install(session: TlsSession, socket: &OwnedFd, patience: Patience<'_>) -> Result<(), Failure> {
    let (secret, secrets) = session.into_secrets().map_err(|error| failure::of(&error))?;
    let refused = |text: &str| Failure::new(Step::Tls, text);
    let ((used, now), (taken, theirs)) = (secrets.tx, secrets.rx);
    let renewal = secret.renew(&now, used);
    let Renewal { record, key, iv } =
        renewal.ok_or_else(|| refused("the server has asked for other keys during the log-in"))?;
    let [ours, theirs] = [sent(&now, &key, &iv), received(&theirs, taken)];
    send_all(socket, &record, patience)?;
    for (direction, keys) in [(Direction::Sent, ours), (Direction::Received, theirs)] {
        let keys = keys.ok_or_else(|| refused("the kernel knows no such cipher"))?;
        ktls::install(socket.as_fd(), direction, &keys).map_err(|error| {
            refused(&format!(
                "the kernel does not take the keys: {error}; remove `kernel` of `tls`"
            ))
        })?;
    }
    Ok(())
}

fn send_all(socket: &OwnedFd, mut bytes: &[u8], patience: Patience<'_>) -> Result<(), Failure> {
    while !bytes.is_empty() {
        match send(socket, bytes, SendFlags::NOSIGNAL | SendFlags::DONTWAIT) {
            Ok(sent) => bytes = bytes.get(sent..).unwrap_or_default(),
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => {
                patience.wait(socket, PollFlags::OUT).map_err(|error| failed(&error))?;
            }
            Err(error) => return Err(failed(&error.into())),
        }
    }
    Ok(())
}

fn failed(error: &std::io::Error) -> Failure {
    match error.kind() {
        ErrorKind::TimedOut => Failure::timed_out(Step::Tls, "the server does not answer"),
        _ => failure::told(error)
            .unwrap_or_else(|| Failure::new(Step::Tls, format!("the connection failed: {error}"))),
    }
}
