//! The last policy that was in force, kept in a file for a start with one that does not load.
//!
//! The copy has the text of each file with its path, so what is said of it names the right lines. It is
//! believed only if nobody but this user could have written it, if its hash is right, if it is of the same
//! policy file, and if no other policy was in force after it.

use std::io;
use std::path::{Path, PathBuf};

use fdbroker_host::{read_private_file, remove_private_file, write_private_file};
use fdbroker_policy::SourceText;
use fdbroker_types::quoted;
use fdbroker_wire::PolicyText;
use rustix::process::geteuid;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::in_force::InForce;
use super::not_kept::{NotKept, Older};
use crate::arguments::{Arguments, DEFAULT_POLICY};

/// Where it is kept if the service manager names no directory.
const DEFAULT_DIRECTORY: &str = "/var/lib/fdbroker";
/// The word for no directory at all.
const NONE: &str = "none";
const NAME: &str = "last-good-policy.json";
/// The format of the file, which another version of the broker may have written.
const FORMAT: u32 = 1;
/// The most that is read: the text of the longest policy takes no more, however it is escaped.
const MAX_BYTES: u64 = 128 << 20;

/// The file that holds it.
#[derive(Clone)]
pub(crate) struct LastGood {
    file: PathBuf,
    /// Of which policy file, by its absolute path.
    policy: String,
    /// Where it is noted which policy is in force while that is not kept.
    in_force: Option<InForce>,
}

/// A policy as it was kept.
#[derive(Debug)]
pub(crate) struct Kept {
    /// When it was kept, and its hash.
    pub(crate) stamp: String,
    pub(crate) sources: Vec<SourceText>,
    sha256: String,
}

/// What the file holds.
#[derive(Serialize, Deserialize)]
struct Copy {
    format: u32,
    policy: String,
    saved: String,
    sha256: String,
    files: Vec<Text>,
}

#[derive(Serialize, Deserialize)]
struct Text {
    path: String,
    text: String,
}

impl LastGood {
    /// The file that the command line and the environment choose: `None` if no copy is to be kept.
    ///
    /// A broker that tries out another policy must not replace the copy of the machine's.
    pub(crate) fn chosen(arguments: &Arguments) -> Option<Self> {
        let directory = match &arguments.state_directory {
            Some(directory) if directory.as_os_str() == NONE => None,
            Some(directory) => Some(directory.clone()),
            None => of_service_manager().or_else(|| {
                let machines = geteuid().is_root() && arguments.policy.is_none();
                machines.then(|| DEFAULT_DIRECTORY.into())
            }),
        };
        let policy = arguments.policy.as_deref().unwrap_or(Path::new(DEFAULT_POLICY));
        directory.map(|directory| Self::at(directory.join(NAME), policy))
    }

    pub(super) fn at(file: PathBuf, policy: &Path) -> Self {
        let policy = std::path::absolute(policy).unwrap_or_else(|_| policy.to_owned());
        Self { file, policy: policy.to_string_lossy().into_owned(), in_force: None }
    }

    /// The same; what cannot be kept is noted beside this socket.
    pub(crate) fn noting_beside(self, socket: Option<&Path>) -> Self {
        Self { in_force: socket.map(InForce::beside), ..self }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.file
    }

    /// Returns the copy, if there is one.
    ///
    /// # Errors
    /// Why it is not believed.
    pub(crate) fn read(&self) -> Result<Option<Kept>, String> {
        let kept = self.there()?;
        if let (Some(kept), Some(in_force)) = (&kept, &self.in_force) {
            in_force.permits(&kept.sha256)?;
        }
        Ok(kept)
    }

    /// The copy that is there, even if another policy was in force after it.
    fn there(&self) -> Result<Option<Kept>, String> {
        let text = read_private_file(&self.file, MAX_BYTES).map_err(|error| error.to_string())?;
        let Some(text) = text else { return Ok(None) };
        let copy: Copy = serde_json::from_str(&text).map_err(|error| error.to_string())?;
        if copy.format != FORMAT {
            return Err(format!("its format is {}, not {FORMAT}", copy.format));
        }
        let sources: Vec<_> =
            copy.files.into_iter().map(|file| SourceText::new(file.path, file.text)).collect();
        let files = sources.iter().map(|it| (it.path.as_str(), it.text.as_str()));
        if hash(&copy.policy, files) != copy.sha256 {
            return Err("its hash is wrong".to_owned());
        }
        if copy.policy != self.policy {
            return Err(format!("it is of another policy file, {}", quoted(&copy.policy)));
        }
        let saved: jiff::Timestamp =
            copy.saved.parse().map_err(|error: jiff::Error| error.to_string())?;
        Ok(Some(Kept { stamp: stamp(saved, &copy.sha256), sources, sha256: copy.sha256 }))
    }

    /// Replaces the copy; removes it if the policy has no files. Returns what to call it.
    ///
    /// The policy is noted first: the copy of an older one is not used even if this never ends.
    ///
    /// # Errors
    /// Why it is not kept. Then an older copy is removed, if possible: it may allow what has been revoked.
    pub(super) fn keep(&self, texts: &[PolicyText]) -> Result<Option<String>, NotKept> {
        let sha256 = self.hash(texts);
        let noted = self.note(&sha256);
        match self.replace(texts, &sha256) {
            Ok(stamp) => {
                // It permits this copy, should it stay.
                let _ = self.in_force.as_ref().map(InForce::forget);
                Ok(stamp)
            }
            Err(error) => Err(NotKept { error, older: self.remove_older(&sha256, noted) }),
        }
    }

    /// Notes that a policy is in force that is not kept for this reason.
    pub(super) fn cannot_keep(&self, texts: &[PolicyText], error: io::Error) -> NotKept {
        // Only that: the disk may be slow.
        let noted = self.note(&self.hash(texts));
        let untried = error.kind().into();
        NotKept { error, older: if noted { Older::Noted(untried) } else { Older::Usable(untried) } }
    }

    /// Returns whether it is noted that the policy with this hash is in force.
    fn note(&self, sha256: &str) -> bool {
        self.in_force.as_ref().is_some_and(|in_force| in_force.note(sha256).is_ok())
    }

    /// Removes the copy, unless it is of the policy with this hash.
    fn remove_older(&self, sha256: &str, noted: bool) -> Older {
        if self.there().is_ok_and(|there| there.is_some_and(|it| it.sha256 == sha256)) {
            return Older::Same;
        }
        match remove_private_file(&self.file) {
            Ok(()) => Older::Gone,
            // There is no directory, so there is no copy.
            Err(error) if error.kind() == io::ErrorKind::NotADirectory => Older::Gone,
            Err(error) if noted => Older::Noted(error),
            Err(error) => Older::Usable(error),
        }
    }

    fn hash(&self, texts: &[PolicyText]) -> String {
        hash(&self.policy, texts.iter().map(|it| (it.path.as_str(), it.text.as_str())))
    }

    fn replace(&self, texts: &[PolicyText], sha256: &str) -> io::Result<Option<String>> {
        if texts.is_empty() {
            return remove_private_file(&self.file).map(|()| None);
        }
        let saved = now();
        let sha256 = sha256.to_owned();
        let stamp = stamp(saved, &sha256);
        let file = |it: &PolicyText| Text { path: it.path.clone(), text: it.text.clone() };
        let files = texts.iter().map(file).collect();
        let (policy, saved) = (self.policy.clone(), saved.to_string());
        let copy = Copy { format: FORMAT, policy, saved, sha256, files };
        let text = serde_json::to_string(&copy)?;
        if u64::try_from(text.len()).map_or(true, |length| length > MAX_BYTES) {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        write_private_file(&self.file, &text).map(|()| Some(stamp))
    }
}

/// The directory that a service manager has made for the state: StateDirectory= in systemd.exec(5).
fn of_service_manager() -> Option<PathBuf> {
    let all = std::env::var_os("STATE_DIRECTORY").filter(|all| !all.is_empty())?;
    let first = std::env::split_paths(&all).next()?;
    first.is_absolute().then_some(first)
}

/// In whole seconds.
fn now() -> jiff::Timestamp {
    let now = jiff::Timestamp::now();
    jiff::Timestamp::from_second(now.as_second()).unwrap_or(now)
}

/// What people are told: enough of the hash to tell two copies apart.
fn stamp(saved: jiff::Timestamp, sha256: &str) -> String {
    format!("{saved} sha256 {}", sha256.get(..16).unwrap_or(sha256))
}

/// Of all paths and texts, with their lengths.
fn hash<'t>(policy: &'t str, files: impl Iterator<Item = (&'t str, &'t str)>) -> String {
    let mut hash = Sha256::new();
    let parts = files.flat_map(|(path, text)| [path, text]);
    for part in std::iter::once(policy).chain(parts) {
        hash.update(u64::try_from(part.len()).unwrap_or(u64::MAX).to_le_bytes());
        hash.update(part);
    }
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn texts(rules: &str) -> Vec<PolicyText> {
        let text = |path: &str, text: &str| PolicyText { path: path.into(), text: text.into() };
        vec![text("/p/policy.toml", "version = 1\n"), text("/p/policy.d/a.toml", rules)]
    }

    fn place() -> (tempfile::TempDir, LastGood) {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("state").join(NAME);
        (directory, LastGood::at(file, Path::new("/p/policy.toml")))
    }

    #[test]
    fn what_is_kept_comes_back_with_its_paths_and_only_for_its_policy() {
        let (_directory, last) = place();
        assert!(last.read().unwrap().is_none());
        let stamp = last.keep(&texts("# é")).unwrap().unwrap();
        let kept = last.read().unwrap().unwrap();
        assert_eq!(kept.stamp, stamp);
        let told: Vec<_> = kept.sources.iter().map(|it| (&*it.path, &*it.text)).collect();
        assert_eq!(told, [("/p/policy.toml", "version = 1\n"), ("/p/policy.d/a.toml", "# é")]);
        let other = LastGood::at(last.file.clone(), Path::new("/q/policy.toml"));
        let error = other.read().unwrap_err();
        assert!(error.contains("/p/policy.toml"), "{error}");
        assert!(last.keep(&[]).unwrap().is_none());
        assert!(last.read().unwrap().is_none(), "the built-in policy has no copy");
    }

    #[test]
    fn what_was_changed_is_not_believed() {
        let (_directory, last) = place();
        last.keep(&texts("# allows nothing")).unwrap();
        let text = fs::read_to_string(last.path()).unwrap();
        for (changed, problem) in [
            (text.replace("nothing", "anything"), "its hash is wrong"),
            (text.replace("a.toml", "b.toml"), "its hash is wrong"),
            (text.replace("\"format\":1", "\"format\":2"), "its format is 2, not 1"),
            (text.chars().take(40).collect(), "EOF"),
        ] {
            fs::write(last.path(), changed).unwrap();
            let error = last.read().unwrap_err();
            assert!(error.contains(problem), "{error}");
        }
    }
}
