//! Repairs the listening socket, after a worker that was taken over changed it, or somebody deleted
//! its file.
//!
//! Without its file nobody can connect any more, and the kernel does not report that. One look at
//! the path (lstat) with each beat and each SIGHUP finds it.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use nix::sys::socket::{setsockopt, sockopt};

use super::access::Access;
use super::{Listener, identity, is_in_place, lock_beside};
use crate::log::Log;

const REPLACED: &str = "replaced";
const BROKEN: &str = "broken";

impl Listener {
    /// Repairs what the last worker may have done to it. To be called while there is no worker.
    pub(in crate::supervisor) fn repair(&mut self, log: &Log) {
        self.restore_file(log, false);
        if self.is_shut_down() {
            let before = self.path().and_then(|path| fs::symlink_metadata(path).ok());
            match self.replace() {
                Ok(path) => {
                    self.state = REPLACED;
                    let lost = before.and_then(|before| Access::of(&before).lost(&path));
                    let (path, lost) = (path.display(), lost.unwrap_or_default());
                    log.error(&format!(
                        "{SHUT_DOWN}; a new one listens on {path}{lost}{}",
                        self.cure()
                    ));
                }
                Err(error) => {
                    self.state = BROKEN;
                    log.error(&format!(
                        "{SHUT_DOWN}; a new one cannot be created ({error}): nobody can connect{}",
                        self.cure()
                    ));
                }
            }
        } else if !self.is_intact() {
            self.state = "repaired";
            let switched = setsockopt(&self.socket, sockopt::PassCred, &true);
            log.error(&match switched {
                Ok(()) => format!("{SWITCHED_OFF}; it is on again"),
                Err(error) => format!("{SWITCHED_OFF}; it cannot be switched on again: {error}"),
            });
        }
        if self.made.is_some() {
            // The process that called listen(2) last is the one that clients see, and its backlog
            // counts.
            if let Err(error) = rustix::net::listen(&self.socket, i32::MAX) {
                log.warn(&format!("cannot change the backlog of the listening socket: {error}"));
            }
        }
    }

    /// What is to be done about a broken socket that somebody else made.
    fn cure(&self) -> &'static str {
        if self.made.is_some() { "" } else { CURE }
    }

    /// Listens again if the socket file has been deleted. If that fails, the reason is logged at
    /// each call if `asked` for, else once. Returns whether there is another socket, which the
    /// worker is to have.
    pub(in crate::supervisor) fn restore_file(&mut self, log: &Log, asked: bool) -> bool {
        let Some(path) = self.lost_file() else { return false };
        let shown = path.display();
        match self.make_again(&path) {
            Ok(()) => {
                self.state = REPLACED;
                log.error(&format!("the socket file {shown} was deleted; it has been recreated"));
                return true;
            }
            Err(_) if self.state == BROKEN && !asked => {}
            Err(problem) => {
                log.error(&format!(
                    "the socket file {shown} was deleted: nobody can connect; {problem}"
                ));
            }
        }
        self.state = BROKEN;
        false
    }

    /// Whether the socket file is there, and is ours.
    pub(in crate::supervisor) fn is_in_place(&self) -> bool {
        let made = self.made.as_ref();
        made.is_some_and(|file| identity(&file.path).ok() == Some(file.identity))
    }

    /// The path of the socket file, if it was there and is not any more.
    fn lost_file(&self) -> Option<PathBuf> {
        let path = self.path().filter(|_| self.seen.is_some())?;
        let looked = std::fs::symlink_metadata(&path);
        looked.is_err_and(|error| error.kind() == ErrorKind::NotFound).then_some(path)
    }

    fn make_again(&mut self, path: &Path) -> Result<(), String> {
        let Some(file) = &mut self.made else { return Err(NOT_OURS.to_owned()) };
        // A user who deletes a directory deletes the lock too: then another broker may have
        // started.
        if !is_in_place(&file.lock.file, &file.lock.name).unwrap_or(false) {
            file.lock = lock_beside(path).map_err(|error| error.to_string())?;
        }
        let made = self.replace();
        made.map(drop).map_err(|error| format!("it cannot be recreated: {error}"))
    }
}

const SHUT_DOWN: &str = "the listening socket has been shut down: only a compromised worker can \
do that";
const SWITCHED_OFF: &str = "SO_PASSCRED of the listening socket has been switched off: only a \
compromised worker can do that";
const CURE: &str = "; the service manager still holds the broken one; to replace it, run \
systemctl stop fdbrokerd.socket; systemctl restart fdbrokerd.service, which keeps what is stored";
const NOT_OURS: &str = "only the service manager can create it again; to have that done, run \
systemctl stop fdbrokerd.socket; systemctl restart fdbrokerd.service, which keeps what is stored";
