//! One TLS connection, over a socket that does not block.

use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::OwnedFd;
use std::sync::Arc;

use rustix::event::PollFlags;
use rustix::io::{Errno, retry_on_intr};
use rustix::net::{RecvFlags, SendFlags, recv, send};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, ExtractedSecrets, ProtocolVersion};

use super::end_point;
use super::failure::in_handshake;
use super::records::Records;
use super::renewal::SentSecret;
use crate::helper::answer::{Failure, Step};
use crate::helper::patience::Patience;

/// The most that waits to be sent. What is written at once is half of it at most.
const MOST_UNSENT: usize = 32 * 1024;
/// The most that is encrypted at once.
pub(crate) const AT_ONCE: usize = MOST_UNSENT / 2;
/// How much of what a server says first is kept, to be told if it is not TLS.
const FIRST: usize = 128;

/// The client's side.
pub(crate) struct TlsSession {
    connection: ClientConnection,
    /// Of what was received.
    records: Records,
    /// Of what is sent.
    secret: Arc<SentSecret>,
}

impl TlsSession {
    pub(super) fn new(
        mut config: ClientConfig,
        server: ServerName<'static>,
    ) -> Result<Self, rustls::Error> {
        let secret = Arc::new(SentSecret::default());
        if config.enable_secret_extraction {
            config.key_log = Arc::<SentSecret>::clone(&secret);
        }
        let mut connection = ClientConnection::new(Arc::new(config), server)?;
        connection.set_buffer_limit(Some(MOST_UNSENT));
        Ok(Self { connection, records: Records::default(), secret })
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
                Ok(()) if !self.connection.is_handshaking() => return Ok(()),
                Ok(()) => self.take_in(socket),
                Err(error) => Err(error),
            };
            let failed = |error: &io::Error| failed(error, &first);
            match done {
                Ok(true) if patience.is_over() => return Err(failed(&ErrorKind::TimedOut.into())),
                Ok(true) => {}
                Ok(false) => return Err(closed()),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    let flags =
                        if self.connection.wants_write() { PollFlags::OUT } else { PollFlags::IN };
                    patience.wait(socket, flags).map_err(|error| failed(&error))?;
                }
                Err(error) => return Err(failed(&error)),
            }
        }
    }

    /// Returns what a log-in binds itself to (RFC 5929): the hash of the server's certificate. `None` if that is
    /// not defined for its signature.
    pub(crate) fn end_point(&self) -> Option<Vec<u8>> {
        end_point::hash(self.connection.peer_certificates()?.first()?)
    }

    /// Returns whether something waits to be sent.
    pub(crate) fn is_unsent(&self) -> bool {
        self.connection.wants_write()
    }

    /// Sends what waits to be sent.
    ///
    /// # Errors
    /// WouldBlock; as send(2).
    pub(crate) fn flush(&mut self, socket: &OwnedFd) -> io::Result<()> {
        while self.connection.wants_write() {
            self.connection.write_tls(&mut Socket(socket))?;
        }
        Ok(())
    }

    /// Encrypts some of these bytes to be sent; returns how many.
    ///
    /// # Errors
    /// When the connection has failed before.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.connection.writer().write(bytes)
    }

    /// Tells the server that nothing more comes.
    pub(crate) fn close(&mut self) {
        self.connection.send_close_notify();
    }

    /// Receives once what the server has sent. What was received before must have been read. Returns whether there was
    /// anything: if not, nothing more comes.
    ///
    /// # Errors
    /// WouldBlock; as recv(2); InvalidData if it is none of TLS.
    pub(crate) fn take_in(&mut self, socket: &OwnedFd) -> io::Result<bool> {
        self.receive(socket, usize::MAX)
    }

    /// As [`TlsSession::take_in`], but not beyond the end of the record that has begun, or that comes next.
    ///
    /// # Errors
    /// As [`TlsSession::take_in`].
    pub(super) fn take_in_record(&mut self, socket: &OwnedFd) -> io::Result<bool> {
        self.receive(socket, self.records.until_next())
    }

    /// Where the records end that were received.
    pub(super) fn records(&self) -> &Records {
        &self.records
    }

    /// Returns whether the kernel could have it, if it has TLS: keys of TLS 1.2 cannot be renewed.
    pub(super) fn is_for_kernel(&self) -> bool {
        self.connection.protocol_version() == Some(ProtocolVersion::TLSv1_3)
    }

    /// Leaves the keys of both directions, with the number of records that they were used for, and the secret of those
    /// for what is sent.
    ///
    /// # Errors
    /// When something waits to be sent.
    pub(super) fn into_secrets(self) -> Result<(Arc<SentSecret>, ExtractedSecrets), rustls::Error> {
        let secrets = self.connection.dangerous_extract_secrets()?;
        Ok((self.secret, secrets))
    }

    fn receive(&mut self, socket: &OwnedFd, most: usize) -> io::Result<bool> {
        let mut noted = Noted { socket, records: &mut self.records, most };
        let is_anything = self.connection.read_tls(&mut noted)? > 0;
        if let Err(error) = self.connection.process_new_packets() {
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
        self.connection.reader().into_first_chunk()
    }

    /// So much of it has been read.
    pub(crate) fn consume(&mut self, length: usize) {
        io::BufRead::consume(&mut self.connection.reader(), length);
    }

    /// Receives into `room`; returns how much, 0 at the end.
    ///
    /// # Errors
    /// As [`TlsSession::take_in`].
    pub(crate) fn read(&mut self, socket: &OwnedFd, room: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.connection.reader().read(room) {
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

/// A socket of which rustls reads so much at most, and whose records are noted.
struct Noted<'a> {
    socket: &'a OwnedFd,
    records: &'a mut Records,
    most: usize,
}

impl Read for Noted<'_> {
    fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        let most = self.most.min(room.len());
        let room = room.get_mut(..most).unwrap_or_default();
        let received = retry_on_intr(|| recv(self.socket, &mut *room, RecvFlags::DONTWAIT));
        let (_, received) = received.map_err(io::Error::from)?;
        self.records.note(room.get(..received).unwrap_or_default());
        Ok(received)
    }
}

/// A socket to which rustls writes.
struct Socket<'a>(&'a OwnedFd);

impl Write for Socket<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
        retry_on_intr(|| send(self.0, bytes, flags)).map_err(Errno::into)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
