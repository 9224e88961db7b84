//! Whether the Unix socket of a server is safe from others: the broker sends a password to the process that listens there.
//!
//! Each directory and each link on the way is judged. Root and the broker's own user may exchange what is there, and so
//! may the owner of the socket if it is a system account. An ordinary user may not: a user who can exchange the socket
//! is its owner afterwards.

mod acl;
mod way;

use std::fmt;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use fdbroker_policy::{Account, Uid};
use fdbroker_types::quoted;
use rustix::fs::Stat;
use rustix::io::Errno;

use crate::account::account;
use way::{Place, way};

/// A directory in which somebody else can make the socket, or on the way to it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SocketFault {
    place: PathBuf,
    problem: Problem,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Problem {
    AnyUser,
    User(u32),
    Group(u32),
    Owner(u32),
    Unreadable(Errno),
}

/// The Unix socket of a server, as it was judged. What is connected to must be this one: by its path, another can be
/// found by then.
#[derive(Debug)]
pub struct ServerSocket {
    /// Who owns it. Its server is root or this user.
    pub owner: Uid,
    /// The socket itself, opened with O_PATH.
    pub socket: OwnedFd,
}

/// Whom to trust on the way.
struct Judge {
    own: Uid,
    /// The owner of the socket, if there is one.
    owner: Option<Uid>,
}

/// User ids below are those of services (SYS_UID_MAX in login.defs(5)).
const FIRST_ORDINARY_USER: u32 = 1000;
const OTHERS_WRITE: u32 = 0o002;

/// Returns the socket at this absolute path, or `None` if it is not there.
///
/// # Errors
/// Why the broker of the user `own` is to send no password there: others could have made the socket, or could exchange it.
pub fn server_socket(path: &Path, own: Uid) -> Result<Option<ServerSocket>, SocketFault> {
    let unreadable = |(place, errno)| SocketFault { place, problem: Problem::Unreadable(errno) };
    let way = way(path).map_err(unreadable)?;
    let socket = way.socket.map(|(socket, stat)| ServerSocket { owner: Uid(stat.st_uid), socket });
    let judge = Judge { own, owner: socket.as_ref().map(|socket| socket.owner) };
    let fault = way.places.into_iter().rev().find_map(|place| {
        let problem = judge.problem(&place)?;
        Some(SocketFault { place: place.path, problem })
    });
    fault.map_or(Ok(socket), Err)
}

impl Judge {
    fn problem(&self, Place { stat, writers, .. }: &Place) -> Option<Problem> {
        let open = writers.as_ref().and_then(|writers| {
            if stat.st_mode & OTHERS_WRITE != 0 {
                return Some(Problem::AnyUser);
            }
            let user = writers.users.iter().find(|uid| !self.trusts(**uid));
            let group = || writers.groups.iter().find(|gid| !self.trusts_group(**gid));
            user.map(|uid| Problem::User(*uid)).or_else(|| group().map(|gid| Problem::Group(*gid)))
        });
        open.or_else(|| self.owner_problem(stat))
    }

    fn owner_problem(&self, stat: &Stat) -> Option<Problem> {
        (!self.trusts(stat.st_uid)).then_some(Problem::Owner(stat.st_uid))
    }

    fn trusts(&self, uid: u32) -> bool {
        let is_server = uid < FIRST_ORDINARY_USER && self.owner.is_none_or(|owner| owner.0 == uid);
        [Uid::ROOT.0, self.own.0].contains(&uid) || is_server
    }

    /// Servers keep sockets in directories of their own group. A member who exchanges the socket is its owner afterwards,
    /// so nothing is told of groups while there is no socket.
    fn trusts_group(&self, gid: u32) -> bool {
        let Some(owner) = self.owner else { return true };
        let is_of =
            |owner: Uid| account(&Account::Number(owner)).is_ok_and(|user| user.gid.0 == gid);
        gid == 0 || self.trusts(owner.0) && is_of(owner)
    }
}

impl fmt::Display for SocketFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let place = quoted(&self.place);
        match self.problem {
            Problem::AnyUser => write!(
                f,
                "any user may write {place}, and a socket that one makes there first is sent the \
                 password; move it where only the server's user may write"
            ),
            Problem::User(uid) => write!(
                f,
                "user {uid} may write {place} by its access control list, and a socket that this user makes \
                 there is sent the password; remove the entry (`setfacl -x u:{uid}`)"
            ),
            Problem::Group(gid) => write!(
                f,
                "the group {gid} may write {place}, and a socket that a member makes there is sent \
                 the password; chmod g-w, or change its group to the primary group of a system account that owns the \
                 socket; of an access control list, remove the entry (`setfacl -x g:{gid}`)"
            ),
            Problem::Owner(uid) => write!(
                f,
                "{place} belongs to user {uid}, who can exchange the socket, which is sent the \
                 password; change its owner to root, or to the server's user if that is a system account (below \
                 {FIRST_ORDINARY_USER})"
            ),
            Problem::Unreadable(errno) => write!(
                f,
                "{place} cannot be looked at, so nobody knows who can exchange the socket, which is sent the \
                 password: {errno}; correct the path, or let the broker search the directory"
            ),
        }
    }
}

impl std::error::Error for SocketFault {}
