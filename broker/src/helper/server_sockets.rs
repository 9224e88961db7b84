//! The Unix sockets of servers that are sent a password. The helper connects to those that the supervisor has judged, and
//! to no other that has their path by now.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::{SocketAddrUnix, sockopt};

use super::job::SocketOwners;

const ROOT: u32 = 0;

/// Those that were judged, by their paths; `None` for one that was not there.
#[derive(Default)]
pub(crate) struct ServerSockets(BTreeMap<String, Option<Judged>>);

struct Judged {
    owner: u32,
    /// With O_PATH.
    socket: OwnedFd,
}

impl ServerSockets {
    /// Those of a job, whose sockets come in the order of their paths.
    ///
    /// # Errors
    /// InvalidInput if they are not as many.
    pub(crate) fn of(owners: &SocketOwners, sockets: Vec<OwnedFd>) -> io::Result<Self> {
        if owners.values().flatten().count() != sockets.len() {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let mut sockets = sockets.into_iter();
        let judged = owners.iter().map(|(path, owner)| {
            let judged = owner.and_then(|owner| Some(Judged { owner, socket: sockets.next()? }));
            (path.clone(), judged)
        });
        Ok(Self(judged.collect()))
    }

    /// Returns what to connect to for this path.
    ///
    /// # Errors
    /// ENOENT if nothing was there to be judged; ENAMETOOLONG.
    pub(crate) fn address(&self, path: &str) -> io::Result<SocketAddrUnix> {
        let address = match self.0.get(path) {
            None => SocketAddrUnix::new(path),
            Some(None) => Err(Errno::NOENT),
            // The kernel goes from here to the socket itself, whatever has its path.
            Some(Some(Judged { socket, .. })) => {
                SocketAddrUnix::new(format!("/proc/self/fd/{}", socket.as_raw_fd()))
            }
        };
        Ok(address?)
    }

    /// Refuses a server that may not have the password: it is for the owner of the socket, and for root, who listens for
    /// services (systemd.socket(5)).
    pub(crate) fn refuse_others(&self, path: &str, connected: &OwnedFd) -> io::Result<()> {
        let Some(Some(Judged { owner, .. })) = self.0.get(path) else { return Ok(()) };
        let server = sockopt::socket_peercred(connected)?.uid.as_raw();
        if server == ROOT || server == *owner {
            return Ok(());
        }
        Err(io::Error::other(format!(
            "its server runs as user {server}, but the socket belonged to user {owner}; nothing was sent; try again, or have \
             the server run as the owner of its socket or as root"
        )))
    }
}

#[cfg(test)]
mod tests {
    use std::fs::rename;
    use std::io::ErrorKind;
    use std::os::unix::net::UnixListener;

    use rustix::fs::{CWD, Mode, OFlags, openat};
    use rustix::net::{AddressFamily, SocketType, connect, socket};

    use super::*;

    fn judged(path: &str, owner: u32) -> ServerSockets {
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let opened = openat(CWD, path, flags, Mode::empty()).unwrap();
        let owners = SocketOwners::from([(path.to_owned(), Some(owner))]);
        ServerSockets::of(&owners, vec![opened]).unwrap()
    }

    fn connected(sockets: &ServerSockets, path: &str) -> OwnedFd {
        let ours = socket(AddressFamily::UNIX, SocketType::STREAM, None).unwrap();
        connect(&ours, &sockets.address(path).unwrap()).unwrap();
        ours
    }

    #[test]
    fn what_is_connected_to_is_what_was_judged_and_not_what_has_its_path_by_now() {
        let directory = tempfile::tempdir().unwrap();
        let [path, other] = ["server", "other"]
            .map(|name| directory.path().join(name).to_str().unwrap().to_owned());
        let [judgeds, others] = [&path, &other].map(|path| UnixListener::bind(path).unwrap());
        let sockets = judged(&path, ROOT);
        rename(&other, &path).unwrap();
        connected(&sockets, &path);
        judgeds.accept().unwrap();
        others.set_nonblocking(true).unwrap();
        assert_eq!(others.accept().unwrap_err().kind(), ErrorKind::WouldBlock);
        connected(&ServerSockets::default(), &path);
        others.accept().unwrap();
    }

    #[test]
    fn what_was_not_there_is_not_connected_to() {
        let path = "/run/server".to_owned();
        let none = ServerSockets::of(&SocketOwners::from([(path.clone(), None)]), vec![]).unwrap();
        assert_eq!(none.address(&path).unwrap_err().kind(), ErrorKind::NotFound);
        assert!(ServerSockets::of(&SocketOwners::from([(path, Some(7))]), vec![]).is_err());
    }

    #[test]
    fn the_server_of_a_socket_is_its_owner_or_root() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("server").to_str().unwrap().to_owned();
        let (_server, own) = (UnixListener::bind(&path), rustix::process::geteuid().as_raw());
        let refused = |owner| {
            let sockets = judged(&path, owner);
            sockets.refuse_others(&path, &connected(&sockets, &path)).is_err()
        };
        assert!(!refused(own));
        assert_eq!(refused(own + 1), own != ROOT);
    }
}
