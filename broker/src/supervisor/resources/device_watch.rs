//! Notices that something appears where resources are that are opened once: a device that was not there, or another
//! one in its place.
//!
//! Looks at the nearest directory of each path that there is. Bounded: changes that come close together count as one, and
//! between two there is a pause.

use std::future::pending;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::supervisor::path_watch::{Interest, Pace, PathWatch, is_used_up};

/// How long to wait after a change: a device gets its owner and its links a moment later.
const SETTLED: Duration = Duration::from_millis(100);
/// How far apart two of them are told at least.
const APART: Duration = Duration::from_millis(500);

/// What is looked at, if anything.
#[derive(Default)]
pub(crate) struct DeviceWatch(Option<(PathWatch, Pace)>);

impl DeviceWatch {
    /// Looks at these paths, and tells first that something may have appeared before.
    ///
    /// # Errors
    /// When there are no inotify instances or watches left.
    pub(crate) fn over(paths: &[PathBuf]) -> io::Result<Self> {
        if paths.is_empty() {
            return Ok(Self::default());
        }
        let mut watch = PathWatch::new(Interest::Appearance)?;
        look_at_all(paths, &mut watch)?;
        let mut pace = Pace::new(SETTLED, APART);
        pace.note();
        Ok(Self(Some((watch, pace))))
    }

    /// Waits until something has appeared; for ever if nothing is looked at. Can be dropped and called again.
    pub(crate) async fn appeared(&mut self) {
        let Some((watch, pace)) = &mut self.0 else { return pending().await };
        loop {
            tokio::select! {
                names = watch.names() => match names {
                    Ok(_) => pace.note(),
                    // The event loop has ended.
                    Err(_) => pending().await,
                },
                () = pace.is_due() => return,
            }
        }
    }

    /// Looks at these paths from now on, for which there may be other directories. Those before stay if that fails.
    ///
    /// # Errors
    /// As [`DeviceWatch::over`].
    pub(crate) fn look_at(&mut self, paths: &[PathBuf]) -> io::Result<()> {
        let Some((watch, _)) = &mut self.0 else { return Ok(()) };
        let mut other = PathWatch::new(Interest::Appearance)?;
        look_at_all(paths, &mut other)?;
        *watch = other;
        Ok(())
    }
}

/// Looks at the directories of all that it can. Of what is beyond the bound, or may not be looked at, each caller still
/// tries.
fn look_at_all(paths: &[PathBuf], watch: &mut PathWatch) -> io::Result<()> {
    let looked = paths.iter().map(|path| look_at(path, watch));
    looked.filter_map(Result::err).find(is_used_up).map_or(Ok(()), Err)
}

/// Looks at the nearest directory that there is, and at the one that links lead to.
fn look_at(path: &Path, watch: &mut PathWatch) -> io::Result<()> {
    let real = std::fs::canonicalize(path).ok();
    if let Some(parent) = real.as_deref().filter(|real| *real != path).and_then(Path::parent) {
        watch.add(parent)?;
    }
    let mut last = io::ErrorKind::NotFound.into();
    for directory in path.ancestors().skip(1) {
        match watch.add(directory) {
            Ok(()) => return Ok(()),
            Err(error) if is_used_up(&error) => return Err(error),
            Err(error) => last = error,
        }
    }
    Err(last)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    async fn tells(watch: &mut DeviceWatch) -> bool {
        tokio::time::timeout(APART * 4, watch.appeared()).await.is_ok()
    }

    #[tokio::test]
    async fn it_tells_of_what_appears_below_a_directory_that_was_not_there() {
        let directory = tempfile::tempdir().unwrap();
        let paths = [directory.path().join("bus/1/device")];
        let mut watch = DeviceWatch::over(&paths).unwrap();
        assert!(tells(&mut watch).await, "of what appeared before");
        assert!(!tells(&mut watch).await);
        fs::create_dir_all(directory.path().join("bus/1")).unwrap();
        assert!(tells(&mut watch).await, "of the directory");
        watch.look_at(&paths).unwrap();
        fs::write(&paths[0], "x").unwrap();
        assert!(tells(&mut watch).await, "of the device");
        fs::write(&paths[0], "y").unwrap();
        assert!(!tells(&mut watch).await, "of what is written");
    }
}
