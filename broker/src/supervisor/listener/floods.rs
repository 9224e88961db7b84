//! Keeps users from connecting who flood the socket, by the access control list of its file.

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, ErrorKind};
use std::os::fd::{AsFd, OwnedFd};
use std::time::Instant;

use fdbroker_policy::Uid;
use rustix::fs::{Mode, OFlags, fstat, open};
use rustix::process::geteuid;

use super::Listener;
use super::acl::Acl;
use super::shut_out::{Added, ShutOut};
use crate::log::Log;
use crate::payer::Payer;

impl Listener {
    /// Keeps a user from connecting for a while, who floods the socket.
    pub(in crate::supervisor) fn shut_out(&mut self, user: Uid, payer: Payer, log: &Log) {
        // An entry keeps out neither root nor the file's owner.
        if user == Uid(0) || user.0 == geteuid().as_raw() {
            return;
        }
        let long = match self.shut_out.add(user, payer, Instant::now()) {
            Added::For(long) => long,
            Added::Already => return,
            Added::GoesOn => return log.warn(&format!("{} {GOES_ON}", flood_of(user))),
            Added::TooMany => return log.warn(&format!("{} {TOO_MANY}", flood_of(user))),
        };
        if let Err(reason) = self.write_with(user) {
            self.shut_out.give_up(user);
            // The others stay out. Where no entry can be made at all, nobody is.
            let _ = self.write_shut_out();
            return log
                .warn(&format!("{} it cannot be kept from connecting: {reason}", flood_of(user)));
        }
        let seconds = long.as_secs();
        log.warn(&format!("{} it cannot connect for {seconds} s", flood_of(user)));
    }

    /// Makes an entry for a user, beside those of others.
    fn write_with(&mut self, user: Uid) -> Result<(), String> {
        if user == Uid::OVERFLOW && !all_users_have_numbers() {
            return Err(NO_NUMBER.to_owned());
        }
        self.write_shut_out().map_err(|error| {
            format!("the access control list of the socket file cannot be written: {error}")
        })?;
        if self.shut_out.written.contains(&user) { Ok(()) } else { Err(NAMED.to_owned()) }
    }

    /// Lets those in again whose time is up, and keeps the others out, also if the file is another one by now.
    pub(in crate::supervisor) fn let_in(&mut self, log: &Log) {
        let nobody = self.shut_out.now_out(Instant::now()).is_empty();
        if nobody && self.shut_out.written.is_empty() {
            return;
        }
        if let Err(error) = self.write_shut_out() {
            // Once, unless there is another one: nobody is said to be out from here on.
            if !std::mem::take(&mut self.shut_out.written).is_empty() {
                log.warn(&format!(
                    "the access control list of the socket file cannot be written: {error}; see in it \
                     who cannot connect (getfacl)"
                ));
            }
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
        let file = self.own_file()?;
        let (now, out) = (Acl::of(file.as_fd())?, self.shut_out.now_out(Instant::now()));
        let then = now.shutting_out(&out);
        if now != then {
            then.apply(file.as_fd())?;
        }
        self.shut_out.written = out.into_iter().filter(|user| then.shuts_out(*user)).collect();
        Ok(())
    }

    /// The socket's file, if it is still the one that was there at first. Opened, so that it stays that one.
    fn own_file(&self) -> io::Result<OwnedFd> {
        let path = self.path().ok_or(ErrorKind::AddrNotAvailable)?;
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = open(path, flags, Mode::empty())?;
        let found = fstat(&file)?;
        if Some((found.st_dev, found.st_ino)) == self.seen {
            Ok(file)
        } else {
            Err(ErrorKind::AlreadyExists.into())
        }
    }
}

fn flood_of(user: Uid) -> String {
    format!(
        "hundreds of connections of user {user}, and of others who count as the same user, came to nothing in a second: \
         they left them, or were at a limit;"
    )
}

/// Whether the overflow user is just one user: every user has a number here, see user_namespaces(7).
fn all_users_have_numbers() -> bool {
    let map = fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
    map.split_whitespace().eq(["0", "0", "4294967295"])
}

const GOES_ON: &str = "it is kept from connecting and connects all the same, with another file-system user id \
(setfsuid(2)); end its processes";
const TOO_MANY: &str = "too many users are kept from connecting to keep out one more";
const NO_NUMBER: &str =
    "it stands for all users that have no number in the broker's user namespace";
const NAMED: &str = "the access control list of the socket file has an entry of its own for it";
