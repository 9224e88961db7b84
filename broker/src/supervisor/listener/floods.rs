//! Keeps users from connecting who flood the socket, by the access control list of its file.

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, ErrorKind};
use std::os::unix::fs::FileTypeExt;
use std::path::PathBuf;
use std::time::Instant;

use fdbroker_policy::Uid;
use rustix::process::geteuid;

use super::acl::Acl;
use super::shut_out::ShutOut;
use super::{Listener, identity};
use crate::log::Log;

impl Listener {
    /// Keeps a user from connecting for a while, who floods the socket.
    pub(in crate::supervisor) fn shut_out(&mut self, user: Uid, log: &Log) {
        // No other user can connect to an ordinary user's broker, and nothing keeps out root.
        if !geteuid().is_root() || user == Uid(0) {
            return;
        }
        let Some(long) = self.shut_out.add(user, Instant::now()) else { return };
        match self.write_shut_out() {
            Ok(()) => log.warn(&format!(
                "user {user} connects and leaves hundreds of times a second: it cannot connect for {} s",
                long.as_secs()
            )),
            Err(error) => self.cannot_shut_out(&error, log),
        }
    }

    /// Lets those in again whose time is up.
    pub(in crate::supervisor) fn let_in(&mut self, log: &Log) {
        if self.shut_out.written == self.shut_out.now_out(Instant::now()) {
            return;
        }
        if let Err(error) = self.write_shut_out() {
            self.cannot_shut_out(&error, log);
        }
    }

    /// Lets everybody in again, also whom an earlier broker shut out.
    pub(in crate::supervisor) fn let_all_in(&mut self) {
        self.shut_out = ShutOut::default();
        // Where there is no list, nobody is in it.
        let _ = self.write_shut_out();
    }

    /// Who is shut out now, for the status.
    pub(in crate::supervisor) fn shut_out_now(&self) -> &BTreeSet<Uid> {
        &self.shut_out.written
    }

    fn write_shut_out(&mut self) -> io::Result<()> {
        let path = self.own_file()?;
        let (now, out) = (Acl::of(&path)?, self.shut_out.now_out(Instant::now()));
        let then = now.shutting_out(&out);
        if now != then {
            then.apply(&path)?;
        }
        self.shut_out.written = out;
        Ok(())
    }

    /// The path of the socket's file, if that is still the file there. Of a socket that was passed in only the
    /// name is known, and another mount namespace can have something else there.
    fn own_file(&self) -> io::Result<PathBuf> {
        let path = self.path().filter(|_| self.visible).ok_or(ErrorKind::AddrNotAvailable)?;
        let ours = match &self.made {
            Some(file) => identity(&path)? == file.identity,
            None => fs::symlink_metadata(&path)?.file_type().is_socket(),
        };
        if ours { Ok(path) } else { Err(ErrorKind::AlreadyExists.into()) }
    }

    fn cannot_shut_out(&mut self, error: &io::Error, log: &Log) {
        if !std::mem::replace(&mut self.shut_out.told, true) {
            log.warn(&format!(
                "a user who connects and leaves hundreds of times a second cannot be kept from \
                 connecting: the access control list of the socket file cannot be written: {error}"
            ));
        }
    }
}
