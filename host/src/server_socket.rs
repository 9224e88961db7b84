//! Whether the Unix socket of a server is safe from others: the broker sends a password to the process that listens there.
//!
//! Each directory on the way is judged, as the path is written and as its links lead. Root, the owner of the socket and the
//! broker's own user may exchange what is there.

use std::fmt;
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use fdbroker_policy::Uid;
use fdbroker_types::quoted;

/// A directory in which somebody else can make the socket, or on the way to it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SocketFault {
    directory: PathBuf,
    problem: Problem,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Problem {
    AnyUser,
    Group(u32),
    Owner(u32),
}

/// A socket that is looked at.
struct Socket<'a> {
    path: &'a Path,
    own: Uid,
    /// What is there, if something is.
    found: Option<Metadata>,
}

const OTHERS_WRITE: u32 = 0o002;
const GROUP_WRITES: u32 = 0o020;
const STICKY: u32 = 0o1000;

/// Returns why the socket at this absolute path is not to be sent a password by the broker of the user `own`: others
/// could have made it, or could exchange it.
#[must_use]
pub fn server_socket_fault(path: &Path, own: Uid) -> Option<SocketFault> {
    let found = path.metadata().ok();
    let fault = |path: &Path| Socket { path, own, found: found.clone() }.fault();
    fault(path).or_else(|| {
        let directory = path.parent()?.canonicalize().ok()?;
        fault(&directory.join(path.file_name()?))
    })
}

impl Socket<'_> {
    fn fault(&self) -> Option<SocketFault> {
        let ways = self.path.ancestors().skip(1).zip(self.path.ancestors());
        ways.into_iter().find_map(|(directory, below)| {
            // What is not there leads nowhere.
            let problem = self.problem(&directory.metadata().ok()?, below)?;
            Some(SocketFault { directory: directory.to_owned(), problem })
        })
    }

    fn problem(&self, directory: &Metadata, below: &Path) -> Option<Problem> {
        let (mode, uid, gid) = (directory.mode(), directory.uid(), directory.gid());
        let is_kept = self.is_kept(mode, below);
        if mode & OTHERS_WRITE != 0 && !is_kept {
            return Some(Problem::AnyUser);
        }
        let found = self.found.as_ref()?;
        if ![Uid::ROOT.0, self.own.0, found.uid()].contains(&uid) {
            return Some(Problem::Owner(uid));
        }
        // Servers keep sockets in directories of their own group.
        let is_servers = [0, found.gid()].contains(&gid);
        (mode & GROUP_WRITES != 0 && !is_kept && !is_servers).then_some(Problem::Group(gid))
    }

    /// Whether a sticky directory keeps what is in it. A server that is restarted makes its socket again, so the socket
    /// itself is not kept.
    fn is_kept(&self, mode: u32, below: &Path) -> bool {
        mode & STICKY != 0 && below != self.path && below.symlink_metadata().is_ok()
    }
}

impl fmt::Display for SocketFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let directory = quoted(&self.directory);
        match self.problem {
            Problem::AnyUser => write!(
                f,
                "any user may write {directory}, and a socket that one makes there first is sent the \
                 password; move it where only the server's user may write"
            ),
            Problem::Group(gid) => write!(
                f,
                "the group {gid} may write {directory}, and a socket that a member makes there is sent \
                 the password; chmod g-w, or give the directory the group of the socket"
            ),
            Problem::Owner(uid) => write!(
                f,
                "{directory} belongs to user {uid}, who can exchange the socket, which is sent the \
                 password; change its owner to root or to the user of the server"
            ),
        }
    }
}

impl std::error::Error for SocketFault {}

#[cfg(test)]
mod tests {
    use std::fs::{Permissions, create_dir, set_permissions};
    use std::os::unix::fs::{PermissionsExt, chown, symlink};
    use std::os::unix::net::UnixListener;

    use super::*;

    /// Two directories with these modes, and maybe a socket in the inner one.
    struct Site(tempfile::TempDir);

    impl Site {
        fn new(first: u32, second: u32) -> Self {
            let site = Self(tempfile::tempdir().unwrap());
            for (directory, mode) in [(site.at("first"), first), (site.at("first/second"), second)]
            {
                create_dir(&directory).unwrap();
                set_permissions(&directory, Permissions::from_mode(mode)).unwrap();
            }
            site
        }

        fn at(&self, name: &str) -> PathBuf {
            self.0.path().join(name)
        }

        fn fault(&self, socket: &str) -> Option<(String, Problem)> {
            let own = Uid(rustix::process::geteuid().as_raw());
            let fault = server_socket_fault(&self.at(socket), own)?;
            let name = fault.directory.file_name().unwrap().to_string_lossy().into_owned();
            Some((name, fault.problem))
        }
    }

    #[test]
    fn a_directory_that_any_user_may_write_is_found() {
        let fault = |first, second| Site::new(first, second).fault("first/second/socket");
        let any = |name: &str| Some((name.to_owned(), Problem::AnyUser));
        assert_eq!(fault(0o755, 0o755), None);
        assert_eq!(fault(0o1777, 0o755), None, "what is there stays");
        assert_eq!(fault(0o755, 0o1777), any("second"));
        assert_eq!(fault(0o777, 0o755), any("first"));
        assert_eq!(Site::new(0o1777, 0o755).fault("first/missing/socket"), any("first"));
    }

    #[test]
    fn a_link_is_judged_where_it_is_and_where_it_leads() {
        let site = Site::new(0o755, 0o777);
        symlink(site.at("first/second"), site.at("first/link")).unwrap();
        assert_eq!(site.fault("first/link/socket"), Some(("link".to_owned(), Problem::AnyUser)));
        symlink(site.at("first"), site.at("first/second/back")).unwrap();
        let through = site.fault("first/second/back/socket");
        assert_eq!(through, Some(("second".to_owned(), Problem::AnyUser)));
    }

    #[test]
    fn root_and_the_owner_of_the_socket_may_exchange_it_and_nobody_else() {
        if rustix::process::geteuid().as_raw() != 0 {
            println!("skipped: only root can make directories of others");
            return;
        }
        let site = Site::new(0o755, 0o2775);
        let (directory, socket) = (site.at("first/second"), site.at("first/second/socket"));
        let _server = UnixListener::bind(&socket).unwrap();
        let own = |path: &Path, uid, gid| chown(path, Some(uid), Some(gid)).unwrap();
        for (directories, sockets, expected) in [
            ([64111, 64112], [64111, 64112], None),
            ([0, 0], [64111, 64112], None),
            ([64113, 64112], [64111, 64112], Some(Problem::Owner(64113))),
            ([64111, 64114], [64111, 64112], Some(Problem::Group(64114))),
        ] {
            own(&directory, directories[0], directories[1]);
            set_permissions(&directory, Permissions::from_mode(0o2775)).unwrap();
            own(&socket, sockets[0], sockets[1]);
            let found = site.fault("first/second/socket").map(|(_, problem)| problem);
            assert_eq!(found, expected, "{directories:?} {sockets:?}");
        }
    }
}
