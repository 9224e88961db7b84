//! Closing descriptors without waiting for them.
//!
//! close(2) can block: for a TCP socket that lingers, for a file whose file system must be told.
//! So what came from a peer is [`Held`], which, when dropped, is closed at once only if that
//! cannot block. For the rest, each key (the uid that brought it, or its tag) has a lane, a
//! thread of its own while there is something to close in it: what blocks in one lane delays
//! nobody else's.

use std::cell::{OnceCell, RefCell};
use std::collections::HashMap;
use std::hash::Hash;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::rc::Rc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use rustix::fs::{AtFlags, FileType, StatxFlags, statx};
use rustix::net::sockopt::{set_socket_linger, socket_domain, socket_linger, socket_type};
use rustix::net::{AddressFamily, SocketType};

/// How long a lane's thread waits for more before it ends.
const IDLE: Duration = Duration::from_secs(2);
/// What a thread that only closes needs of a stack, in bytes.
const STACK: usize = 64 * 1024;
/// The major number of /dev/null, /dev/zero, /dev/full and the like, see null(4).
const MEMORY_DEVICES: u32 = 1;

/// What is to be closed, and what is given back afterwards.
struct Parcel {
    descriptor: OwnedFd,
    after: Option<Box<dyn Send>>,
}

/// The lanes, shared by all who hold something.
pub(crate) struct Closer<K>(Rc<RefCell<HashMap<K, Lane>>>);

/// A thread that closes, and the way to it.
struct Lane {
    parcels: Sender<Parcel>,
    thread: JoinHandle<()>,
}

impl<K> Clone for Closer<K> {
    fn clone(&self) -> Self {
        Self(Rc::clone(&self.0))
    }
}

/// A descriptor that is closed on its lane.
pub(crate) struct Held<K: Copy + Eq + Hash> {
    /// Only taken out when dropped.
    descriptor: Option<OwnedFd>,
    key: K,
    closer: Closer<K>,
    /// Whether close(2) has nothing to wait for; asked once.
    at_once: OnceCell<bool>,
    /// Dropped when the descriptor has been closed.
    after: Option<Box<dyn Send>>,
}

impl<K: Copy + Eq + Hash> Closer<K> {
    pub(crate) fn new() -> Self {
        Self(Rc::default())
    }

    /// Takes a descriptor over, to be closed on the lane of `key`.
    pub(crate) fn hold(&self, key: K, descriptor: OwnedFd) -> Held<K> {
        let (closer, at_once) = (self.clone(), OnceCell::new());
        Held { descriptor: Some(descriptor), key, closer, at_once, after: None }
    }

    fn close(&self, key: K, mut parcel: Parcel) {
        let mut lanes = self.0.borrow_mut();
        if let Some(lane) = lanes.get(&key) {
            match lane.parcels.send(parcel) {
                Ok(()) => return,
                Err(returned) => parcel = returned.0,
            }
        }
        lanes.retain(|_, lane| !lane.thread.is_finished());
        lanes.extend(open_lane(parcel).map(|lane| (key, lane)));
    }
}

impl<K: Copy + Eq + Hash> Held<K> {
    /// The descriptor.
    pub(crate) fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        self.descriptor.as_ref().map(AsFd::as_fd)
    }

    /// Whether it is closed when it is dropped, and not on a lane. The same for every descriptor
    /// of one open file description.
    pub(crate) fn closes_at_once(&self) -> bool {
        let ask = || self.descriptor.as_ref().is_none_or(closes_at_once);
        *self.at_once.get_or_init(ask)
    }

    /// Closes it on another lane than at first.
    pub(crate) fn move_to(&mut self, key: K) {
        self.key = key;
    }

    /// Keeps `after` until the descriptor has been closed.
    pub(crate) fn keep_until_closed(&mut self, after: impl Send + 'static) {
        self.after = Some(Box::new(after));
    }
}

impl<K: Copy + Eq + Hash> Drop for Held<K> {
    fn drop(&mut self) {
        let at_once = self.closes_at_once();
        let Some(descriptor) = self.descriptor.take() else { return };
        if at_once {
            drop(descriptor);
        } else {
            self.closer.close(self.key, Parcel { descriptor, after: self.after.take() });
        }
    }
}

/// A new lane with its first parcel. Without a thread the parcel is dropped here and now, which
/// is slow at worst.
fn open_lane(parcel: Parcel) -> Option<Lane> {
    let (parcels, incoming) = channel();
    parcels.send(parcel).ok()?;
    let thread = std::thread::Builder::new().name("closer".to_owned()).stack_size(STACK);
    let thread = thread.spawn(move || work(&incoming)).ok()?;
    Some(Lane { parcels, thread })
}

fn work(parcels: &Receiver<Parcel>) {
    while let Ok(Parcel { descriptor, after }) = parcels.recv_timeout(IDLE) {
        // A socket that lingers would keep its lane for as long as whoever set it likes: its data
        // still goes out, but nobody waits for that. An error means that it is no socket.
        if !matches!(socket_linger(&descriptor), Ok(None) | Err(_)) {
            let _ = set_socket_linger(&descriptor, None);
        }
        drop(descriptor);
        drop(after);
    }
}

/// Whether close(2) has nothing to wait for: pipes; UDP sockets; /dev/null and its like, which
/// have no driver to tell. Not TCP, which may linger (SO_LINGER in socket(7)), and not Unix
/// sockets, which may hold one that does.
///
/// The question itself must not wait for a file's server either: hence AT_STATX_DONT_SYNC.
fn closes_at_once(descriptor: &OwnedFd) -> bool {
    let flags = AtFlags::EMPTY_PATH | AtFlags::STATX_DONT_SYNC;
    let Ok(found) = statx(descriptor, "", flags, StatxFlags::TYPE) else { return false };
    match FileType::from_raw_mode(found.stx_mode.into()) {
        FileType::Fifo => true,
        FileType::Socket => is_udp(descriptor),
        FileType::CharacterDevice => found.stx_rdev_major == MEMORY_DEVICES,
        _ => false,
    }
}

fn is_udp(socket: &OwnedFd) -> bool {
    let internet = socket_domain(socket)
        .is_ok_and(|family| matches!(family, AddressFamily::INET | AddressFamily::INET6));
    internet && socket_type(socket).is_ok_and(|kind| kind == SocketType::DGRAM)
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, channel};

    use super::Closer;

    struct Block(Receiver<()>);

    impl Drop for Block {
        fn drop(&mut self) {
            let _ = self.0.recv();
        }
    }

    #[test]
    fn a_lane_that_blocks_does_not_delay_another() {
        let closer = Closer::new();
        let (blocked, release) = channel::<()>();
        let mut first = closer.hold(1, tempfile::tempfile().unwrap().into());
        first.keep_until_closed(Block(release));
        drop(first);
        let (done, is_done) = channel::<()>();
        let mut second = closer.hold(2, tempfile::tempfile().unwrap().into());
        second.keep_until_closed(done);
        drop(second);
        assert!(is_done.recv().is_err(), "the second lane closed its own");
        drop(blocked);
    }

    #[test]
    fn what_cannot_block_is_closed_when_it_is_dropped() {
        let closer = Closer::new();
        let (reader, writer) = std::io::pipe().unwrap();
        drop(closer.hold(1, writer.into()));
        let mut text = String::new();
        std::io::Read::read_to_string(&mut { reader }, &mut text).unwrap();
        assert!(closer.0.borrow().is_empty(), "no lane was opened");
    }
}
