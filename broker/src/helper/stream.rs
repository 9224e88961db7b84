//! A connection during its log-in, encrypted or not: whole parts of what a server sends, and no more of it than a
//! bound.
//!
//! The memory is taken once, whatever the server says of lengths.

use std::io::{self, ErrorKind};
use std::ops::Range;
use std::os::fd::OwnedFd;

use rustix::event::PollFlags;
use rustix::io::Errno;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, getsockname, recv, send};
use zeroize::Zeroize;

use super::answer::{Failure, Step};
use super::patience::Patience;
use super::tls::{TlsSession, told};

/// The most that a server may send until the log-in is over.
pub(crate) const MAX_LOG_IN: usize = 64 * 1024;

/// The connection, and everything that was received.
pub(crate) struct Stream<'a> {
    socket: &'a OwnedFd,
    patience: Patience<'a>,
    /// What encrypts it, once it is encrypted.
    session: Option<TlsSession>,
    buffer: Vec<u8>,
    received: usize,
    taken: usize,
    has_sent: bool,
    has_failed: bool,
}

impl<'a> Stream<'a> {
    pub(crate) fn new(socket: &'a OwnedFd, patience: Patience<'a>) -> Self {
        let buffer = vec![0; MAX_LOG_IN];
        Self {
            socket,
            patience,
            session: None,
            buffer,
            received: 0,
            taken: 0,
            has_sent: false,
            has_failed: false,
        }
    }

    /// From now on everything is encrypted.
    pub(crate) fn encrypt(&mut self, session: TlsSession) {
        self.session = Some(session);
    }

    /// Returns whether something of the server was taken: before TLS, where that does not begin with the first byte.
    pub(crate) fn has_begun(&self) -> bool {
        self.taken > 0
    }

    /// Returns whether it is encrypted.
    pub(crate) fn is_encrypted(&self) -> bool {
        self.session.is_some()
    }

    /// Returns what a log-in binds itself to, where it is encrypted: the hash of the server's certificate.
    pub(crate) fn end_point(&self) -> Option<Vec<u8>> {
        self.session.as_ref().and_then(TlsSession::end_point)
    }

    /// Takes what encrypts it, with whatever it has received and not passed on.
    pub(crate) fn take_session(&mut self) -> Option<TlsSession> {
        self.session.take()
    }

    /// Sends all of it.
    ///
    /// # Errors
    /// As send(2); TimedOut.
    pub(crate) fn send(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        self.has_sent = true;
        let sent = self.send_all(bytes);
        self.has_failed |= sent.is_err();
        sent
    }

    fn send_all(&mut self, mut bytes: &[u8]) -> Result<(), Failure> {
        while !bytes.is_empty() || self.session.as_ref().is_some_and(TlsSession::is_unsent) {
            let sent = match &mut self.session {
                None => send(self.socket, bytes, SendFlags::NOSIGNAL).map_err(Errno::into),
                Some(session) => session.flush(self.socket).and_then(|()| session.write(bytes)),
            };
            match sent {
                Ok(sent) => bytes = bytes.get(sent..).unwrap_or_default(),
                Err(error) if error.kind() == ErrorKind::WouldBlock => self.wait(PollFlags::OUT)?,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(failed(&error)),
            }
        }
        Ok(())
    }

    /// Takes the next so many bytes; returns where they are.
    ///
    /// # Errors
    /// If they do not come, or there would be too many.
    pub(crate) fn take(&mut self, length: usize) -> Result<Range<usize>, Failure> {
        let end = self.taken.saturating_add(length);
        if end > self.buffer.len() {
            return Err(Failure::new(
                Step::LogIn,
                format!("the server sends more than {MAX_LOG_IN} bytes before the log-in is over"),
            ));
        }
        while self.received < end {
            let received = self.receive();
            self.has_failed |= received.is_err();
            received?;
        }
        let taken = self.taken..end;
        self.taken = end;
        Ok(taken)
    }

    /// Returns bytes that were taken.
    pub(crate) fn bytes(&self, taken: Range<usize>) -> &[u8] {
        self.buffer.get(taken).unwrap_or_default()
    }

    /// Returns what was received and not taken.
    pub(crate) fn rest(&self) -> &[u8] {
        self.bytes(self.taken..self.received)
    }

    /// Returns everything that was received.
    pub(crate) fn received(&self) -> &[u8] {
        self.bytes(0..self.received)
    }

    /// Returns whether the server was sent anything.
    pub(crate) fn has_sent(&self) -> bool {
        self.has_sent
    }

    /// Returns whether the connection has failed, or the time was up.
    pub(crate) fn has_failed(&self) -> bool {
        self.has_failed
    }

    /// Returns whether the server is on this machine, at a Unix socket: no network sees what is sent.
    pub(crate) fn is_local(&self) -> bool {
        getsockname(self.socket).is_ok_and(|it| it.address_family() == AddressFamily::UNIX)
    }

    /// Returns everything that was taken.
    pub(crate) fn so_far(&self) -> &[u8] {
        self.bytes(0..self.taken)
    }

    fn receive(&mut self) -> Result<(), Failure> {
        let room = self.buffer.get_mut(self.received..).unwrap_or_default();
        let received = match &mut self.session {
            None => recv(self.socket, room, RecvFlags::empty())
                .map(|(_, received)| received)
                .map_err(Errno::into),
            Some(session) => session.read(self.socket, room),
        };
        match received {
            Ok(0) => {
                Err(Failure::new(Step::LogIn, "the server closed the connection during the log-in"))
            }
            Ok(received) => {
                self.received += received;
                Ok(())
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => self.wait(PollFlags::IN),
            Err(error) if error.kind() == ErrorKind::Interrupted => Ok(()),
            Err(error) => Err(failed(&error)),
        }
    }

    fn wait(&self, flags: PollFlags) -> Result<(), Failure> {
        self.patience.wait(self.socket, flags).map_err(|error| failed(&error))
    }
}

fn failed(error: &io::Error) -> Failure {
    match error.kind() {
        ErrorKind::TimedOut => Failure::timed_out(Step::LogIn, "the server does not answer"),
        _ => told(error).unwrap_or_else(|| {
            Failure::new(Step::LogIn, format!("the connection failed: {error}"))
        }),
    }
}

impl Drop for Stream<'_> {
    fn drop(&mut self) {
        self.buffer.zeroize();
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::os::fd::AsFd;
    use std::os::unix::net::UnixStream;
    use std::time::Duration;

    use super::*;

    /// What `ask` is answered by a server that has sent these bytes, and then stays silent or not.
    fn with<T>(sent: &[u8], closes: bool, ask: impl FnOnce(&mut Stream<'_>) -> T) -> T {
        let (link, _supervisor) = UnixStream::pair().unwrap();
        let (socket, mut server) = UnixStream::pair().unwrap();
        socket.set_nonblocking(true).unwrap();
        let socket = OwnedFd::from(socket);
        server.write_all(sent).unwrap();
        let _open = (!closes).then_some(server);
        let patience = Patience::new(link.as_fd(), Duration::from_millis(20));
        ask(&mut Stream::new(&socket, patience))
    }

    #[test]
    fn what_was_not_taken_is_the_rest() {
        let rest = with(b"onetwo", false, |stream| {
            let one = stream.take(3).unwrap();
            assert_eq!(stream.bytes(one), b"one");
            stream.rest().to_vec()
        });
        assert_eq!(rest, b"two");
    }

    #[test]
    fn a_length_beyond_the_bound_is_refused_at_once() {
        for length in [MAX_LOG_IN + 1, usize::MAX] {
            let failure = with(b"x", false, |stream| stream.take(length).unwrap_err());
            assert!(failure.text.contains("more than 65536 bytes") && !failure.timed_out);
        }
    }

    #[test]
    fn a_server_that_closes_or_is_silent_ends_it() {
        assert!(with(b"x", true, |stream| stream.take(2).unwrap_err()).text.contains("closed"));
        assert!(with(b"x", false, |stream| stream.take(2).unwrap_err()).timed_out);
    }

    #[test]
    fn a_server_that_reads_nothing_ends_it() {
        let failure = with(b"", false, |stream| stream.send(&vec![0; 1 << 24]).unwrap_err());
        assert!(failure.timed_out);
    }
}
