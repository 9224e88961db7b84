//! The supervisor's end of the socket pair. A broker that takes over and the one that it takes over from have one
//! each too.
//!
//! Reads while it writes, so that neither end can make the other wait for ever: what is to be
//! sent waits in a queue, and when that is long, reading pauses instead.

use std::collections::VecDeque;
use std::io::{self, ErrorKind};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use fdbroker_wire::{
    Control, Decoder, Errno, Extended, Handover, Limits, Message, Opened, Payload, add_head,
    opcode, reply,
};
use rustix::net::{Shutdown, shutdown};
use tokio::io::Interest;
use tokio::net::UnixStream;
use zeroize::Zeroize;

use crate::fd::{CloseQueue, Depositor, PeerFd, table};
use crate::supervisor::deposits::kept::Kept;
use crate::sys::receive::receive;
use crate::transmit::{RETRY, rest, transmit};

/// How many queued answers pause reading.
const MAX_QUEUED: usize = 1024;
/// How many bytes of answers are held back: 16 of seven bytes, a quarter of the worker's window.
const HELD_BACK: usize = 16 * 7;
/// Reads that follow each other faster than this are a burst.
const BURST: Duration = Duration::from_millis(1);
/// How many bytes are read at once, and gathered into one write.
const CHUNK: usize = 64 * 1024;

/// A connection to one worker, or to another broker.
pub(crate) struct Link {
    stream: UnixStream,
    /// The same socket, to be closed last: with it the kernel closes what the worker sent and nobody
    /// has read.
    _last: PeerFd,
    /// On whose account what was read is closed, unless it is found to be somebody's.
    unread: Depositor,
    decoder: Decoder<PeerFd>,
    close_queue: CloseQueue,
    queue: VecDeque<Outgoing>,
    /// How many bytes of the queue's first have gone.
    sent: usize,
    /// The worker has gone, or does not read: nothing more is sent. What it sent before still
    /// counts, since its peers were answered as soon as it lay in this end's queue.
    deaf: bool,
    /// Answers that say yes, until they are worth a write.
    held_back: Vec<u8>,
    /// Nothing was left to read the last time.
    drained: bool,
    /// When something came after that.
    last_read: Instant,
    /// The last message was one of many, maybe: an ADD or a DEL. A peer waits for what other messages ask for.
    is_change: bool,
    chunk: Box<[u8]>,
    /// The number of a descriptor from which on the table is too full to read on.
    full_from: i32,
}

/// A worker's quotas keep it far from that. What finds no entry in the table the kernel closes within
/// recvmsg(2), where it can sleep.
const TOO_MANY: &str = "it sent more descriptors than its quotas allow";

enum Outgoing {
    Bytes(Vec<u8>),
    Deposit(Rc<Kept>),
    Noted(Vec<u8>, Rc<PeerFd>),
    Opened(Payload, Arc<Opened<PeerFd>>),
    Own(Vec<u8>, Option<OwnedFd>),
}

impl Link {
    /// # Errors
    /// When there is no descriptor left.
    pub(crate) fn new(stream: UnixStream, close_queue: CloseQueue) -> io::Result<Self> {
        let last = stream.as_fd().try_clone_to_owned()?;
        let unread = close_queue.unread();
        Ok(Self {
            stream,
            _last: close_queue.hold(unread, last),
            unread,
            decoder: Decoder::new(Limits::CONTROL),
            close_queue,
            queue: VecDeque::new(),
            sent: 0,
            deaf: false,
            held_back: Vec::new(),
            drained: false,
            last_read: Instant::now(),
            is_change: false,
            chunk: vec![0; CHUNK].into_boxed_slice(),
            full_from: table::full_from(),
        })
    }

    /// Tells the worker that it is to end. What it said before can still be read.
    pub(crate) fn end(&self) {
        // A worker that has gone needs not be told.
        let _ = rustix::net::shutdown(&self.stream, rustix::net::Shutdown::Write);
    }

    /// Sends what is queued and returns the worker's next message. Can be dropped and called again.
    ///
    /// # Errors
    /// UnexpectedEof if the worker has gone, InvalidData if it does not speak the protocol.
    pub(crate) async fn message(&mut self) -> io::Result<Message<PeerFd>> {
        loop {
            match self.decoder.message() {
                Some(Ok(message)) => {
                    self.is_change = matches!(message, Message::Add(_) | Message::Del(_));
                    return Ok(message);
                }
                Some(Err(fault)) if !fault.fatal && self.awaits_answer() => {
                    self.reply(Err(fault.errno));
                }
                // What it said is lost, and it does not say it again.
                Some(Err(fault)) => {
                    let problem = format!("its message cannot be read: {}", fault.reason);
                    return Err(io::Error::new(ErrorKind::InvalidData, problem));
                }
                None => {}
            }
            let ready = self.stream.ready(self.interest()).await?;
            if ready.is_writable() && !self.deaf {
                self.write_or_give_up().await;
            }
            if ready.is_readable() && self.queue.len() <= MAX_QUEUED {
                self.let_more_come();
                self.read()?;
            }
        }
    }

    /// Whether the worker awaits an answer to its last message: no other has one.
    fn awaits_answer(&self) -> bool {
        matches!(self.decoder.opcode(), Some(opcode::ADD | opcode::DEL))
    }

    /// Answers an ADD or DEL. Successes wait until a few are together, since each write wakes the
    /// worker. Its window is wide enough not to run out until then.
    pub(crate) fn reply(&mut self, outcome: Result<(), Errno>) {
        match outcome {
            Ok(()) => self.held_back.extend(reply(0, "")),
            Err(errno) => self.held_back.extend(reply(-errno.get(), "failed")),
        }
        if outcome.is_err() || self.held_back.len() >= HELD_BACK {
            let together = std::mem::take(&mut self.held_back);
            self.bytes(together);
        }
    }

    /// Sends a message that carries no descriptor.
    pub(crate) fn control(&mut self, message: Control<OwnedFd>) {
        self.bytes(Message::Extended(message.into_extended()).to_bytes());
    }

    /// Sends a deposit back.
    pub(crate) fn deposit(&mut self, kept: &Rc<Kept>) {
        self.push(Outgoing::Deposit(Rc::clone(kept)));
    }

    /// Sends a note back.
    pub(crate) fn note(&mut self, bytes: Control<&PeerFd>, process: &Rc<PeerFd>) {
        let bytes = Message::Extended(bytes.into_extended()).to_bytes();
        self.push(Outgoing::Noted(bytes, Rc::clone(process)));
    }

    /// Sends a message that carries a descriptor of the broker's own: a duplicate, or an empty socket.
    /// It is closed on the loop, since that never sleeps.
    pub(crate) fn carry_own(&mut self, message: fn(OwnedFd) -> Control<OwnedFd>, own: OwnedFd) {
        self.own(message(own).into_extended());
    }

    /// Sends a message to another broker. A descriptor is closed on the loop: it is our own.
    pub(crate) fn handover(&mut self, message: Handover<OwnedFd>) {
        self.own(message.into_extended());
    }

    /// Sends a message to another broker that carries what is a peer's.
    pub(crate) fn handover_of(&mut self, message: Handover<&PeerFd>, of: &Rc<PeerFd>) {
        let bytes = Message::Extended(message.into_extended()).to_bytes();
        self.push(Outgoing::Noted(bytes, Rc::clone(of)));
    }

    fn own(&mut self, mut message: Extended<OwnedFd>) {
        let bytes = [&message.head()[..], &message.body[..]].concat();
        self.push(Outgoing::Own(bytes, message.descriptors.pop()));
    }

    /// Sends a short message at once. It has been sent as a whole, or not at all: the other end, when it stops
    /// reading, decides which.
    ///
    /// # Errors
    /// As send(2). WouldBlock also if something is queued before it.
    pub(crate) fn send_now(&self, message: Handover<OwnedFd>) -> io::Result<()> {
        if !self.queue.is_empty() {
            return Err(ErrorKind::WouldBlock.into());
        }
        let message = message.into_extended();
        let head = message.head();
        transmit(self.stream.as_fd(), &rest([&head[..], &message.body[..]], 0), &[]).map(drop)
    }

    /// Returns the next message of an other end that takes nothing any more, if it sent one before that. Does not wait.
    pub(crate) fn last_word(&mut self) -> Option<Message<PeerFd>> {
        let Self { stream, decoder, close_queue, unread, chunk, .. } = self;
        if let Some(message) = decoder.message() {
            return message.ok();
        }
        let hold = |descriptor| close_queue.hold(*unread, descriptor);
        let received = receive(stream.as_fd(), chunk, hold).ok()?;
        let bytes = chunk.get(..received.length).unwrap_or_default();
        decoder.feed(bytes, received.descriptors, received.truncated);
        decoder.message()?.ok()
    }

    /// Takes no further message. What the other end has sent before is still read; what it sends from now on fails.
    pub(crate) fn stop_taking(&self) {
        // It fails when the other end has gone.
        let _ = shutdown(&self.stream, Shutdown::Read);
    }

    /// Sends the socket to accept peers on.
    pub(crate) fn listener(&mut self, socket: PeerFd) {
        let socket = Arc::new(Opened::one(socket));
        self.carry(Control::Listener(socket.descriptor()), Arc::clone(&socket));
    }

    /// Sends a message that carries what was opened.
    pub(crate) fn carry(&mut self, message: Control<&PeerFd>, opened: Arc<Opened<PeerFd>>) {
        let bytes = Message::Extended(message.into_extended()).to_bytes();
        self.push(Outgoing::Opened(bytes.into(), opened));
    }

    fn bytes(&mut self, bytes: Vec<u8>) {
        match self.queue.back_mut() {
            Some(Outgoing::Bytes(last)) if last.len() < CHUNK => last.extend(bytes),
            _ => self.push(Outgoing::Bytes(bytes)),
        }
    }

    fn push(&mut self, outgoing: Outgoing) {
        if !self.deaf {
            self.queue.push_back(outgoing);
        }
    }

    fn interest(&self) -> Interest {
        if self.queue.is_empty() {
            Interest::READABLE
        } else if self.queue.len() > MAX_QUEUED {
            Interest::WRITABLE
        } else {
            Interest::READABLE | Interest::WRITABLE
        }
    }

    /// In the middle of many deposits, lets other threads that have work on this CPU go first.
    /// Messages that wait here are safe, and more of them come together that way.
    fn let_more_come(&mut self) {
        if !std::mem::take(&mut self.drained) {
            return;
        }
        let now = Instant::now();
        if self.is_change && now.duration_since(self.last_read) < BURST {
            rustix::thread::sched_yield();
        }
        self.last_read = now;
    }

    fn read(&mut self) -> io::Result<()> {
        let Self { stream, decoder, close_queue, unread, chunk, full_from, drained, .. } = self;
        let hold = |descriptor| close_queue.hold(*unread, descriptor);
        match stream.try_io(Interest::READABLE, || receive(stream.as_fd(), chunk, hold)) {
            Ok(received) if received.length == 0 => Err(ErrorKind::UnexpectedEof.into()),
            Ok(received) => {
                // The kernel takes the lowest number that is free: all below it are in use.
                let full = received.descriptors.iter().any(|fd| fd.number() >= *full_from);
                let bytes = &mut chunk[..received.length];
                // What was read counts all the same: its sender takes it for acknowledged.
                decoder.feed(bytes, received.descriptors, received.truncated);
                bytes.zeroize();
                if full {
                    // Said once. Unread messages are still read to the end.
                    *full_from = i32::MAX;
                    return Err(io::Error::new(ErrorKind::InvalidData, TOO_MANY));
                }
                Ok(())
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                *drained = true;
                Ok(())
            }
            // It died before it had read everything; what it sent has all been read by now.
            Err(error) if error.kind() == ErrorKind::ConnectionReset => {
                Err(ErrorKind::UnexpectedEof.into())
            }
            Err(error) => Err(error),
        }
    }

    /// Writes. When the worker has gone nothing more can be sent; when the kernel is short of
    /// something, it can a moment later.
    async fn write_or_give_up(&mut self) {
        match self.write() {
            Err(error)
                if matches!(error.kind(), ErrorKind::BrokenPipe | ErrorKind::ConnectionReset) =>
            {
                self.deaf = true;
                self.queue.clear();
            }
            Err(_) => tokio::time::sleep(RETRY).await,
            Ok(()) => {}
        }
    }

    fn write(&mut self) -> io::Result<()> {
        while let Some(first) = self.queue.front() {
            let (stream, sent) = (&self.stream, self.sent);
            match stream.try_io(Interest::WRITABLE, || first.send(stream, sent)) {
                Ok(more) if sent + more < first.length() => self.sent += more,
                Ok(_) => {
                    self.queue.pop_front();
                    self.sent = 0;
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

impl Drop for Link {
    /// The worker sees the end at once, whenever the last descriptor is closed.
    fn drop(&mut self) {
        // It fails when the worker has gone.
        let _ = shutdown(&self.stream, Shutdown::Both);
    }
}

impl Outgoing {
    fn length(&self) -> usize {
        match self {
            Self::Bytes(bytes) | Self::Noted(bytes, _) | Self::Own(bytes, _) => bytes.len(),
            Self::Opened(bytes, _) => bytes.len(),
            Self::Deposit(kept) => 16 + kept.payload.len(),
        }
    }

    /// Sends from byte `sent` on; the descriptors go with the first byte.
    fn send(&self, stream: &UnixStream, sent: usize) -> io::Result<usize> {
        let (bytes, descriptor): (&[u8], _) = match self {
            Self::Bytes(bytes) => (bytes, None),
            Self::Noted(bytes, process) => (bytes, process.descriptor()),
            Self::Own(bytes, own) => (bytes, own.as_ref().map(AsFd::as_fd)),
            Self::Opened(bytes, opened) => {
                let all = opened.descriptors().filter_map(PeerFd::descriptor);
                return send_from(stream, sent, bytes, &[], &all.collect::<Vec<_>>());
            }
            Self::Deposit(kept) => {
                let head = &add_head(kept.slot, kept.ufd, kept.payload.len());
                let descriptor = kept.descriptor.as_ref().and_then(PeerFd::descriptor);
                return send_from(stream, sent, head, &kept.payload, descriptor.as_slice());
            }
        };
        send_from(stream, sent, bytes, &[], descriptor.as_slice())
    }
}

fn send_from(
    stream: &UnixStream,
    sent: usize,
    head: &[u8],
    body: &[u8],
    descriptors: &[BorrowedFd<'_>],
) -> io::Result<usize> {
    let first = if sent == 0 { descriptors } else { &[] };
    transmit(stream.as_fd(), &rest([head, body], sent), first)
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::os::unix::net::UnixStream as StdStream;

    use fdbroker_wire::{Joined, Slot, Tag};

    use super::*;

    /// What ends a link on which these bytes come and no descriptor; and what the worker is answered.
    async fn outcome(bytes: &[u8]) -> (io::Error, Vec<u8>) {
        let (ours, mut theirs) = StdStream::pair().unwrap();
        ours.set_nonblocking(true).unwrap();
        let mut link = Link::new(UnixStream::from_std(ours).unwrap(), CloseQueue::new()).unwrap();
        theirs.write_all(bytes).unwrap();
        theirs.shutdown(std::net::Shutdown::Write).unwrap();
        let error = link.message().await.err().unwrap();
        drop(link);
        let mut answer = Vec::new();
        theirs.read_to_end(&mut answer).unwrap();
        (error, answer)
    }

    #[tokio::test]
    async fn an_add_whose_descriptor_is_lost_is_answered() {
        let (error, answer) = outcome(&add_head(Slot::new(1, 2).unwrap(), 3, 0)).await;
        assert_eq!(error.kind(), ErrorKind::UnexpectedEof, "it goes on to the end");
        assert_eq!(answer, reply(-Errno::INVAL.get(), "failed"));
    }

    #[tokio::test]
    async fn a_worker_that_awaits_no_answer_gets_none_and_ends_when_what_it_said_is_lost() {
        let tag = Tag::new(1).unwrap();
        let lost = [
            Control::Connections {
                joined: vec![Joined { number: 1, uid: 7, socket: () }],
                left: vec![2],
            },
            Control::Note { tag, pid: 7, process: Some(()) },
            Control::Taking { tag, indices: Vec::new(), pid: 7, process: Some(()) },
        ];
        for control in lost {
            let told = format!("{control:?}");
            let (error, answer) =
                outcome(&Message::Extended(control.into_extended()).to_bytes()).await;
            assert!(
                error.to_string().starts_with("its message cannot be read: "),
                "{told}: {error}"
            );
            assert!(answer.is_empty(), "{told}: {answer:?}");
        }
    }
}
