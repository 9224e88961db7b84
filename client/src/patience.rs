//! How long to go on trying: pauses that grow, within a bound that starts at the first failure.

use std::thread;
use std::time::{Duration, Instant};

const FIRST_PAUSE: Duration = Duration::from_millis(1);
const LONGEST_PAUSE: Duration = Duration::from_millis(100);

/// The patience left for one request.
#[derive(Debug)]
pub(crate) struct Patience {
    limit: Duration,
    end: Option<Instant>,
    pause: Duration,
}

impl Patience {
    /// Patience for `limit` from the first failure on; none at all when it is zero.
    pub(crate) fn new(limit: Duration) -> Self {
        Self { limit, end: None, pause: Duration::ZERO }
    }

    /// Says whether to try again, after having slept as long as it should be waited.
    pub(crate) fn again(&mut self) -> bool {
        self.pause().map(thread::sleep).is_some()
    }

    /// How long to wait before trying again: not at all the first time, then for growing
    /// pauses. None when there is no patience left.
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
    fn no_patience_means_one_try() {
        assert!(!Patience::new(Duration::ZERO).again());
    }

    #[test]
    fn patience_ends_about_when_it_should() {
        let started = Instant::now();
        let mut patience = Patience::new(Duration::from_millis(50));
        let tries = std::iter::from_fn(|| patience.again().then_some(())).count();
        assert!(started.elapsed() >= Duration::from_millis(50));
        assert!((3..60).contains(&tries), "{tries} tries");
    }
}
