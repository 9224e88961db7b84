//! How the listening socket and the lock of its place pass from one broker to the next.
//!
//! Both are shared by their descriptors: connections that wait stay in the socket's queue, and the lock is never
//! free in between.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use super::{Listener, Lock, SocketFile, identity, lock_name, sign};
use crate::fd::CloseQueue;

impl Listener {
    /// The socket of a broker that still serves. Its file is not ours yet.
    pub(in crate::supervisor) fn shared(socket: OwnedFd, close_queue: CloseQueue) -> Self {
        let (made, shut_out) = Default::default();
        Self { socket, close_queue, made, state: "ok", seen: None, shut_out }
    }

    /// The path of the file, if that is ours.
    pub(in crate::supervisor) fn own_path(&self) -> Option<&Path> {
        self.made.as_ref().map(|file| &*file.path)
    }

    /// Duplicates of the socket and of the lock, for a successor. `None` if the file is not ours.
    pub(in crate::supervisor) fn to_pass_on(&self) -> Option<io::Result<(OwnedFd, OwnedFd)>> {
        let file = self.made.as_ref()?;
        let both = || Ok((self.socket.try_clone()?, file.lock.file.try_clone()?.into()));
        Some(both())
    }

    /// From now on the file is ours, with its lock.
    ///
    /// # Errors
    /// If the file has gone, or the backlog cannot be changed: it serves all the same.
    pub(in crate::supervisor) fn take_place(
        &mut self,
        path: PathBuf,
        lock: OwnedFd,
    ) -> io::Result<()> {
        let mut lock = Lock { name: lock_name(&path), file: File::from(lock) };
        // Only a name for those who find it held.
        let _ = sign(&mut lock.file);
        let found = identity(&path);
        self.seen = found.as_ref().ok().copied().or(Some(GONE));
        let identity = found.as_ref().ok().copied().unwrap_or(GONE);
        self.made = Some(SocketFile { path, identity, lock });
        self.let_all_in();
        // Clients see who called this last.
        rustix::net::listen(&self.socket, i32::MAX)?;
        found.map(drop)
    }

    /// From now on it is the successor's: nothing of it is removed.
    pub(in crate::supervisor) fn leave(&mut self) {
        self.made = None;
    }
}

/// Device and inode of no file.
const GONE: (u64, u64) = (0, 0);
