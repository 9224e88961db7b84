//! Whether a program is safe from others: the broker starts it, and it gets a password.
//!
//! The path is looked at from the root on, and has no symbolic link. What has been looked at stays where it is: its
//! owner alone, or root, can exchange what is below.

use std::fmt;
use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use fdbroker_policy::Uid;
use fdbroker_types::quoted;

/// What is wrong with a program, or with a directory above it.
#[derive(Debug)]
pub struct ProgramFault {
    path: PathBuf,
    problem: Problem,
}

#[derive(Debug)]
enum Problem {
    Unreadable(io::Error),
    Link,
    NotADirectory,
    NotAFile,
    NotExecutable(u32),
    Owner(Uid),
    Writable(u32),
}

/// Who may write beside the owner.
const OTHERS_WRITE: u32 = 0o022;
const STICKY: u32 = 0o1000;
/// Who may execute it.
const EXECUTE: u32 = 0o111;

/// Returns why the program at this absolute path is not to be started: it is not there, or somebody else than
/// root and `owner` could exchange it. `None` if it can be started.
#[must_use]
pub fn program_fault(path: &Path, owner: Uid) -> Option<ProgramFault> {
    let above: Vec<_> = path.ancestors().skip(1).collect();
    let mut above = above.into_iter().rev();
    above
        .find_map(|directory| fault(directory, owner, directory_problem))
        .or_else(|| fault(path, owner, file_problem))
}

fn fault(
    path: &Path,
    owner: Uid,
    problem: impl Fn(&Metadata) -> Option<Problem>,
) -> Option<ProgramFault> {
    let problem = match fs::symlink_metadata(path) {
        Err(error) => Some(Problem::Unreadable(error)),
        Ok(found) if found.is_symlink() => Some(Problem::Link),
        Ok(found) => problem(&found).or_else(|| owner_problem(&found, owner)),
    };
    problem.map(|problem| ProgramFault { path: path.to_owned(), problem })
}

fn directory_problem(found: &Metadata) -> Option<Problem> {
    let mode = found.mode() & 0o7777;
    if !found.is_dir() {
        return Some(Problem::NotADirectory);
    }
    // In a sticky directory others can add entries, and exchange none of somebody else.
    (mode & OTHERS_WRITE != 0 && mode & STICKY == 0).then_some(Problem::Writable(mode))
}

fn file_problem(found: &Metadata) -> Option<Problem> {
    let mode = found.mode() & 0o7777;
    if !found.is_file() {
        return Some(Problem::NotAFile);
    }
    if mode & EXECUTE == 0 {
        return Some(Problem::NotExecutable(mode));
    }
    (mode & OTHERS_WRITE != 0).then_some(Problem::Writable(mode))
}

fn owner_problem(found: &Metadata, owner: Uid) -> Option<Problem> {
    let uid = Uid(found.uid());
    (![Uid::ROOT, owner].contains(&uid)).then_some(Problem::Owner(uid))
}

impl fmt::Display for ProgramFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = quoted(&self.path);
        match &self.problem {
            Problem::Unreadable(error) => write!(f, "{path} cannot be looked at: {error}"),
            Problem::Link => {
                write!(f, "{path} is a symbolic link: write the path without it")
            }
            Problem::NotADirectory => write!(f, "{path} is not a directory"),
            Problem::NotAFile => write!(f, "{path} is not a regular file"),
            Problem::NotExecutable(mode) => {
                write!(f, "{path} is not executable (mode {mode:04o}): chmod +x")
            }
            Problem::Owner(uid) => write!(
                f,
                "{path} belongs to user {}, who could exchange the program: chown root",
                uid.0
            ),
            Problem::Writable(mode) => write!(
                f,
                "{path} is writable by others than its owner (mode {mode:04o}): chmod go-w"
            ),
        }
    }
}

impl std::error::Error for ProgramFault {}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;
    use std::os::unix::fs::{PermissionsExt, chown, symlink};

    use super::*;

    fn own() -> Uid {
        Uid(rustix::process::geteuid().as_raw())
    }

    struct Place(tempfile::TempDir);

    impl Place {
        fn new() -> Self {
            let place = Self(tempfile::tempdir().unwrap());
            fs::create_dir(place.0.path().join("below")).unwrap();
            fs::write(place.program(), "").unwrap();
            place.mode("below/program", 0o755);
            place
        }

        fn program(&self) -> PathBuf {
            self.0.path().canonicalize().unwrap().join("below/program")
        }

        fn mode(&self, name: &str, mode: u32) {
            fs::set_permissions(self.0.path().join(name), Permissions::from_mode(mode)).unwrap();
        }

        fn said(&self) -> String {
            program_fault(&self.program(), own()).map_or(String::new(), |fault| fault.to_string())
        }
    }

    #[test]
    fn a_program_that_only_its_owner_can_exchange_is_started() {
        assert_eq!(Place::new().said(), "");
    }

    #[test]
    fn a_program_that_others_can_exchange_is_not_started() {
        let place = Place::new();
        for (name, mode, expected) in [
            ("below/program", 0o775, "program\" is writable by others"),
            ("below/program", 0o644, "program\" is not executable (mode 0644)"),
            ("below", 0o777, "below\" is writable by others than its owner (mode 0777)"),
            ("below", 0o1777, ""),
        ] {
            place.mode(name, mode);
            assert!(
                place.said().contains(expected) && place.said().is_empty() == expected.is_empty()
            );
            place.mode(name, 0o755);
        }
        if own() == Uid::ROOT {
            chown(place.0.path().join("below"), Some(64106), None).unwrap();
            assert!(place.said().contains("belongs to user 64106"), "{}", place.said());
        }
    }

    #[test]
    fn a_way_by_a_link_and_what_is_no_program_is_refused() {
        let place = Place::new();
        let link = place.0.path().join("link");
        symlink(place.0.path().join("below"), &link).unwrap();
        let through = place.0.path().canonicalize().unwrap().join("link/program");
        let said = |path: &Path| program_fault(path, own()).unwrap().to_string();
        assert!(said(&through).contains("link\" is a symbolic link"));
        let program = place.program();
        assert!(said(&program.join("x")).contains("is not a directory"));
        assert!(said(program.parent().unwrap()).contains("is not a regular file"));
        assert!(said(&program.with_extension("x")).contains("cannot be looked at"));
    }
}
