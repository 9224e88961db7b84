//! What `check` says of the Unix sockets of servers: where any user could put one that is sent the password.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use fdbroker_policy::{Policy, ServerAddress, Source};
use fdbroker_types::quoted;

use crate::notes::note;

/// The mode of a directory that any user may write. A group is not looked at: servers keep sockets in directories
/// of their own group.
const OTHERS_WRITE: u32 = 0o002;
const STICKY: u32 = 0o1000;

/// Prints a note for each socket that is sent a password and that another user could have made.
pub(crate) fn note_open_directories(shown: &str, policy: &Policy) {
    for resource in policy.resources() {
        let Source::Connect(connect) = &resource.source else { continue };
        if connect.password().is_none() {
            continue;
        }
        for address in &connect.addresses {
            let ServerAddress::Unix(path) = address else { continue };
            if let Some(directory) = open_directory(Path::new(path)) {
                note(
                    shown,
                    resource,
                    format_args!(
                        "{}: any user may write {}, and a socket that one makes there first is sent the \
                         password; move it where only the server's user may write",
                        quoted(path),
                        quoted(&*directory.to_string_lossy())
                    ),
                );
            }
        }
    }
}

/// Returns the directory in which another user can make this socket, or a directory on the way to it.
fn open_directory(path: &Path) -> Option<PathBuf> {
    let mut below = path;
    for directory in path.ancestors().skip(1) {
        if directory.metadata().is_ok_and(|found| others_may_make(&found, below, path)) {
            return Some(directory.to_owned());
        }
        below = directory;
    }
    None
}

/// Whether others may make what is to be in the directory, or exchange it. A sticky directory keeps what is in it. A
/// server that is restarted makes its socket again, so the socket itself is not kept.
fn others_may_make(directory: &Metadata, below: &Path, socket: &Path) -> bool {
    let is_kept = directory.mode() & STICKY != 0 && below != socket && below.exists();
    directory.mode() & OTHERS_WRITE != 0 && !is_kept
}

#[cfg(test)]
mod tests {
    use std::fs::{Permissions, create_dir, set_permissions};
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    /// The directory that is found, by its name below the first, where these have these modes.
    fn found(first: u32, second: u32) -> Option<String> {
        let root = tempfile::tempdir().unwrap();
        let top = root.path().join("first");
        let inner = top.join("second");
        for (directory, mode) in [(&top, first), (&inner, second)] {
            create_dir(directory).unwrap();
            set_permissions(directory, Permissions::from_mode(mode)).unwrap();
        }
        let found = open_directory(&inner.join("socket"))?;
        Some(found.file_name().unwrap().to_string_lossy().into_owned())
    }

    #[test]
    fn a_directory_that_any_user_may_write_is_found() {
        assert_eq!(found(0o755, 0o755), None);
        assert_eq!(found(0o755, 0o2775), None, "as PostgreSQL's");
        assert_eq!(found(0o1777, 0o755), None, "what is there stays");
        assert_eq!(found(0o755, 0o1777).as_deref(), Some("second"));
        assert_eq!(found(0o777, 0o755).as_deref(), Some("first"));
        let root = tempfile::tempdir().unwrap();
        set_permissions(root.path(), Permissions::from_mode(0o1777)).unwrap();
        let missing = open_directory(&root.path().join("missing/socket"));
        assert_eq!(missing.as_deref(), Some(root.path()));
    }
}
