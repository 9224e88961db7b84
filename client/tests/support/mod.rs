//! A broker for tests: a thread that plays the part that a test assigns.
#![allow(dead_code, reason = "each test file uses its own part of this")]

use std::collections::HashMap;
use std::future::Future;
use std::io::{IoSlice, IoSliceMut, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::thread;

use fdbroker_wire::version2::{Answer, Features, Request};
use fdbroker_wire::{
    Add, Decoder, Errno, Hello, Limits, Message, Slot, add_head, hello, info, reply,
};
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};

/// A listening thread; its socket's directory goes with it.
pub(crate) struct Fake {
    directory: tempfile::TempDir,
}

impl Fake {
    /// Plays a part for each connection, one after the other.
    pub(crate) fn playing(part: impl FnMut(Peer) + Send + 'static) -> Self {
        let fake = Self { directory: tempfile::tempdir().unwrap() };
        fake.listen(part);
        fake
    }

    /// Plays the part of an honest escrow, for many at once.
    pub(crate) fn honest() -> Self {
        let shelf = Shelf::default();
        Self::playing(move |peer| {
            let mut shelf = shelf.clone();
            thread::spawn(move || shelf.serve(peer));
        })
    }

    /// Answers every request with the same bytes and descriptors.
    pub(crate) fn saying(bytes: Vec<u8>, descriptors: Vec<OwnedFd>) -> Self {
        Self::playing(move |mut peer| {
            while peer.next().is_some() {
                peer.send(&bytes, &borrowed(&descriptors));
            }
        })
    }

    /// Answers HEL, and has every other request answered by this, for many at once.
    pub(crate) fn greeting(
        answer: impl Fn(&mut Peer, Message<OwnedFd>) + Send + Sync + 'static,
    ) -> Self {
        let answer = Arc::new(answer);
        Self::playing(move |mut peer| {
            let answer = Arc::clone(&answer);
            thread::spawn(move || {
                while let Some(message) = peer.next() {
                    match message {
                        Message::Hello(_) => peer.send(&hello(GREETING), &[]),
                        message => answer(&mut peer, message),
                    }
                }
            });
        })
    }

    /// The same for one at a time.
    pub(crate) fn greeting_one(
        answer: impl Fn(&mut Peer, Message<OwnedFd>) + Send + 'static,
    ) -> Self {
        Self::playing(move |mut peer| {
            while let Some(message) = peer.next() {
                match message {
                    Message::Hello(_) => peer.send(&hello(GREETING), &[]),
                    message => answer(&mut peer, message),
                }
            }
        })
    }

    /// Answers HEL and requests of version 2, and is an honest escrow besides.
    pub(crate) fn answering(answer: impl Fn(Request) -> Answer + Send + Sync + 'static) -> Self {
        let shelf = Shelf::default();
        Self::greeting(move |peer, message| match message {
            Message::Extended(message) => {
                peer.answer(answer(Request::from_extended(message).unwrap()));
            }
            message => shelf.clone().answer(peer, message),
        })
    }

    /// Answers every request with this error.
    pub(crate) fn failing(errno: i16, text: &str) -> Self {
        Self::saying(reply(-errno, text), Vec::new())
    }

    /// Where nobody listens.
    pub(crate) fn absent() -> Self {
        Self { directory: tempfile::tempdir().unwrap() }
    }

    /// Begins to listen, with this part to play.
    pub(crate) fn listen(&self, mut part: impl FnMut(Peer) + Send + 'static) {
        let listener = UnixListener::bind(self.path()).unwrap();
        thread::spawn(move || {
            for stream in listener.incoming() {
                part(Peer::new(stream.unwrap()));
            }
        });
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.directory().join("socket")
    }

    pub(crate) fn directory(&self) -> &Path {
        self.directory.path()
    }
}

/// One connection, from the broker's side.
pub(crate) struct Peer {
    pub(crate) stream: UnixStream,
    decoder: Decoder<OwnedFd>,
}

impl Peer {
    pub(crate) fn new(stream: UnixStream) -> Self {
        Self { stream, decoder: Decoder::new(Limits::PEER) }
    }

    /// The next request; none at the end.
    pub(crate) fn next(&mut self) -> Option<Message<OwnedFd>> {
        loop {
            if let Some(message) = self.decoder.message() {
                return Some(message.unwrap());
            }
            let mut bytes = [0; 4096];
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(8))];
            let mut control = RecvAncillaryBuffer::new(&mut space);
            let mut parts = [IoSliceMut::new(&mut bytes)];
            let flags = RecvFlags::CMSG_CLOEXEC;
            let count =
                recvmsg(&self.stream, &mut parts, &mut control, flags).map_or(0, |r| r.bytes);
            let mut descriptors = Vec::new();
            for message in control.drain() {
                if let RecvAncillaryMessage::ScmRights(arrived) = message {
                    descriptors.extend(arrived);
                }
            }
            if count == 0 {
                return None;
            }
            self.decoder.feed(&bytes[..count], descriptors, false);
        }
    }

    /// Whether anything has come behind the message that was taken last.
    pub(crate) fn has_more(&self) -> bool {
        self.decoder.pending() > 0 || self.unread() > 0
    }

    /// How many bytes lie in the socket.
    pub(crate) fn unread(&self) -> usize {
        usize::try_from(rustix::io::ioctl_fionread(&self.stream).unwrap()).unwrap()
    }

    /// Sends an answer of version 2.
    pub(crate) fn answer(&mut self, answer: Answer) {
        self.send(&Message::<OwnedFd>::Extended(answer.into_extended()).to_bytes(), &[]);
    }

    /// Sends bytes; says whether anybody takes them.
    pub(crate) fn try_send(&mut self, bytes: &[u8]) -> bool {
        self.stream.write_all(bytes).is_ok()
    }

    /// Sends bytes, with descriptors if there are any. A peer that has gone is no matter.
    pub(crate) fn send(&mut self, bytes: &[u8], descriptors: &[BorrowedFd<'_>]) {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(253))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        if !descriptors.is_empty() {
            control.push(SendAncillaryMessage::ScmRights(descriptors));
        }
        let parts = [IoSlice::new(bytes)];
        let sent = sendmsg(&self.stream, &parts, &mut control, SendFlags::NOSIGNAL).unwrap_or(0);
        let _ = self.stream.write_all(&bytes[sent..]);
    }
}

/// The answer to HEL.
pub(crate) const GREETING: Hello = Hello { tags: 2, flags: Features::ALL.flags(), key: 1 };

/// What an honest escrow of version 1 holds.
#[derive(Clone, Default)]
pub(crate) struct Shelf(Arc<Mutex<HashMap<Slot, Add<OwnedFd>>>>);

impl Shelf {
    /// Serves a connection to its end.
    pub(crate) fn serve(&mut self, mut peer: Peer) {
        while let Some(message) = peer.next() {
            self.answer(&mut peer, message);
        }
    }

    /// Carries out one request and answers it.
    pub(crate) fn answer(&mut self, peer: &mut Peer, message: Message<OwnedFd>) {
        let mut slots = self.0.lock().unwrap();
        let absent = reply(-Errno::NOENT.get(), "nothing in this slot");
        match message {
            Message::Add(add) => {
                slots.insert(add.slot, add);
                peer.send(&reply(0, "done"), &[]);
            }
            Message::Get(slot) => match slots.get(&slot) {
                Some(add) => peer.send(&bytes_of(add), &borrowed(add.descriptor.as_slice())),
                None => peer.send(&absent, &[]),
            },
            Message::Del(slot) => match slots.remove(&slot) {
                Some(_) => peer.send(&reply(0, "done"), &[]),
                None => peer.send(&absent, &[]),
            },
            Message::Tag(tag) => {
                let held = slots.values().filter(|add| add.slot.tag == tag);
                let (mut used, mut total) = (0, 0);
                for add in held {
                    used = used.max(add.slot.index.get() + 1);
                    total += i32::try_from(add.payload.len()).unwrap();
                }
                peer.send(&info(fdbroker_wire::Info { used, total }), &[]);
            }
            Message::Hello(_) | Message::Extended(_) => {
                peer.send(&reply(-Errno::PROTO.get(), "the opcode is not served"), &[]);
            }
            other => panic!("no request: {other:?}"),
        }
    }
}

fn bytes_of(add: &Add<OwnedFd>) -> Vec<u8> {
    let mut bytes = add_head(add.slot, add.ufd, add.payload.len()).to_vec();
    bytes.extend_from_slice(&add.payload);
    bytes
}

/// A peer whom no answer reaches.
pub(crate) fn nobody() -> Peer {
    Peer::new(UnixStream::pair().unwrap().0)
}

/// Polls a future so many times, with everybody else's turn between, and drops it then. Returns its
/// output, if it was faster.
pub(crate) async fn dropped_after<F: Future>(polls: usize, future: F) -> Option<F::Output> {
    let mut future = std::pin::pin!(future);
    for number in 0..polls {
        if number > 0 {
            turn_of_others().await;
        }
        let polled = std::future::poll_fn(|context| Poll::Ready(future.as_mut().poll(context)));
        if let Poll::Ready(outcome) = polled.await {
            return Some(outcome);
        }
    }
    None
}

/// Ready when it is polled again.
async fn turn_of_others() {
    let mut polled = false;
    std::future::poll_fn(|context| {
        context.waker().wake_by_ref();
        match std::mem::replace(&mut polled, true) {
            true => Poll::Ready(()),
            false => Poll::Pending,
        }
    })
    .await;
}

pub(crate) fn borrowed(descriptors: &[OwnedFd]) -> Vec<BorrowedFd<'_>> {
    descriptors.iter().map(AsFd::as_fd).collect()
}

pub(crate) fn slot(text: &str) -> Slot {
    text.parse().unwrap()
}

/// A secret that a test deposits.
pub(crate) const SECRET: &str = "hunter2";

/// Looks for [`SECRET`] in what `Debug` shows, as text and as numbers, and for anything too long
/// for a line of a log.
#[track_caller]
pub(crate) fn assert_hides_secret(value: &impl std::fmt::Debug) {
    let numbers = SECRET.bytes().map(|byte| byte.to_string()).collect::<Vec<_>>().join(", ");
    for shown in [format!("{value:?}"), format!("{value:#?}")] {
        let line = shown.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(!line.contains(SECRET) && !line.contains(&numbers), "{line}");
        assert!(line.len() < 1000, "{} characters: {line}", line.len());
    }
}
