//! A service manager that does nothing but keep descriptors, and hand them to the next broker: as fast as the kernel,
//! so that what a start takes is the broker's own.

use std::collections::BTreeMap;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::{UnixDatagram, UnixListener};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use crate::{Builder, sys};

/// The longest message.
const ROOM: usize = 4096;
/// What is said to itself at the end.
const END: &str = "END=1";

/// What it keeps, by names.
type Kept = Arc<Mutex<BTreeMap<String, OwnedFd>>>;

/// A running one. Ends when dropped.
#[derive(Debug)]
pub struct Keeper {
    path: PathBuf,
    listener: UnixListener,
    kept: Kept,
}

impl Keeper {
    /// Begins to keep what is sent to a socket in this directory, and to listen at one for the broker.
    pub fn start(directory: &Path) -> Self {
        let path = directory.join("notify");
        let socket = UnixDatagram::bind(&path).expect("the path is free");
        let listener = UnixListener::bind(directory.join("socket")).expect("the path is free");
        let kept = Kept::default();
        thread::spawn({
            let kept = Arc::clone(&kept);
            move || keep(&socket, &kept)
        });
        Self { path, listener, kept }
    }

    /// Has a broker started with what is kept.
    pub fn with(&self, builder: Builder) -> Builder {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let kept = kept.iter().map(|(name, one)| {
            (name.clone(), one.try_clone().expect("there is room for another descriptor"))
        });
        builder
            .listening(self.listener.try_clone().expect("there is room for another descriptor"))
            .stored(kept.collect())
            .environment("NOTIFY_SOCKET", &self.path)
            .environment("FDSTORE", "16384")
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        // Where nobody reads it, the thread has ended.
        let _ = UnixDatagram::unbound().and_then(|own| own.send_to(END.as_bytes(), &self.path));
    }
}

fn keep(socket: &UnixDatagram, kept: &Kept) {
    loop {
        let received = sys::receive(socket.as_fd(), ROOM).expect("it can be read");
        let text = String::from_utf8_lossy(&received.bytes);
        let value = |key: &str| text.lines().find_map(|line| line.strip_prefix(key));
        let name = value("FDNAME=").unwrap_or_default().to_owned();
        let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
        if text == END {
            return;
        } else if value("FDSTORE=").is_some() {
            kept.extend(received.descriptors.into_iter().map(|one| (name.clone(), one)));
        } else if value("FDSTOREREMOVE=").is_some() {
            kept.remove(&name);
        }
        // The descriptor of BARRIER=1 is closed here.
    }
}
