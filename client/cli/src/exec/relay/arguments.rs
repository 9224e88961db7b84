//! The arguments of the program: `{}` in them stands for the path of a relay's socket, and `{PREFIX}` for that of a
//! relay with a prefix.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;

use crate::failure::Failure;

/// What stands for a path, and the path.
#[derive(Default, Debug)]
pub(super) struct Paths(Vec<(String, PathBuf)>);

impl Paths {
    /// Adds the socket of a relay with this prefix.
    pub(super) fn add(&mut self, prefix: &str, socket: PathBuf) {
        self.0.push((mark(prefix), socket));
    }

    /// Returns the arguments with the paths in them.
    pub(super) fn fill(&self, arguments: &[OsString]) -> Result<Vec<OsString>, Failure> {
        arguments.iter().map(|argument| self.fill_one(argument)).collect()
    }

    fn fill_one(&self, argument: &OsStr) -> Result<OsString, Failure> {
        let mut filled = argument.as_bytes().to_vec();
        for (at, (mark, socket)) in self.0.iter().enumerate() {
            let Some(new) = replaced(&filled, mark.as_bytes(), socket.as_os_str().as_bytes())
            else {
                continue;
            };
            if self.0.iter().enumerate().any(|(other, (name, _))| other != at && name == mark) {
                return Err(Failure::Usage(format!(
                    "exec: {mark} could be the socket of two relays; name a prefix: SLOT=redis:PREFIX and {{PREFIX}}"
                )));
            }
            filled = new;
        }
        Ok(OsString::from_vec(filled))
    }
}

/// Returns what stands for the socket of a relay with this prefix.
pub(super) fn mark(prefix: &str) -> String {
    format!("{{{prefix}}}")
}

/// Returns whether a mark stands in an argument.
pub(super) fn has(argument: &OsStr, mark: &str) -> bool {
    argument.as_bytes().windows(mark.len()).any(|part| part == mark.as_bytes())
}

/// The text with each mark replaced; `None` if there is none.
fn replaced(mut text: &[u8], mark: &[u8], path: &[u8]) -> Option<Vec<u8>> {
    let mut replaced = None;
    while let Some(at) = text.windows(mark.len()).position(|part| part == mark) {
        let (before, rest) = text.split_at_checked(at)?;
        replaced.get_or_insert_with(Vec::new).extend([before, path].concat());
        text = rest.strip_prefix(mark)?;
    }
    replaced.map(|replaced| [&replaced, text].concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(paths: &Paths, argument: &str) -> String {
        let filled = paths.fill(&[argument.into()]).unwrap();
        filled[0].clone().into_string().unwrap()
    }

    #[test]
    fn each_mark_is_replaced_by_its_path() {
        let mut paths = Paths::default();
        paths.add("", "/a".into());
        paths.add("QUEUE_", "/b".into());
        assert_eq!(filled(&paths, "{}"), "/a");
        assert_eq!(filled(&paths, "--a={},{QUEUE_};{}"), "--a=/a,/b;/a");
        assert_eq!(filled(&paths, "{ } {OTHER_}"), "{ } {OTHER_}");
    }

    #[test]
    fn a_mark_of_two_relays_is_refused_where_it_is_used() {
        let mut paths = Paths::default();
        paths.add("", "/a".into());
        paths.add("", "/b".into());
        assert_eq!(filled(&paths, "none"), "none");
        assert!(paths.fill(&["{}".into()]).is_err());
    }
}
