//! One connection: sends a request, receives its answer.
//!
//! It never has more than one request under way. Descriptors are received close-on-exec, are
//! owned from the moment they arrive, and are closed when the answer cannot claim them. After
//! any failure but [`Failure::NoRoom`] the connection is out of step and must be dropped.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use fdbroker_wire::{Decoder, Errno, Fault, Limits, MAX_ANSWER, MAX_DESCRIPTORS, Message};
use rustix::io::Errno as Os;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, send, sendmsg,
};

/// A connected socket and what was read from it.
#[derive(Debug)]
pub(crate) struct Connection {
    socket: OwnedFd,
    decoder: Decoder<OwnedFd>,
    /// Room for the largest answer, taken once.
    buffer: Box<[u8]>,
    timeout: Option<Duration>,
    /// Whether HEL has been answered with HEL.
    pub(crate) greeted: bool,
}

/// A request, ready to be sent.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Request<'a> {
    /// Its fixed part.
    pub(crate) head: &'a [u8],
    /// What follows.
    pub(crate) payload: &'a [u8],
    /// What travels with its first byte.
    pub(crate) descriptors: &'a [BorrowedFd<'a>],
}

/// Why there is no answer.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The connection ended before the first byte of an answer.
    Lost(io::Error),
    /// The connection failed in the middle of an answer, or in another way.
    Cut(io::Error),
    /// The answer took too long.
    Timeout(Duration),
    /// The answer makes no sense.
    Nonsense(&'static str),
    /// The answer's descriptor found no room in this process.
    NoRoom,
}

impl Request<'_> {
    /// Sends as much as goes at once. What has a head alone goes the cheaper way.
    fn send(&self, socket: &OwnedFd) -> rustix::io::Result<usize> {
        if self.payload.is_empty() && self.descriptors.is_empty() {
            return send(socket, self.head, SendFlags::NOSIGNAL);
        }
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_DESCRIPTORS))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        if !self.descriptors.is_empty() {
            control.push(SendAncillaryMessage::ScmRights(self.descriptors));
        }
        let parts = [IoSlice::new(self.head), IoSlice::new(self.payload)];
        sendmsg(socket, &parts, &mut control, SendFlags::NOSIGNAL)
    }
}

impl Connection {
    /// Takes a connected socket; `timeout` is the socket's own for receiving and sending.
    pub(crate) fn new(socket: OwnedFd, timeout: Option<Duration>) -> Self {
        let buffer = vec![0; MAX_ANSWER].into_boxed_slice();
        let decoder = Decoder::new(Limits::PEER);
        Self { socket, decoder, buffer, timeout, greeted: false }
    }

    /// Sends a request and waits for its answer.
    ///
    /// # Errors
    /// Every [`Failure`].
    pub(crate) fn exchange(&mut self, request: Request<'_>) -> Result<Message<OwnedFd>, Failure> {
        match self.send(request) {
            Ok(()) => self.receive(RecvFlags::empty()),
            // A broker may answer and leave before it has read the request; that counts.
            Err(Failure::Lost(error)) => {
                self.receive(RecvFlags::DONTWAIT).map_err(|_| Failure::Lost(error))
            }
            Err(failure) => Err(failure),
        }
    }

    fn send(&self, request: Request<'_>) -> Result<(), Failure> {
        let mut sent = self.send_with(request)?;
        let length = request.head.len() + request.payload.len();
        while sent < length {
            // The descriptor went with the first part.
            let (head, payload) = behind(request, sent);
            sent += self.send_with(Request { head, payload, descriptors: &[] })?;
        }
        Ok(())
    }

    fn send_with(&self, request: Request<'_>) -> Result<usize, Failure> {
        loop {
            match request.send(&self.socket) {
                Err(Os::INTR) => {}
                sent => return sent.map_err(|errno| self.failure(errno)),
            }
        }
    }

    fn receive(&mut self, flags: RecvFlags) -> Result<Message<OwnedFd>, Failure> {
        let mut began = None;
        loop {
            self.receive_part(flags)?;
            if let Some(found) = self.decoder.message() {
                let answer = found.map_err(Failure::of_answer);
                return self.alone().and(answer);
            }
            self.check_time(began.get_or_insert_with(Instant::now))?;
        }
    }

    /// One recvmsg(2), fed to the decoder.
    fn receive_part(&mut self, flags: RecvFlags) -> Result<(), Failure> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_DESCRIPTORS))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let flags = flags | RecvFlags::CMSG_CLOEXEC;
        let received = loop {
            let mut parts = [IoSliceMut::new(&mut self.buffer)];
            match recvmsg(&self.socket, &mut parts, &mut control, flags) {
                Err(Os::INTR) => {}
                received => break received.map_err(|errno| self.failure(errno))?,
            }
        };
        if received.bytes == 0 {
            return Err(self.ended(io::ErrorKind::UnexpectedEof.into()));
        }
        let truncated = received.flags.contains(ReturnFlags::CTRUNC);
        self.decoder.feed(&self.buffer[..received.bytes], owned(&mut control), truncated);
        Ok(())
    }

    /// Nothing may follow an answer, since nothing else was asked.
    fn alone(&mut self) -> Result<(), Failure> {
        if self.decoder.pending() == 0 {
            return Ok(());
        }
        Err(Failure::Nonsense("more than one answer came to one request"))
    }

    /// An answer that comes in small pieces has as long for all of them as for the first.
    fn check_time(&self, began: &Instant) -> Result<(), Failure> {
        match self.timeout {
            Some(timeout) if began.elapsed() >= timeout => Err(Failure::Timeout(timeout)),
            _ => Ok(()),
        }
    }

    fn failure(&self, errno: Os) -> Failure {
        match (errno, self.timeout) {
            // On a blocking socket this is its SO_RCVTIMEO or SO_SNDTIMEO, see socket(7).
            (Os::AGAIN, Some(timeout)) => Failure::Timeout(timeout),
            (Os::CONNRESET | Os::PIPE | Os::NOTCONN, _) => self.ended(errno.into()),
            _ => Failure::Cut(errno.into()),
        }
    }

    fn ended(&self, error: io::Error) -> Failure {
        if self.decoder.pending() == 0 { Failure::Lost(error) } else { Failure::Cut(error) }
    }
}

impl Failure {
    fn of_answer(fault: Fault) -> Self {
        match fault.errno {
            Errno::MFILE if !fault.fatal => Self::NoRoom,
            _ => Self::Nonsense(fault.reason),
        }
    }
}

/// Every descriptor that came. Those that nobody takes are closed with the buffer.
fn owned(control: &mut RecvAncillaryBuffer<'_>) -> impl Iterator<Item = OwnedFd> {
    let rights = control.drain().filter_map(|message| match message {
        RecvAncillaryMessage::ScmRights(arrived) => Some(arrived),
        _ => None,
    });
    rights.flatten()
}

/// What of a request is left to send behind its first `sent` bytes.
fn behind(request: Request<'_>, sent: usize) -> (&[u8], &[u8]) {
    match sent.checked_sub(request.head.len()) {
        Some(payload) => (&[], &request.payload[payload..]),
        None => (&request.head[sent..], request.payload),
    }
}
