//! Which socket is meant.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use crate::errno::Errno;

/// The variable that names the socket where `escrow_init` is not given a path.
const VARIABLE: &str = "ESCROW_PATH";
/// The longest path of a Unix socket, see unix(7).
const LONGEST: usize = 107;

/// The socket that is meant: the path given, else what ESCROW_PATH names, else where a broker is
/// expected. A program that runs with more rights than its caller takes nothing from the
/// environment, and has to say.
pub(crate) fn socket(given: Option<PathBuf>, trusted: bool) -> Result<PathBuf, Errno> {
    let path = match given {
        Some(path) => path,
        None if !trusted => return Err(Errno::INVAL),
        None => variable(VARIABLE).map_or_else(fdbroker::default_socket, PathBuf::from),
    };
    match path.as_os_str().is_empty() {
        true => Err(Errno::INVAL),
        false => Ok(lasting(path)),
    }
}

/// A variable of the environment that is set to something.
pub(crate) fn variable(name: &str) -> Option<OsString> {
    std::env::var_os(name).filter(|value| !value.is_empty())
}

/// The same path for a program that changes its directory, if there is room for that.
fn lasting(path: PathBuf) -> PathBuf {
    match std::path::absolute(&path) {
        Ok(absolute) if fits(&absolute) => absolute,
        _ => path,
    }
}

fn fits(path: &Path) -> bool {
    path.as_os_str().len() <= LONGEST
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_relative_path_stays_the_same_place_after_chdir() {
        let found = socket(Some("usock".into()), true).unwrap();
        assert_eq!(found, std::env::current_dir().unwrap().join("usock"));
    }

    #[test]
    fn an_empty_path_is_no_place() {
        assert_eq!(socket(Some(PathBuf::new()), true), Err(Errno::INVAL));
    }

    #[test]
    fn a_privileged_program_has_to_name_its_socket() {
        assert_eq!(socket(None, false), Err(Errno::INVAL));
    }
}
