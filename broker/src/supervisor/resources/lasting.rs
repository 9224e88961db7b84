//! Whether connections that are ready last: a server may let the broker log in, and hang up at once, again and again.
//! Only a connection that has lasted, or that a caller has taken, shows that a failure is over.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// A connection that its server ends within this time of the log-in counts as a failed attempt.
pub(super) const TOO_SOON: Duration = Duration::from_secs(5);

/// What became of the connections of one resource.
pub(super) struct Lasting {
    /// After which time one has lasted: none waits longer than its `max_age`.
    after: Duration,
    seen: Mutex<Seen>,
}

#[derive(Default)]
struct Seen {
    /// Whether one was ended too soon since the last question.
    has_ended: bool,
    /// When the newest one was made that has lasted.
    newest: Option<Instant>,
}

impl Lasting {
    pub(super) fn new(max_age: Duration) -> Self {
        Self { after: TOO_SOON.min(max_age), seen: Mutex::default() }
    }

    /// Notes whether a connection, made then, still is as it was after the log-in.
    pub(super) fn saw(&self, made: Instant, now: Instant, is_whole: bool) {
        let age = now.saturating_duration_since(made);
        if !is_whole && age < TOO_SOON {
            self.lock().has_ended = true;
        } else if is_whole && age >= self.after {
            self.has_lasted(made);
        }
    }

    /// A connection that was made then has lasted.
    pub(super) fn has_lasted(&self, made: Instant) {
        let mut seen = self.lock();
        seen.newest = seen.newest.max(Some(made));
    }

    /// Returns whether one has lasted that was made after this time.
    pub(super) fn is_good_since(&self, time: Instant) -> bool {
        self.lock().newest.is_some_and(|made| made > time)
    }

    /// Returns whether one was ended too soon since this was asked last.
    pub(super) fn take_ended(&self) -> bool {
        std::mem::take(&mut self.lock().has_ended)
    }

    /// A panic while it is locked leaves it whole.
    fn lock(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOMENT: Duration = Duration::from_millis(1);

    #[test]
    fn one_that_is_ended_too_soon_is_told_once() {
        let (lasting, made) = (Lasting::new(Duration::from_secs(600)), Instant::now());
        lasting.saw(made, made + TOO_SOON, false);
        assert!(!lasting.take_ended(), "it has lasted");
        lasting.saw(made, made + TOO_SOON - MOMENT, false);
        lasting.saw(made, made + MOMENT, true);
        assert!(lasting.take_ended() && !lasting.take_ended());
    }

    #[test]
    fn one_that_lasts_or_is_taken_shows_that_failures_before_it_are_over() {
        let (lasting, failed) = (Lasting::new(Duration::from_secs(600)), Instant::now());
        lasting.saw(failed, failed + TOO_SOON, true);
        assert!(!lasting.is_good_since(failed), "it was made before");
        lasting.saw(failed + MOMENT, failed + TOO_SOON, true);
        assert!(!lasting.is_good_since(failed), "it may still end");
        lasting.saw(failed + MOMENT, failed + MOMENT + TOO_SOON, true);
        assert!(lasting.is_good_since(failed));
        lasting.has_lasted(failed + MOMENT * 9);
        assert!(lasting.is_good_since(failed + MOMENT * 8));
    }

    #[test]
    fn one_that_waits_for_a_short_time_lasts_if_it_reaches_it() {
        let (lasting, made) = (Lasting::new(Duration::from_secs(1)), Instant::now());
        lasting.saw(made, made + Duration::from_secs(1), true);
        assert!(lasting.is_good_since(made - MOMENT));
    }
}
