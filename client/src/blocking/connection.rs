//! One connection that blocks: sends a request, receives its answer, waits for an event.
//!
//! It never has more than one request under way. After any failure but [`Failure::NoRoom`] it is
//! out of step and must be ended.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use fdbroker_wire::claim::Event;
use fdbroker_wire::version2::Features;
use fdbroker_wire::{MAX_ANSWER, Message, Payload};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno as Os;
use rustix::net::{RecvFlags, SendFlags};

use crate::core::outgoing::Outgoing;
use crate::core::retry_class::Failure;
use crate::core::{Core, NoRoom};
use crate::transport::io::{receive, send_rest};
use crate::transport::socket::Socket;

/// A connected socket and what was read from it.
#[derive(Debug)]
pub(crate) struct Connection {
    socket: Socket,
    core: Core<OwnedFd>,
    /// Room for the largest answer, allocated once. The bytes of earlier answers are still in it.
    buffer: Payload,
    timeout: Option<Duration>,
    over: bool,
}

/// How long an answer may take from here on.
#[derive(Debug)]
struct Clock {
    began: Instant,
    answering: bool,
}

impl Connection {
    /// Takes a connected socket; `timeout` is the socket's own for receiving and sending.
    pub(crate) fn new(socket: Socket, timeout: Option<Duration>) -> Self {
        let buffer = vec![0; MAX_ANSWER].into();
        Self { socket, core: Core::new(), buffer, timeout, over: false }
    }

    /// What HEL was granted; none while it has not been answered with HEL.
    pub(crate) fn features(&self) -> Option<Features> {
        self.core.features()
    }

    /// Whether it was ended.
    pub(crate) fn is_over(&self) -> bool {
        self.over
    }

    /// Ends the connection: the broker sees it close. What is left is a descriptor at which
    /// poll(2) finds the end of a stream, for who waits there.
    pub(crate) fn end(&mut self) {
        self.over = true;
        self.socket.end();
    }

    /// Sends a request and waits for its answer.
    ///
    /// # Errors
    /// Every [`Failure`].
    pub(crate) fn exchange(&mut self, message: &Outgoing<'_>) -> Result<Message<OwnedFd>, Failure> {
        self.socket.check().map_err(Failure::Cut)?;
        self.core.ask();
        match self.send(message) {
            Ok(()) => self.receive(RecvFlags::empty()),
            // A broker may answer and leave before it has read the request; that counts.
            Err(Failure::Lost(error)) => {
                self.receive(RecvFlags::DONTWAIT).map_err(|_| Failure::Lost(error))
            }
            Err(failure) => Err(failure),
        }
    }

    /// Waits for an event, until `end`; then it returns `None`. An event that is there already is
    /// returned without a look at the socket.
    ///
    /// # Errors
    /// Every [`Failure`] but [`Failure::NoRoom`].
    pub(crate) fn event(&mut self, end: Option<Instant>) -> Result<Option<Event>, Failure> {
        self.socket.check().map_err(Failure::Cut)?;
        loop {
            if let Some(event) = self.core.event() {
                return Ok(Some(event));
            }
            let over = end.is_some_and(|end| Instant::now() >= end);
            match self.receive_part(RecvFlags::DONTWAIT)? {
                true => self.take_in()?,
                false if over => return Ok(None),
                false => self.wait(end)?,
            }
        }
    }

    fn send(&self, message: &Outgoing<'_>) -> Result<(), Failure> {
        let mut sent = 0;
        while sent < message.length() {
            let part = send_rest(message, sent, &self.socket, SendFlags::empty());
            sent += part.map_err(|errno| self.failure(errno))?;
        }
        Ok(())
    }

    fn receive(&mut self, flags: RecvFlags) -> Result<Message<OwnedFd>, Failure> {
        let mut clock = None;
        loop {
            if !self.receive_part(flags)? {
                return Err(self.late());
            }
            if let Some((_, answer)) = self.core.answer().map_err(Failure::Nonsense)? {
                self.take_in()?;
                return answer.map_err(|NoRoom| Failure::NoRoom);
            }
            self.check_time(clock.get_or_insert_with(Clock::new))?;
        }
    }

    /// Takes in what the broker sent while nothing was asked: only events are expected.
    fn take_in(&mut self) -> Result<(), Failure> {
        match self.core.is_drained() {
            true => Ok(()),
            false => self.core.answer().map(|_none| ()).map_err(Failure::Nonsense),
        }
    }

    /// Says whether anything was there to read.
    fn receive_part(&mut self, flags: RecvFlags) -> Result<bool, Failure> {
        match receive(&self.socket, &mut self.buffer, flags, &mut self.core) {
            Ok(0) => Err(self.ended(io::ErrorKind::UnexpectedEof.into())),
            Ok(_) => Ok(true),
            Err(Os::AGAIN) => Ok(false),
            Err(errno) => Err(self.failure(errno)),
        }
    }

    /// An answer that comes in small pieces has as long for all of them as for the first, and
    /// events do not give it more.
    fn check_time(&self, clock: &mut Clock) -> Result<(), Failure> {
        if self.core.mid_answer() && !clock.answering {
            *clock = Clock { answering: true, ..Clock::new() };
        }
        match self.timeout {
            Some(timeout) if clock.began.elapsed() >= timeout => Err(Failure::Timeout(timeout)),
            _ => Ok(()),
        }
    }

    /// Until there is something to read, or the end has come, or a signal.
    fn wait(&self, end: Option<Instant>) -> Result<(), Failure> {
        let left = end.map(|end| end.saturating_duration_since(Instant::now()));
        let left = left.and_then(|left| Timespec::try_from(left).ok());
        match poll(&mut [PollFd::new(&self.socket, PollFlags::IN)], left.as_ref()) {
            Ok(_) | Err(Os::INTR) => Ok(()),
            Err(errno) => Err(Failure::Cut(errno.into())),
        }
    }

    fn failure(&self, errno: Os) -> Failure {
        match errno {
            Os::AGAIN => self.late(),
            Os::CONNRESET | Os::PIPE | Os::NOTCONN => self.ended(errno.into()),
            _ => Failure::Cut(errno.into()),
        }
    }

    /// On a blocking socket, EAGAIN is its SO_RCVTIMEO or SO_SNDTIMEO, see socket(7).
    fn late(&self) -> Failure {
        match self.timeout {
            Some(timeout) => Failure::Timeout(timeout),
            None => Failure::Cut(Os::AGAIN.into()),
        }
    }

    fn ended(&self, error: io::Error) -> Failure {
        if self.core.mid_answer() { Failure::Cut(error) } else { Failure::Lost(error) }
    }
}

impl AsFd for Connection {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl Clock {
    fn new() -> Self {
        Self { began: Instant::now(), answering: false }
    }
}
