//! A socket file that was deleted while the broker runs: nobody can connect any more, and nothing
//! else tells. One look at the path (lstat) with each beat and each SIGHUP finds it.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use super::{BROKEN, Listener, REPLACED, is_in_place, lock_beside};
use crate::log::Log;

impl Listener {
    /// Listens anew if the socket file has been deleted, or says why not: at each call if `asked` for,
    /// else once. Returns whether there is another socket, which the worker is to have.
    pub(in crate::supervisor) fn restore_file(&mut self, log: &Log, asked: bool) -> bool {
        let Some(path) = self.lost_file() else { return false };
        let shown = path.display();
        match self.make_again(&path) {
            Ok(()) => {
                self.state = REPLACED;
                log.error(&format!("the socket file {shown} was deleted; it has been made again"));
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

    /// The path of the socket file, if it was there and is not any more.
    fn lost_file(&self) -> Option<PathBuf> {
        let path = self.path().filter(|_| self.visible)?;
        let looked = std::fs::symlink_metadata(&path);
        looked.is_err_and(|error| error.kind() == ErrorKind::NotFound).then_some(path)
    }

    fn make_again(&mut self, path: &Path) -> Result<(), String> {
        let Some(file) = &mut self.made else { return Err(NOT_OURS.to_owned()) };
        // Whoever deletes a directory deletes the lock too: then another broker may have come.
        if !is_in_place(&file.lock.file, &file.lock.name).unwrap_or(false) {
            file.lock = lock_beside(path).map_err(|error| error.to_string())?;
        }
        let made = self.replace();
        made.map(drop).map_err(|error| format!("it cannot be made again: {error}"))
    }
}

const NOT_OURS: &str = "the service manager made it and has to make it again: at the next occasion, stop \
     the broker and restart its socket unit (systemctl stop fdbrokerd.service; systemctl restart \
     fdbrokerd.socket), which empties the slots";
