//! One TLS connection, over a socket that does not block.

use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::OwnedFd;
use std::sync::Arc;

use rustix::event::PollFlags;
use rustix::io::{Errno, retry_on_intr};
use rustix::net::{RecvFlags, SendFlags, recv, send};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection};

use super::end_point;
use super::failure::in_handshake;
use crate::helper::answer::{Failure, Step};
use crate::helper::patience::Patience;

/// The most that waits to be sent. What is written at once is half of it at most.
const MOST_UNSENT: usize = 32 * 1024;
/// The most that is encrypted at once.
pub(crate) const AT_ONCE: usize = MOST_UNSENT / 2;
/// How much of what a server says first is kept, to be told if it is not TLS.
const FIRST: usize = 128;

/// The client's side.
pub(crate) struct TlsSession(ClientConnection);

impl TlsSession {
    pub(super) fn new(
        config: ClientConfig,
        server: ServerName<'static>,
    ) -> Result<Self, rustls::Error> {
        let mut connection = ClientConnection::new(Arc::new(config), server)?;
        connection.set_buffer_limit(Some(MOST_UNSENT));
        Ok(Self(connection))
    }

    pub(super) fn shake_hands(
        &mut self,
        socket: &OwnedFd,
        patience: Patience<'_>,
    ) -> Result<(), Failure> {
        let mut first = Vec::new();
        loop {
            if first.is_empty() {
                first = peek(socket);
            }
            let done = match self.flush(socket) {
                Ok(()) if !self.0.is_handshaking() => return Ok(()),
                Ok(()) => self.take_in(socket),
                Err(error) => Err(error),
            };
            let failed = |error: &io::Error| failed(error, &first);
            match done {
                Ok(true) if patience.is_over() => return Err(failed(&ErrorKind::TimedOut.into())),
                Ok(true) => {}
                Ok(false) => return Err(closed()),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    let flags = if self.0.wants_write() { PollFlags::OUT } else { PollFlags::IN };
                    patience.wait(socket, flags).map_err(|error| failed(&error))?;
                }
                Err(error) => return Err(failed(&error)),
            }
        }
    }

    /// Returns what a log-in binds itself to (RFC 5929): the hash of the server's certificate. `None` if that is
    /// not defined for its signature.
    pub(crate) fn end_point(&self) -> Option<Vec<u8>> {
        end_point::hash(self.0.peer_certificates()?.first()?)
    }

    /// Returns whether something waits to be sent.
    pub(crate) fn is_unsent(&self) -> bool {
        self.0.wants_write()
    }

    /// Sends what waits to be sent.
    ///
    /// # Errors
    /// WouldBlock; as send(2).
    pub(crate) fn flush(&mut self, socket: &OwnedFd) -> io::Result<()> {
        while self.0.wants_write() {
            self.0.write_tls(&mut Socket(socket))?;
        }
        Ok(())
    }

    /// Encrypts some of these bytes to be sent; returns how many.
    ///
    /// # Errors
    /// When the connection has failed before.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.writer().write(bytes)
    }

    /// Tells the server that nothing more comes.
    pub(crate) fn close(&mut self) {
        self.0.send_close_notify();
    }

    /// Receives once what the server has sent. What was received before must have been read. Returns whether there was
    /// anything: if not, nothing more comes.
    ///
    /// # Errors
    /// WouldBlock; as recv(2); InvalidData if it is none of TLS.
    pub(crate) fn take_in(&mut self, socket: &OwnedFd) -> io::Result<bool> {
        let is_anything = self.0.read_tls(&mut Socket(socket))? > 0;
        if let Err(error) = self.0.process_new_packets() {
            // The server is told why, if that costs no wait.
            let _ = self.flush(socket);
            return Err(io::Error::new(ErrorKind::InvalidData, error));
        }
        Ok(is_anything)
    }

    /// Returns what has been received and decrypted; nothing if nothing more comes.
    ///
    /// # Errors
    /// WouldBlock if there is nothing yet; UnexpectedEof if the connection ended without the server's word.
    pub(crate) fn received(&mut self) -> io::Result<&[u8]> {
        self.0.reader().into_first_chunk()
    }

    /// So much of it has been read.
    pub(crate) fn consume(&mut self, length: usize) {
        io::BufRead::consume(&mut self.0.reader(), length);
    }

    /// Receives into `room`; returns how much, 0 at the end.
    ///
    /// # Errors
    /// As [`TlsSession::take_in`].
    pub(crate) fn read(&mut self, socket: &OwnedFd, room: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.0.reader().read(room) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => self.take_in(socket)?,
                Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Ok(0),
                result => return result,
            };
        }
    }
}

fn closed() -> Failure {
    Failure::new(Step::Tls, "the server closed the connection during the handshake")
}

/// Returns the first bytes that wait to be read; none if there are none yet.
fn peek(socket: &OwnedFd) -> Vec<u8> {
    let mut room = [0; FIRST];
    let flags = RecvFlags::PEEK | RecvFlags::DONTWAIT;
    let peeked = retry_on_intr(|| recv(socket, &mut room[..], flags)).map(|(_, received)| received);
    room.get(..peeked.unwrap_or_default()).unwrap_or_default().to_vec()
}

/// Returns the failure of a handshake with a server that has said this first.
fn failed(error: &io::Error, first: &[u8]) -> Failure {
    match error.kind() {
        ErrorKind::TimedOut if first.is_empty() => Failure::timed_out(
            Step::Tls,
            "the server does not answer, and has sent nothing: it may not speak TLS",
        ),
        ErrorKind::TimedOut => Failure::timed_out(Step::Tls, "the server does not answer"),
        _ => in_handshake(error, first)
            .unwrap_or_else(|| Failure::new(Step::Tls, format!("the connection failed: {error}"))),
    }
}

/// A socket as rustls wants one.
struct Socket<'a>(&'a OwnedFd);

impl Read for Socket<'_> {
    fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        retry_on_intr(|| recv(self.0, &mut *room, RecvFlags::DONTWAIT))
            .map(|(_, received)| received)
            .map_err(Errno::into)
    }
}

impl Write for Socket<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
        retry_on_intr(|| send(self.0, bytes, flags)).map_err(Errno::into)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
