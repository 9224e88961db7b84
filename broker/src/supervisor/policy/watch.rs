//! Notices that the files of the policy change, for a broker that is under an older policy.
//!
//! Looks at the directories of the policy file and of its drop-ins, and at those that links lead to. Bounded: changes that
//! come close together count as one, and between two there is a pause.

use std::ffi::OsString;
use std::fs;
use std::future::pending;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::supervisor::path_watch::{Interest, Pace, PathWatch, is_used_up};

/// How long to wait after a change: more of them may follow.
const SETTLED: Duration = Duration::from_millis(200);
/// How far apart two of them are told at least.
const APART: Duration = Duration::from_secs(1);

/// What is looked at, if anything.
#[derive(Default)]
pub(crate) struct PolicyWatch(Option<Watching>);

struct Watching {
    policy: PathBuf,
    paths: PathWatch,
    /// Whether every name counts, since links are involved.
    takes_all: bool,
    pace: Pace,
}

impl PolicyWatch {
    /// Looks at the files of a policy, and tells first that they may have changed before.
    ///
    /// # Errors
    /// When nothing can be looked at.
    pub(crate) fn over(policy: &Path) -> io::Result<Self> {
        let policy = std::path::absolute(policy)?;
        let (paths, takes_all) = look_at(&policy)?;
        let mut pace = Pace::new(SETTLED, APART);
        pace.note();
        Ok(Self(Some(Watching { policy, paths, takes_all, pace })))
    }

    /// Waits until the files have changed; for ever if nothing is looked at. Can be dropped and called again.
    pub(crate) async fn changed(&mut self) {
        let Some(watching) = &mut self.0 else { return pending().await };
        loop {
            tokio::select! {
                names = watching.paths.names() => match names {
                    Ok(names) => watching.note(&names),
                    // The event loop has ended.
                    Err(_) => pending().await,
                },
                () = watching.pace.is_due() => return,
            }
        }
    }

    /// There may be other directories now. If they cannot be looked at, those before are.
    ///
    /// # Errors
    /// As [`PolicyWatch::over`].
    pub(crate) fn look_again(&mut self) -> io::Result<()> {
        let Some(watching) = &mut self.0 else { return Ok(()) };
        (watching.paths, watching.takes_all) = look_at(&watching.policy)?;
        Ok(())
    }
}

impl Watching {
    fn note(&mut self, names: &[OsString]) {
        if self.takes_all || names.iter().any(|name| self.is_of_policy(name)) {
            self.pace.note();
        }
    }

    fn is_of_policy(&self, name: &OsString) -> bool {
        // Without a name, it happened to a directory.
        name.is_empty()
            || Some(name.as_os_str()) == self.policy.file_name()
            || Path::new(name).extension().is_some_and(|end| end == "toml" || end == "d")
    }
}

/// Looks at the directories of a policy; says whether links are among its files.
fn look_at(policy: &Path) -> io::Result<(PathWatch, bool)> {
    let mut paths = PathWatch::new(Interest::Change)?;
    let directory = policy.parent().unwrap_or(Path::new("/"));
    paths.add(directory)?;
    // Not there, as a rule.
    unless_used_up(paths.add(&directory.join("policy.d")))?;
    let mut takes_all = false;
    for file in fdbroker_host::policy_files(policy).unwrap_or_default() {
        let Some(target) = led_elsewhere(&file) else { continue };
        takes_all = true;
        // Beyond the bound, a reload by hand is needed.
        unless_used_up(paths.add(&target))?;
    }
    Ok((paths, takes_all))
}

fn unless_used_up(added: io::Result<()>) -> io::Result<()> {
    added.or_else(|error| if is_used_up(&error) { Err(error) } else { Ok(()) })
}

/// The directory that a file is in, if links lead to it.
fn led_elsewhere(file: &Path) -> Option<PathBuf> {
    let real = fs::canonicalize(file).ok()?;
    let parent = real.parent()?;
    (real != file).then(|| parent.to_owned())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    /// Whether something is told soon.
    async fn tells(watch: &mut PolicyWatch) -> bool {
        tokio::time::timeout(APART * 3, watch.changed()).await.is_ok()
    }

    #[tokio::test]
    async fn it_tells_of_the_file_of_drop_ins_and_of_nothing_else() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        fs::write(path("policy.toml"), "x").unwrap();
        let mut watch = PolicyWatch::over(&path("policy.toml")).unwrap();
        assert!(tells(&mut watch).await, "of what was changed before");
        fs::write(path("audit.log"), "x").unwrap();
        assert!(!tells(&mut watch).await, "of another file");
        fs::write(path("policy.toml"), "y").unwrap();
        assert!(tells(&mut watch).await, "of the file");
        fs::create_dir(path("policy.d")).unwrap();
        assert!(tells(&mut watch).await, "of the directory");
        watch.look_again().unwrap();
        fs::write(path("policy.d/a.toml"), "y").unwrap();
        assert!(tells(&mut watch).await, "of a drop-in in it");
    }

    #[tokio::test]
    async fn it_tells_of_a_file_that_a_link_leads_to() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        fs::create_dir(path("real")).unwrap();
        fs::write(path("real/some"), "x").unwrap();
        symlink(path("real/some"), path("policy.toml")).unwrap();
        let mut watch = PolicyWatch::over(&path("policy.toml")).unwrap();
        assert!(tells(&mut watch).await);
        fs::write(path("real/some"), "y").unwrap();
        assert!(tells(&mut watch).await);
    }
}
