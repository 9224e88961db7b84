//! What became of each reload, in a note beside the socket: a process that has sent SIGHUP waits for it.
//!
//! Written on threads, since a disk can be slow. An older outcome never takes the place of a newer one.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use fdbroker_host::{ReloadNote, remove_private_file};
use fdbroker_types::quoted;
use rustix::process::getpid;

use crate::supervisor::news::Told;

/// A policy that was read and that no worker has put in force yet.
pub(crate) struct Awaited {
    pub(crate) generation: u32,
    /// When its reload began, if somebody asked for it by a signal.
    pub(crate) began: Option<u64>,
    /// What it changes.
    pub(crate) report: String,
}

/// Writes the notes; has the time at which the reload of the last one began.
#[derive(Default)]
pub(crate) struct ReloadNotes(Arc<Mutex<u64>>);

impl ReloadNotes {
    /// Notes what became of the reload that began then, beside this socket, if it has a path.
    pub(crate) fn note(
        &self,
        socket: Option<PathBuf>,
        began: Option<u64>,
        outcome: Result<String, String>,
        told: &Told,
    ) {
        let (Some(socket), Some(began)) = (socket, began) else { return };
        let (last, told) = (Arc::clone(&self.0), told.clone());
        let broker = getpid().as_raw_nonzero().get();
        tokio::task::spawn_blocking(move || {
            // A panic while it is locked leaves it whole.
            let mut last = last.lock().unwrap_or_else(PoisonError::into_inner);
            if began < *last {
                return;
            }
            *last = began;
            let path = ReloadNote::beside(&socket);
            if let Err(error) = (ReloadNote { broker, began, outcome }).write(&path) {
                told.bad(format!(
                    "what became of a reload cannot be noted in {}: {error}; `systemctl reload` waits \
                     for it in vain; make room there",
                    quoted(&path)
                ));
            }
        });
    }

    /// The broker ends.
    pub(crate) fn forget(socket: Option<PathBuf>) {
        // It names a process that has ended.
        let _ = socket.map(|socket| remove_private_file(&ReloadNote::beside(&socket)));
    }
}
