//! Closing descriptors without waiting for them.
//!
//! close(2) can block: for a TCP socket that lingers, for a file whose file system must be told.
//! What cannot is closed at once. For the rest, each key (the uid that deposited, or the tag) has a lane, a thread of its own while there is
//! something to close in it, so that what blocks in one lane delays nobody else's.

use std::collections::HashMap;
use std::hash::Hash;
use std::os::fd::OwnedFd;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use rustix::fs::{FileType, fstat, major};
use rustix::net::sockopt::socket_linger;

/// How long a lane's thread waits for more before it ends.
const IDLE: Duration = Duration::from_secs(2);
/// What a thread that only closes needs of a stack, in bytes.
const STACK: usize = 64 * 1024;

/// Something that is closed by dropping it, with whatever must be given back afterwards.
type Parcel = Box<dyn Send>;

/// Hands descriptors to the lanes.
pub(crate) struct Closer<K> {
    lanes: HashMap<K, Sender<Parcel>>,
}

impl<K: Eq + Hash> Closer<K> {
    pub(crate) fn new() -> Self {
        Self { lanes: HashMap::new() }
    }

    /// Closes `descriptor` now or soon, then drops `after`.
    pub(crate) fn close<T: Send + 'static>(&mut self, key: K, descriptor: OwnedFd, after: T) {
        if closes_at_once(&descriptor) {
            return;
        }
        // Fields of a tuple are dropped in order: the charge is given back when the close is done.
        let mut parcel: Parcel = Box::new((descriptor, after));
        if let Some(lane) = self.lanes.get(&key) {
            match lane.send(parcel) {
                Ok(()) => return,
                Err(returned) => parcel = returned.0,
            }
        }
        self.open_lane(key, parcel);
    }

    fn open_lane(&mut self, key: K, parcel: Parcel) {
        let (lane, parcels) = channel();
        // The receiver is at hand, so this send succeeds.
        let sent = lane.send(parcel);
        debug_assert!(sent.is_ok());
        let thread = std::thread::Builder::new().name("closer".to_owned()).stack_size(STACK);
        if thread.spawn(move || work(&parcels)).is_ok() {
            self.lanes.retain(|_, lane| lane.send(Box::new(())).is_ok());
            self.lanes.insert(key, lane);
        }
        // Without a thread the receiver was dropped with the closure, and the parcel with it:
        // closed here and now, which is slow at worst.
    }
}

/// Whether close(2) has nothing to wait for: pipes; sockets that do not linger (socket(7):
/// SO_LINGER); /dev/null and its like, which have no driver to tell.
fn closes_at_once(descriptor: &OwnedFd) -> bool {
    let Ok(stat) = fstat(descriptor) else { return false };
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::Fifo => true,
        FileType::Socket => matches!(socket_linger(descriptor), Ok(None)),
        FileType::CharacterDevice => major(stat.st_rdev) == MEMORY_DEVICES,
        _ => false,
    }
}

/// The major number of /dev/null, /dev/zero, /dev/full and the like, see null(4).
const MEMORY_DEVICES: u32 = 1;

fn work(parcels: &Receiver<Parcel>) {
    while let Ok(parcel) = parcels.recv_timeout(IDLE) {
        drop(parcel);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, channel};

    use super::Closer;

    #[test]
    fn a_lane_that_blocks_does_not_delay_another() {
        let mut closer = Closer::new();
        let (blocked, release) = channel::<()>();
        struct Block(Receiver<()>);
        impl Drop for Block {
            fn drop(&mut self) {
                let _ = self.0.recv();
            }
        }
        let (done, is_done) = channel::<()>();
        closer.close(1, tempfile::tempfile().unwrap().into(), Block(release));
        closer.close(2, tempfile::tempfile().unwrap().into(), done);
        assert!(is_done.recv().is_err(), "the second lane closed its own");
        drop(blocked);
    }
}
