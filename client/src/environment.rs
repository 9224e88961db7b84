//! Whether the environment is the program's own. A program with set-user-ID, or with capabilities of its file, runs
//! with more rights than the caller who chose its environment.

use std::env;
use std::fs;
use std::path::PathBuf;

use rustix::process::{getegid, geteuid, getgid, getuid};
use rustix::thread::capabilities;

/// Returns what a variable is set to, as a path; `None` if it is not set, is empty, or is not the program's own.
pub fn path(name: &str) -> Option<PathBuf> {
    let value = env::var_os(name).filter(|value| !value.is_empty())?;
    (!is_foreign()).then(|| value.into())
}

/// Whether a caller with fewer rights chose the environment, as secure_getenv(3) judges.
fn is_foreign() -> bool {
    if getuid() != geteuid() || getgid() != getegid() {
        return true;
    }
    match fs::read("/proc/self/auxv") {
        Ok(vector) => is_secure(&vector),
        // Not ours to read where this process is not dumpable, as one with file capabilities is not.
        Err(_) => {
            !geteuid().is_root() && capabilities(None).is_ok_and(|sets| !sets.permitted.is_empty())
        }
    }
}

const AT_SECURE: usize = 23;
const WORD: usize = size_of::<usize>();

/// Whether AT_SECURE is set in an auxiliary vector, see getauxval(3).
fn is_secure(vector: &[u8]) -> bool {
    let word = |bytes: &[u8]| bytes.try_into().ok().map(usize::from_ne_bytes);
    vector.chunks_exact(2 * WORD).any(|entry| {
        let (name, value) = entry.split_at(WORD);
        word(name) == Some(AT_SECURE) && word(value) != Some(0)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_auxiliary_vector_says_whose_the_environment_is() {
        let vector = |secure: usize| {
            [6, 4096, AT_SECURE, secure, 0, 0]
                .iter()
                .flat_map(|word: &usize| word.to_ne_bytes())
                .collect::<Vec<_>>()
        };
        assert!(is_secure(&vector(1)));
        assert!(!is_secure(&vector(0)));
        assert!(!is_secure(&[]));
    }
}
