//! A client that keeps to no rule: it sends any bytes with any descriptors, and reads answers.
//!
//! It speaks over a socket of this process, or over one of a [`crate::HelperProcess`]'s.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::time::Duration;

use fdbroker_wire::claim::Event;
use fdbroker_wire::{Decoder, Extended, Limits, Message};

use crate::helper_process::{Connection, HelperProcess};
use crate::socket::connected;
use crate::sys::{self, Control, Received};
use crate::{Answer, PATIENCE, Place, request, wait_until};

/// How much is read at once: the largest answer there is.
const ROOM: usize = 32784;

/// One connection to a broker.
#[derive(Debug)]
pub struct Peer {
    end: End,
    decoder: Decoder<OwnedFd>,
    waiting: VecDeque<Answer>,
    /// What nobody asked for, and came between answers.
    events: VecDeque<Event>,
}

#[derive(Debug)]
enum End {
    Here(OwnedFd),
    There(Connection),
}

impl HelperProcess {
    /// Has it connect to a path, maybe from a path of its own.
    ///
    /// # Errors
    /// As bind(2) and connect(2).
    pub fn try_connect(&self, path: &Path, bound: Option<&Path>) -> io::Result<Peer> {
        Ok(Peer::there(self.open_bound_connection(path, bound)?))
    }

    /// Hands it a socket that is connected already.
    #[track_caller]
    pub fn take_over(&self, socket: impl AsFd) -> Peer {
        Peer::there(self.keep(socket))
    }
}

impl Peer {
    /// Connects from this process.
    ///
    /// # Errors
    /// As connect(2).
    pub fn connect(path: &Path) -> io::Result<Self> {
        connected(path, None).map(Self::over)
    }

    /// Speaks over a socket of this process that is connected already.
    pub fn over(socket: OwnedFd) -> Self {
        sys::receive_timeout(&socket, PATIENCE);
        Self::new(End::Here(socket))
    }

    fn there(connection: Connection) -> Self {
        Self::new(End::There(connection))
    }

    fn new(end: End) -> Self {
        Self {
            end,
            decoder: Decoder::new(Limits::PEER),
            waiting: VecDeque::new(),
            events: VecDeque::new(),
        }
    }

    /// The socket.
    ///
    /// # Panics
    /// When it is another process's.
    pub fn socket(&self) -> BorrowedFd<'_> {
        match &self.end {
            End::Here(socket) => socket.as_fd(),
            End::There(_) => panic!("the socket is another process's"),
        }
    }

    /// Sends bytes, the descriptors with the first of them.
    ///
    /// # Errors
    /// As sendmsg(2).
    pub fn try_send(&mut self, bytes: &[u8], descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
        match &mut self.end {
            End::Here(socket) => sys::send_all(socket, bytes, descriptors),
            End::There(connection) => connection.send(bytes, descriptors),
        }
    }

    /// Sends bytes, the descriptors with the first of them.
    #[track_caller]
    pub fn send(&mut self, bytes: &[u8], descriptors: &[BorrowedFd<'_>]) {
        self.try_send(bytes, descriptors).expect("the request is sent");
    }

    /// The same, and waits until the broker has read it: it is then as far as it comes without waiting.
    #[track_caller]
    pub fn send_and_be_read(&mut self, bytes: &[u8]) {
        self.send(bytes, &[]);
        wait_until("the broker has read it", || sys::is_read(self.socket()));
    }

    /// Sends bytes with any control messages, from this process.
    ///
    /// # Errors
    /// As sendmsg(2).
    pub fn send_controls(&mut self, bytes: &[u8], controls: &[Control]) -> io::Result<usize> {
        sys::send_controls(self.socket(), bytes, controls)
    }

    /// Whether an answer, or the end, is there within a time.
    pub fn is_answered(&mut self, within: Duration) -> bool {
        !self.waiting.is_empty() || self.is_readable(within)
    }

    /// Waits until the broker has ended the connection, reading nothing; whether it did.
    pub fn hangs_up(&mut self) -> bool {
        match &mut self.end {
            End::Here(socket) => sys::hangs_up(socket, PATIENCE),
            End::There(connection) => connection.hangs_up(PATIENCE),
        }
    }

    /// The next answer.
    ///
    /// # Panics
    /// When none comes for so long that something hangs.
    #[track_caller]
    pub fn answer(&mut self) -> Answer {
        self.try_answer().expect("an answer comes before the patience is over")
    }

    /// The next answer.
    ///
    /// # Errors
    /// As recvmsg(2): EAGAIN when none comes for too long. A connection that was reset counts
    /// as ended.
    pub fn try_answer(&mut self) -> io::Result<Answer> {
        loop {
            if let Some(answer) = self.waiting.pop_front() {
                return Ok(answer);
            }
            self.take_in()?;
        }
    }

    /// Reads once, and sets what comes in order: answers, and events.
    fn take_in(&mut self) -> io::Result<()> {
        let received = match self.receive() {
            Err(error) if error.raw_os_error() == Some(libc::ECONNRESET) => Received::default(),
            received => received?,
        };
        if received.bytes.is_empty() {
            self.waiting.push_back(Answer::Closed);
            return Ok(());
        }
        self.decoder.feed(&received.bytes, received.descriptors, received.truncated);
        while let Some(message) = self.decoder.message() {
            match message.expect("the broker keeps to the protocol") {
                Message::Extended(message) if Event::is(&message) => self.take_event(message),
                message => self.waiting.push_back(Answer::from_message(message)),
            }
        }
        Ok(())
    }

    fn take_event(&mut self, message: Extended<OwnedFd>) {
        let event = Event::from_extended(message).expect("the broker sends whole events");
        self.events.push_back(event.expect("the broker sends events of this version"));
    }

    /// The next event.
    ///
    /// # Panics
    /// When none comes for so long that something hangs, or the connection ends.
    #[track_caller]
    pub fn event(&mut self) -> Event {
        loop {
            if let Some(event) = self.events.pop_front() {
                return event;
            }
            self.take_in().expect("an event comes before the patience is over");
            let closed = self.waiting.back().is_some_and(Answer::is_closed);
            assert!(!closed, "the broker ended the connection in place of an event");
        }
    }

    /// An event, if one comes within a time; answers are kept.
    pub fn event_within(&mut self, within: Duration) -> Option<Event> {
        while self.events.is_empty() && self.is_readable(within) {
            self.take_in().expect("what is there can be read");
            if self.waiting.back().is_some_and(Answer::is_closed) {
                break;
            }
        }
        self.events.pop_front()
    }

    /// Whether an answer comes within a time, whatever events do.
    pub fn answers_within(&mut self, within: Duration) -> bool {
        while self.waiting.is_empty() && self.is_readable(within) {
            self.take_in().expect("what is there can be read");
        }
        !self.waiting.is_empty()
    }

    fn is_readable(&mut self, within: Duration) -> bool {
        match &mut self.end {
            End::Here(socket) => sys::readable(socket, within),
            End::There(connection) => connection.readable(within),
        }
    }

    /// One recvmsg(2), large enough for any answer.
    ///
    /// # Errors
    /// As recvmsg(2).
    pub fn receive(&mut self) -> io::Result<Received> {
        match &mut self.end {
            End::Here(socket) => sys::receive(socket, ROOM),
            End::There(connection) => connection.receive(ROOM),
        }
    }

    /// Sends a request and waits for its answer; a broker that has already ended the connection
    /// has answered too, and what it said last counts.
    #[track_caller]
    pub fn ask(&mut self, bytes: &[u8], descriptors: &[BorrowedFd<'_>]) -> Answer {
        match self.try_send(bytes, descriptors) {
            Err(error) if error.raw_os_error() == Some(libc::EPIPE) => {}
            sent => sent.expect("the request is sent"),
        }
        self.answer()
    }

    /// GET.
    #[track_caller]
    pub fn get(&mut self, place: Place) -> Answer {
        self.ask(&request::get(place), &[])
    }

    /// DEL.
    #[track_caller]
    pub fn del(&mut self, place: Place) -> Answer {
        self.ask(&request::del(place), &[])
    }

    /// TAG.
    #[track_caller]
    pub fn tag(&mut self, tag: i16) -> Answer {
        self.ask(&request::tag(tag), &[])
    }

    /// ADD of a payload.
    #[track_caller]
    pub fn add(&mut self, place: Place, payload: impl AsRef<[u8]>) -> Answer {
        self.ask(&request::add(place, -1, payload.as_ref()), &[])
    }

    /// ADD of a descriptor with a payload.
    #[track_caller]
    pub fn add_descriptor(
        &mut self,
        place: Place,
        descriptor: impl AsFd,
        payload: impl AsRef<[u8]>,
    ) -> Answer {
        self.ask(&request::add(place, 7, payload.as_ref()), &[descriptor.as_fd()])
    }

    /// Deposits, gets back and deletes something: what every peer that is served can do.
    #[track_caller]
    pub fn is_served(&mut self, place: Place) {
        self.add_descriptor(place, crate::fixtures::file_saying("served"), "payload").done();
        let answer = self.get(place);
        assert_eq!(crate::fixtures::content(answer.descriptor()), "served");
        self.del(place).done();
    }

    /// Waits until the broker has ended the connection; returns what it answered before.
    #[track_caller]
    pub fn until_closed(&mut self) -> Vec<Answer> {
        let mut answers = Vec::new();
        loop {
            match self.answer() {
                Answer::Closed => return answers,
                answer => answers.push(answer),
            }
        }
    }
}
