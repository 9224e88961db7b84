//! A helper that stays: it passes on what goes between a server that speaks TLS and a caller that does not.
//!
//! The caller has one end of a pair of sockets. Nothing is read ahead: the helper reads from either side only when it
//! has passed on what it read before, so that its memory does not grow, and a side that does not read holds up the
//! other one. An end of one direction is passed on too, and the other direction stays open as long as with TCP. The
//! relay ends when both have ended, when the connection fails, and with the supervisor's end of the link.

mod side;

use std::io::{self, ErrorKind};
use std::os::fd::{BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::net::{AddressFamily, RecvFlags, SocketFlags, SocketType, recv, socketpair};

use super::tls::{AT_ONCE, TlsSession};
use crate::look::timespec;
use side::Side;

/// How often one direction goes on while the other one waits.
const TURNS: usize = 16;
/// How long a server may take to read each part of the last words of a caller that has gone, and then to end.
const LAST_WORDS: Duration = Duration::from_secs(10);

/// The two sides.
pub(crate) struct Relay {
    session: TlsSession,
    server: Side,
    caller: Side,
    /// When it ends at the latest: nobody has the caller's end open any more.
    until: Option<Instant>,
}

/// Returns the relay's end of a pair of sockets, and the caller's.
///
/// # Errors
/// As socketpair(2).
pub(crate) fn pair() -> io::Result<(OwnedFd, OwnedFd)> {
    Ok(socketpair(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)?)
}

impl Relay {
    /// A relay between a server, whose socket does not block, and the relay's end of a pair.
    pub(crate) fn new(session: TlsSession, server: OwnedFd, caller: OwnedFd) -> Self {
        Self { session, server: Side::new(server), caller: Side::new(caller), until: None }
    }

    /// Passes on what comes until nothing more does, or the supervisor has gone.
    ///
    /// # Errors
    /// As recv(2) and send(2); if the server does not keep to TLS.
    pub(crate) fn run(&mut self, supervisor: BorrowedFd<'_>) -> io::Result<()> {
        let mut buffer = vec![0; AT_ONCE];
        loop {
            self.tell_caller()?;
            self.tell_server(&mut buffer)?;
            let is_over =
                self.server.has_ended && self.caller.has_ended && !self.session.is_unsent();
            if is_over || !self.wait(supervisor)? {
                return Ok(());
            }
        }
    }

    /// Passes on what the server says, as far as the caller takes it.
    fn tell_caller(&mut self) -> io::Result<()> {
        for _ in 0..TURNS {
            if self.server.has_ended {
                break;
            }
            match self.session.received() {
                Ok([]) => self.server_ends(),
                Ok(bytes) => match self.caller.take(bytes) {
                    Some(taken) => self.session.consume(taken),
                    None => break,
                },
                // Without a word of farewell. The caller sees the same end.
                Err(error) if error.kind() == ErrorKind::UnexpectedEof => self.server_ends(),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    match self.session.take_in(&self.server.socket) {
                        Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                        taken => taken?,
                    };
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn server_ends(&mut self) {
        self.server.has_ended = true;
        self.caller.tell_the_end();
    }

    /// Passes on what the caller says, as far as the server takes it.
    fn tell_server(&mut self, buffer: &mut [u8]) -> io::Result<()> {
        for _ in 0..TURNS {
            let was_unsent = self.session.is_unsent();
            match self.session.flush(&self.server.socket) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                flushed => flushed?,
            }
            if was_unsent && self.until.is_some() {
                self.give_time();
            }
            if self.caller.has_ended {
                self.server.tell_the_end();
                break;
            }
            match recv(&self.caller.socket, &mut *buffer, RecvFlags::DONTWAIT) {
                Err(Errno::AGAIN) => break,
                Err(Errno::INTR) => {}
                // An error is the end, too: a caller that went without reading everything.
                Ok((_, 0)) | Err(_) => {
                    self.caller.has_ended = true;
                    self.session.close();
                }
                Ok((_, length)) => self.encrypt(buffer.get(..length).unwrap_or_default())?,
            }
        }
        Ok(())
    }

    fn encrypt(&mut self, bytes: &[u8]) -> io::Result<()> {
        // There is room for all of it: nothing was unsent.
        let written = self.session.write(bytes)?;
        if written == bytes.len() { Ok(()) } else { Err(ErrorKind::WriteZero.into()) }
    }

    /// Waits until it can go on. Returns whether it is to: not when the supervisor has gone, or the time is up.
    fn wait(&mut self, supervisor: BorrowedFd<'_>) -> io::Result<bool> {
        let left = self.until.map(|until| until.saturating_duration_since(Instant::now()));
        if left == Some(Duration::ZERO) {
            return Ok(false);
        }
        let (to_server, to_caller) = self.wanted();
        let mut asked = [
            PollFd::from_borrowed_fd(supervisor, PollFlags::IN),
            self.server.asked(to_server, supervisor),
            self.caller.asked(to_caller, supervisor),
        ];
        match poll(&mut asked, left.map(timespec).as_ref()) {
            Ok(_) => {}
            Err(Errno::INTR) => return Ok(true),
            Err(error) => return Err(error.into()),
        }
        let [link, server, caller] = asked.map(|asked| asked.revents());
        self.server.note(server);
        self.caller.note(caller);
        if self.caller.is_gone && self.until.is_none() {
            self.give_time();
        }
        Ok(link.is_empty())
    }

    /// Nobody hears the server any more: from now on it has so long.
    fn give_time(&mut self) {
        self.until = Some(Instant::now() + LAST_WORDS);
    }

    /// What is waited for from the server, and from the caller.
    fn wanted(&mut self) -> (PollFlags, PollFlags) {
        let has_words = matches!(self.session.received(), Ok([_, ..]));
        let is_unsent = self.session.is_unsent();
        let flags = |reads, writes| {
            let mut flags = PollFlags::empty();
            flags.set(PollFlags::IN, reads);
            flags.set(PollFlags::OUT, writes);
            flags
        };
        let server = flags(!self.server.has_ended && !has_words, is_unsent);
        let caller = flags(!self.caller.has_ended && !is_unsent, has_words);
        (server, caller)
    }
}
