//! Where the daemon's program is.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::place::variable;

/// The variable that names the program.
const VARIABLE: &str = "FDBROKERD";
const NAME: &str = "fdbrokerd";
/// Where it is looked for behind PATH, which often lacks the directories of daemons.
const USUAL: [&str; 4] = ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin"];

/// The daemon's program: what FDBROKERD names, else the first in PATH, else the first in the usual
/// directories. Of the environment only if that is trusted.
pub(crate) fn daemon(trusted: bool) -> Option<PathBuf> {
    let environment = |name| variable(name).filter(|_| trusted);
    if let Some(named) = environment(VARIABLE) {
        return absolute(Path::new(&named)).filter(|path| is_program(path));
    }
    let path = environment("PATH").unwrap_or_default();
    search(&path)
}

fn search(path: &OsStr) -> Option<PathBuf> {
    std::env::split_paths(path)
        .filter(|directory| directory.is_absolute())
        .chain(USUAL.map(PathBuf::from))
        .map(|directory| directory.join(NAME))
        .find(|path| is_program(path))
}

fn absolute(path: &Path) -> Option<PathBuf> {
    std::path::absolute(path).ok()
}

fn is_program(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_program_of_the_path_is_taken_and_what_cannot_be_run_is_passed_over() {
        let [text, program] = [(); 2].map(|()| tempfile::tempdir().unwrap());
        for (directory, mode) in [(&text, 0o644), (&program, 0o755)] {
            let path = directory.path().join(NAME);
            fs::write(&path, "").unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        }
        let path = std::env::join_paths([text.path(), program.path()]).unwrap();
        assert_eq!(search(&path), Some(program.path().join(NAME)));
    }
}
