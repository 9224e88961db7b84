//! How the listening socket and the lock of its place pass from one broker to the next.
//!
//! Both are shared by their descriptors: connections that wait stay in the socket's queue, and the lock is never
//! free in between.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};

use super::{Listener, Lock, SocketFile, identity, lock_name, sign};
use crate::fd::CloseQueue;

/// Duplicates of what decides who listens at a path.
pub(in crate::supervisor) struct PassedOn {
    pub(in crate::supervisor) socket: OwnedFd,
    /// Device and inode of its file.
    pub(in crate::supervisor) file: (u64, u64),
    pub(in crate::supervisor) lock: OwnedFd,
}

impl Listener {
    /// The one that another broker still serves, and has not shared yet: nothing listens here.
    ///
    /// # Errors
    /// As socket(2).
    pub(in crate::supervisor) fn yet_to_come(close_queue: CloseQueue) -> io::Result<Self> {
        let flags = SocketFlags::CLOEXEC;
        let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
        Ok(Self::shared(socket, close_queue))
    }

    /// The socket of a broker that accepts from it no more. Its file is not ours yet.
    pub(in crate::supervisor) fn shared(socket: OwnedFd, close_queue: CloseQueue) -> Self {
        let (made, shut_out) = Default::default();
        Self { socket, close_queue, made, state: "ok", seen: None, shut_out }
    }

    /// The path of the file, if that is ours.
    pub(in crate::supervisor) fn own_path(&self) -> Option<&Path> {
        self.made.as_ref().map(|file| &*file.path)
    }

    /// Duplicates of the socket and of the lock, for a successor. `None` if the file is not ours.
    pub(in crate::supervisor) fn to_pass_on(&self) -> Option<io::Result<PassedOn>> {
        let made = self.made.as_ref()?;
        let duplicates = || {
            let (socket, lock) = (self.socket.try_clone()?, made.lock.file.try_clone()?.into());
            Ok(PassedOn { socket, file: made.identity, lock })
        };
        Some(duplicates())
    }

    /// From now on the file is ours, with its lock. `file` is its device and inode.
    ///
    /// # Errors
    /// If the file has gone, or the backlog cannot be changed: it serves all the same.
    pub(in crate::supervisor) fn take_place(
        &mut self,
        path: PathBuf,
        file: (u64, u64),
        lock: OwnedFd,
    ) -> io::Result<()> {
        let mut lock = Lock { name: lock_name(&path), file: File::from(lock) };
        // Only a name for those who find it held.
        let _ = sign(&mut lock.file);
        let found = identity(&path);
        self.seen = Some(file);
        self.made = Some(SocketFile { path, identity: file, lock });
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
