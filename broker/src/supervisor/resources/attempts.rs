//! Attempts to keep connections ready that fail: later and later, until a connection has lasted.

use tokio::time::{Duration, Instant};

use super::failures::Failures;
use super::lasting::Lasting;

/// How long the pause after a failure is at first, and at most.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// Attempts that failed, one after the other.
#[derive(Default)]
pub(super) struct Attempts {
    failures: Failures,
    last: Option<Failed>,
}

/// When the last one failed, and the pause after it.
#[derive(Clone, Copy)]
struct Failed {
    at: Instant,
    pause: Duration,
}

impl Attempts {
    /// One has failed. Returns whether that is to be said.
    pub(super) fn failed(&mut self, reason: &str) -> bool {
        let pause = self.last.map_or(FIRST_PAUSE, |last| LONGEST_PAUSE.min(last.pause * 2));
        self.last = Some(Failed { at: Instant::now(), pause });
        self.failures.failed(reason)
    }

    /// Returns how long the pause until the next one is.
    pub(super) fn pause(&self) -> Duration {
        self.last.map_or(FIRST_PAUSE, |last| last.pause)
    }

    /// Returns how many had failed, once a connection that was made since has lasted, where that is to be said.
    pub(super) fn succeeded(&mut self, lasting: &Lasting) -> Option<u64> {
        let failed = self.last?.at;
        let count = lasting.is_good_since(failed).then(|| self.failures.succeeded()).flatten()?;
        self.last = None;
        Some(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REASON: &str = "connect failed";

    #[tokio::test(start_paused = true)]
    async fn each_pause_is_longer_until_a_connection_has_lasted() {
        let (mut attempts, lasting) = (Attempts::default(), Lasting::new(LONGEST_PAUSE));
        let mut pauses = Vec::new();
        for _ in 0..8 {
            attempts.failed(REASON);
            pauses.push(attempts.pause().as_millis());
        }
        assert_eq!(pauses, [500, 1000, 2000, 4000, 8000, 16000, 30000, 30000]);
        lasting.has_lasted(Instant::now());
        tokio::time::advance(FIRST_PAUSE * 3).await;
        assert_eq!(attempts.succeeded(&lasting), None, "it was made before the failure");
        lasting.has_lasted(Instant::now());
        assert_eq!(attempts.succeeded(&lasting), Some(8));
        assert!(attempts.failed(REASON) && attempts.pause() == FIRST_PAUSE);
    }
}
