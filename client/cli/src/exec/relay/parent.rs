//! Where the directories of relays are made: where nobody but this user and root can exchange them.
//!
//! The environment may be another user's, as after su(1) or `sudo -E`. Who owns a directory, or one above it, can
//! rename what is in it, and put another socket in its place.

use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use fdbroker::environment;
use fdbroker_types::quoted;

/// The variables that name a directory, the better one first.
const VARIABLES: [&str; 2] = ["XDG_RUNTIME_DIR", "TMPDIR"];
/// Where temporary files are if no variable says so.
const LAST: &str = "/tmp";

const ROOT: u32 = 0;
const STICKY: u32 = 0o1000;
const WRITABLE_BY_OTHERS: u32 = 0o022;

/// Returns the directories to try, in this order.
pub(super) fn candidates() -> impl Iterator<Item = PathBuf> {
    VARIABLES.into_iter().filter_map(environment::path).chain([LAST.into()])
}

/// Returns the directory's path without links.
///
/// # Errors
/// If it is no directory, or somebody else than this user and root can exchange what is in it.
pub(super) fn checked(directory: &Path, user: u32) -> io::Result<PathBuf> {
    let path = directory.canonicalize()?;
    let above: Vec<_> = path.ancestors().collect();
    // From the root on: what has been checked stays where it is.
    for directory in above.into_iter().rev() {
        if let Some(fault) = fault(&fs::symlink_metadata(directory)?, user) {
            return Err(io::Error::other(format!("{} {fault}", quoted(directory))));
        }
    }
    Ok(path)
}

fn fault(directory: &Metadata, user: u32) -> Option<String> {
    let (owner, mode) = (directory.uid(), directory.mode());
    if !directory.is_dir() {
        Some("is not a directory".to_owned())
    } else if ![ROOT, user].contains(&owner) {
        Some(format!("belongs to user {owner}, who could exchange the socket"))
    } else if mode & WRITABLE_BY_OTHERS != 0 && mode & STICKY == 0 {
        let mode = mode & 0o7777;
        Some(format!("is writable by other users (mode {mode:04o}) and not sticky"))
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;
    use std::os::unix::fs::{PermissionsExt, chown, symlink};

    use rustix::process::geteuid;

    use super::*;

    fn own() -> u32 {
        geteuid().as_raw()
    }

    fn fault_of(path: &Path) -> String {
        checked(path, own()).unwrap_err().to_string()
    }

    #[test]
    fn a_directory_that_others_can_write_to_must_be_sticky() {
        let parent = tempfile::tempdir().unwrap();
        let below = parent.path().join("below");
        fs::create_dir(&below).unwrap();
        for (mode, is_good) in
            [(0o700, true), (0o755, true), (0o1777, true), (0o777, false), (0o770, false)]
        {
            fs::set_permissions(parent.path(), Permissions::from_mode(mode)).unwrap();
            // What stands above counts as the directory itself does.
            for path in [parent.path(), &below] {
                let checked = checked(path, own());
                assert_eq!(checked.is_ok(), is_good, "{mode:o} {checked:?}");
            }
        }
        let said = fault_of(&below);
        let expected = format!("{} is writable by other users (mode 0770)", quoted(parent.path()));
        assert!(said.starts_with(&expected), "{said}");
    }

    #[test]
    fn a_directory_of_another_user_is_passed_over() {
        let parent = tempfile::tempdir().unwrap();
        let below = parent.path().join("below");
        fs::create_dir(&below).unwrap();
        let mut user = own();
        if user == ROOT {
            chown(parent.path(), Some(64105), None).unwrap();
        } else {
            user += 1;
        }
        for path in [parent.path(), &below] {
            let said = checked(path, user).unwrap_err().to_string();
            assert!(said.ends_with("who could exchange the socket"), "{said}");
        }
    }

    #[test]
    fn a_link_counts_as_the_directory_that_it_leads_to() {
        let parent = tempfile::tempdir().unwrap();
        let (open, link) = (parent.path().join("open"), parent.path().join("link"));
        fs::create_dir(&open).unwrap();
        symlink(&open, &link).unwrap();
        assert_eq!(checked(&link, own()).unwrap(), open.canonicalize().unwrap());
        fs::set_permissions(&open, Permissions::from_mode(0o777)).unwrap();
        assert!(fault_of(&link).contains("not sticky"));
        fs::write(parent.path().join("file"), "").unwrap();
        assert!(fault_of(&parent.path().join("file")).contains("is not a directory"));
        assert!(checked(&parent.path().join("missing"), own()).is_err());
    }
}
