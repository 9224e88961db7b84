//! A session's incoming side: bytes and descriptors in, requests out, each with its writer.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io::ErrorKind;
use std::os::fd::BorrowedFd;
use std::rc::Rc;
use std::time::Duration;

use fdbroker_wire::{Decoder, Fault, Limits, Message};
use tokio::time::{Instant, timeout_at};
use zeroize::Zeroize;

use crate::fd::{CloseQueue, Depositor, PeerFd};
use crate::payer::Payer;
use crate::sys::receive::{Received, receive};
use crate::sys::watch::Watched;
use crate::worker::identity::Identity;
use crate::worker::identity::writer::{Writer, Writers};
use crate::worker::limits::loop_time::Turn;
use crate::worker::limits::quota::{Exceeded, Quotas, Reader};
use crate::worker::limits::room_wait::RoomWait;
use crate::worker::sessions::is_over;

/// How much is read at once, in bytes: the largest message of version 1, and some.
pub(crate) const CHUNK: usize = 64 * 1024;
/// How much is read ahead of a request that waits, in bytes.
const READ_AHEAD: usize = 4096;

/// What a peer sends.
pub(crate) struct Inbox {
    stream: Rc<Watched>,
    turn: Rc<Turn>,
    decoder: Decoder<PeerFd>,
    /// On whose account it closes what the peer brought.
    payer: Payer,
    /// The same user's account.
    reader: Reader,
    writers: Writers,
    /// Who wrote the bytes that have not been decoded, oldest first.
    written: VecDeque<Written>,
    /// How many bytes have been fed to the decoder, ever.
    fed: u64,
    /// Something came ahead of its turn that must be decoded before more is read.
    full: bool,
    closed: bool,
    /// Why nothing more comes, where that was found while a request waited.
    gone: Option<Gone>,
    /// When the rest of a message that has begun must be here.
    deadline: Option<Instant>,
    frame_timeout: Duration,
}

/// What all sessions share for reading.
#[derive(Clone, Copy)]
pub(crate) struct Shared<'a> {
    pub(crate) close_queue: &'a CloseQueue,
    pub(crate) quotas: &'a Quotas,
    /// Where every session reads to, before it decodes.
    pub(crate) chunk: &'a RefCell<Box<[u8]>>,
}

/// Bytes up to `end`, and who wrote them.
struct Written {
    end: u64,
    writer: Writer,
}

/// How many changes of the writer are remembered: a message in which more bytes than this are
/// each of another process than the one before them has several writers in any case.
const MANY_WRITERS: usize = 64;

/// A request, or the fault in it.
pub(crate) struct Incoming {
    pub(crate) message: Result<Message<PeerFd>, Fault>,
    pub(crate) writer: Writer,
}

/// What a read found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Found {
    Something,
    /// It had been read before.
    Nothing,
    /// There is no room for what it may bring.
    NoRoom(Exceeded),
}

/// Why no more requests come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Gone {
    /// The peer has left, or its socket failed.
    Left,
    /// It began a message and did not end it in time.
    TooSlow,
    /// Its user brought more descriptors than can be closed in time.
    TooMuch,
    /// All users together did.
    TableFull,
}

impl Gone {
    /// Returns why the peer is cut off, or `None` if it has left.
    pub(crate) fn reason(self) -> Option<&'static str> {
        match self {
            Self::Left => None,
            Self::TooSlow => Some("timed out in the middle of a message"),
            Self::TooMuch => Some("too many descriptors of its user wait to be closed"),
            Self::TableFull => Some("the broker's descriptor table is full"),
        }
    }
}

impl Inbox {
    pub(crate) fn new(
        stream: Rc<Watched>,
        turn: Rc<Turn>,
        (identity, payer): (Rc<Identity>, Payer),
        reader: Reader,
        frame_timeout: Duration,
    ) -> Self {
        Self {
            payer,
            reader,
            writers: Writers::new(identity, Rc::clone(&stream)),
            stream,
            turn,
            decoder: Decoder::new(Limits::PEER),
            written: VecDeque::new(),
            fed: 0,
            full: false,
            closed: false,
            gone: None,
            deadline: None,
            frame_timeout,
        }
    }

    /// The next request. Waits as long as the peer is silent, but not in the middle of a message.
    /// Can be dropped: nothing is lost then, and a message that has begun gets no more time.
    ///
    /// # Errors
    /// When there is none any more.
    pub(crate) async fn request(&mut self, shared: Shared<'_>) -> Result<Incoming, Gone> {
        loop {
            let start = self.fed - self.waiting();
            if let Some(message) = self.decoder.message() {
                (self.full, self.deadline) = (false, None);
                return Ok(Incoming { message, writer: self.writer_since(start) });
            }
            self.full = false;
            if self.closed {
                return Err(Gone::Left);
            }
            if self.decoder.pending() == 0 {
                self.read_in_turn(shared).await?;
                continue;
            }
            let until = *self.deadline.get_or_insert_with(|| Instant::now() + self.frame_timeout);
            let read = timeout_at(until, self.read_in_turn(shared)).await;
            read.map_err(|_| Gone::TooSlow)??;
        }
    }

    /// Waits until the peer has left or has to, while one of its requests waits for its turn. What
    /// it sends during that time is kept, up to a bound, and lost if it leaves.
    pub(crate) async fn departed(&mut self, shared: Shared<'_>) {
        while !self.closed {
            if self.full || self.decoder.pending() >= READ_AHEAD {
                self.writers.not_drained();
                // When even that is not told, it has failed.
                return self.stream.closed().await.unwrap_or(());
            }
            if let Err(gone) = self.read(shared, READ_AHEAD).await {
                self.gone = Some(gone);
                return;
            }
        }
    }

    /// Returns why the peer had to leave while one of its requests waited, or `None` if it had not
    /// to.
    pub(crate) fn cut_off(&self) -> Option<&'static str> {
        self.gone?.reason()
    }

    /// Reads something, when it is there and it is the user's turn. Can be dropped.
    async fn read_in_turn(&mut self, shared: Shared<'_>) -> Result<(), Gone> {
        loop {
            let ended = self.stream.readable().await.map_err(|_| Gone::Left)?;
            // To end needs no turn: what is over does not count any longer than it must.
            if !(ended && is_over(&*self.stream)) {
                self.turn.take().await;
            }
            // Where nothing was there after all, what comes next waits for its turn too.
            if self.read(shared, CHUNK).await? {
                return Ok(());
            }
        }
    }

    /// Reads once, when there may be something, and room for what it may bring: that is waited for, but not
    /// for long. Returns whether there was something. Can be dropped.
    async fn read(&mut self, shared: Shared<'_>, room: usize) -> Result<bool, Gone> {
        let mut wait = RoomWait::default();
        loop {
            let gone = match self.read_if_room(shared, room).await? {
                Found::NoRoom(Exceeded::Table) => Gone::TableFull,
                Found::NoRoom(_) => Gone::TooMuch,
                found => return Ok(found == Found::Something),
            };
            if !wait.pause().await {
                return Err(gone);
            }
        }
    }

    /// Reads once, when there may be something.
    async fn read_if_room(&mut self, shared: Shared<'_>, room: usize) -> Result<Found, Gone> {
        let payer = self.payer;
        let reader = &self.reader;
        let mut hold = |descriptor| {
            let mut held = shared.close_queue.hold(Depositor::Brought(payer), descriptor);
            held.keep_until_closed(reader.charge());
            held
        };
        let writers = &mut self.writers;
        let mut no_room = None;
        let into_chunk = |socket: BorrowedFd<'_>| {
            if let Err(exceeded) = shared.quotas.may_read(reader) {
                no_room = Some(exceeded);
                return Err(ErrorKind::QuotaExceeded.into());
            }
            let received = receive(socket, &mut shared.chunk.borrow_mut()[..room], &mut hold);
            if received.as_ref().is_err_and(|error| error.kind() == ErrorKind::WouldBlock) {
                writers.drained();
            }
            received
        };
        let read = self.stream.read_once(into_chunk, Received::was_all).await;
        if let Some(exceeded) = no_room {
            return Ok(Found::NoRoom(exceeded));
        }
        match read {
            // No other session runs in between: the chunk still holds what was received.
            Ok(Some(received)) => {
                self.feed(shared, received);
                Ok(Found::Something)
            }
            Ok(None) => Ok(Found::Nothing),
            Err(_) => {
                self.closed = true;
                Err(Gone::Left)
            }
        }
    }

    fn feed(&mut self, shared: Shared<'_>, mut received: Received<PeerFd>) {
        if received.length == 0 {
            self.closed = true;
            return;
        }
        let writer = self.writers.of(&mut received, &self.reader);
        let Received { length, descriptors, truncated, .. } = received;
        self.full = truncated || !descriptors.is_empty();
        // A usize is at most 64 bits wide.
        self.fed += length as u64;
        self.note_writer(writer);
        let chunk = &mut shared.chunk.borrow_mut()[..length];
        self.decoder.feed(chunk, descriptors, truncated);
        chunk.zeroize();
    }

    /// Remembers who wrote the bytes that have just been fed.
    fn note_writer(&mut self, writer: Writer) {
        let end = self.fed;
        let many = self.written.len() >= MANY_WRITERS;
        match self.written.back_mut() {
            Some(last) if last.writer == writer => last.end = end,
            Some(last) if many => *last = Written { end, writer: Writer::Several },
            _ => self.written.push_back(Written { end, writer }),
        }
    }

    /// Who wrote the bytes from `start` to where the decoder is now.
    fn writer_since(&mut self, start: u64) -> Writer {
        let end = self.fed - self.waiting();
        let mut writers = self.written.iter().filter(|written| written.end > start);
        let first = writers.next().and_then(|written| {
            // None of the message's bytes lie beyond this one's, unless another wrote them.
            (written.end >= end).then(|| written.writer.clone())
        });
        let writer = first.unwrap_or(Writer::Several);
        while self.written.front().is_some_and(|written| written.end <= end) {
            self.written.pop_front();
        }
        writer
    }

    fn waiting(&self) -> u64 {
        self.decoder.pending() as u64
    }
}
