//! How long to go on trying: pauses that grow, within a bound that starts at the first failure.

use std::thread;
use std::time::{Duration, Instant};

const FIRST_PAUSE: Duration = Duration::from_millis(1);
const LONGEST_PAUSE: Duration = Duration::from_millis(100);

/// How long one request may still be tried.
#[derive(Debug)]
pub(crate) struct Backoff {
    limit: Duration,
    end: Option<Instant>,
    pause: Duration,
}

impl Backoff {
    /// Backoff for `limit` from the first failure on; none at all when it is zero.
    pub(crate) fn new(limit: Duration) -> Self {
        Self { limit, end: None, pause: Duration::ZERO }
    }

    /// Says whether to try again, after having slept as long as it should be waited.
    pub(crate) fn again(&mut self) -> bool {
        self.pause().map(thread::sleep).is_some()
    }

    /// How long to wait before trying again: not at all the first time, then for growing
    /// pauses. Returns `None` once the limit has passed.
    pub(crate) fn pause(&mut self) -> Option<Duration> {
        let now = Instant::now();
        let end = *self.end.get_or_insert_with(|| now + self.limit);
        let pause = self.pause.min(end.checked_duration_since(now).filter(|left| !left.is_zero())?);
        self.pause = (self.pause * 2).clamp(FIRST_PAUSE, LONGEST_PAUSE);
        Some(pause)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_limit_there_is_one_try() {
        assert!(!Backoff::new(Duration::ZERO).again());
    }

    #[test]
    fn retries_end_about_when_they_should() {
        let started = Instant::now();
        let mut backoff = Backoff::new(Duration::from_millis(50));
        let tries = std::iter::from_fn(|| backoff.again().then_some(())).count();
        assert!(started.elapsed() >= Duration::from_millis(50));
        assert!((3..60).contains(&tries), "{tries} tries");
    }
}
