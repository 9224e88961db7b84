//! Whether a file is still as it was read.
//!
//! The kernel stamps a change with a clock that ticks some hundred times a second: two changes within one tick can leave
//! the same stamp. So a stamp tells something only once it is [`SETTLED`] old.

use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::time::{Duration, SystemTime};

/// How old a change must be before a second look at the file can be believed. The slowest clock ticks each 10 ms.
pub(crate) const SETTLED: Duration = Duration::from_millis(20);

/// What changes whenever a file is written or another one takes its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stamp {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Stamp {
    /// Returns the stamp that an open file bears now.
    ///
    /// # Errors
    /// What fstat(2) says.
    pub fn of(file: &File) -> io::Result<Self> {
        let found = file.metadata()?;
        Ok(Self {
            device: found.dev(),
            inode: found.ino(),
            size: found.size(),
            modified: (found.mtime(), found.mtime_nsec()),
            changed: (found.ctime(), found.ctime_nsec()),
        })
    }

    /// Returns how long to wait until the stamp is [`SETTLED`] old. One from the future is not waited for.
    pub(crate) fn settles_in(&self, now: SystemTime) -> Duration {
        let (seconds, nanoseconds) = self.changed;
        let since_epoch = u64::try_from(seconds).ok().zip(u32::try_from(nanoseconds).ok());
        let changed = since_epoch.and_then(|(seconds, nanoseconds)| {
            SystemTime::UNIX_EPOCH.checked_add(Duration::new(seconds, nanoseconds))
        });
        let age = changed.and_then(|changed| now.duration_since(changed).ok());
        age.map_or(Duration::ZERO, |age| SETTLED.saturating_sub(age))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn changed_at(seconds: i64, nanoseconds: i64) -> Stamp {
        let changed = (seconds, nanoseconds);
        Stamp { device: 1, inode: 1, size: 1, modified: changed, changed }
    }

    #[test]
    fn a_stamp_settles_within_a_few_ticks_of_the_clock() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1000);
        let wait = |stamp: Stamp| stamp.settles_in(now).as_millis();
        assert_eq!(wait(changed_at(1000, 0)), 20);
        assert_eq!(wait(changed_at(999, 995_000_000)), 15);
        assert_eq!(wait(changed_at(999, 980_000_000)), 0);
        assert_eq!(wait(changed_at(2000, 0)), 0, "a clock that was set back is not waited for");
        assert_eq!(wait(changed_at(-5, 0)), 0);
    }
}
