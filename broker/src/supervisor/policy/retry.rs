//! When names of the policy are looked up again that nobody had, or that could not be looked up.
//!
//! Bounded: the pause doubles up to a minute. With all names known there is none.

use std::future::pending;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

const FIRST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(60);

/// The next time.
#[derive(Default)]
pub(crate) struct Retry {
    due: Option<Instant>,
    pause: Duration,
}

impl Retry {
    /// Names are open, or all of them are known: the pause begins again.
    pub(crate) fn begin(&mut self, are_open: bool) {
        self.pause = FIRST;
        self.due = are_open.then(|| Instant::now() + self.pause);
    }

    /// Nothing is known that was not before.
    pub(crate) fn again(&mut self) {
        self.pause = (self.pause * 2).clamp(FIRST, LONGEST);
        self.due = Some(Instant::now() + self.pause);
    }

    /// Waits until it is time; for ever if all names are known. Can be dropped and called again.
    pub(crate) async fn is_due(&mut self) {
        let Some(due) = self.due else { return pending().await };
        sleep_until(due).await;
        self.due = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_pause_doubles_up_to_a_minute_and_begins_again() {
        let mut retry = Retry::default();
        let never = tokio::time::timeout(LONGEST * 10, retry.is_due());
        assert!(never.await.is_err(), "no name is open");
        retry.begin(true);
        let mut pauses = Vec::new();
        for _ in 0..8 {
            let before = Instant::now();
            retry.is_due().await;
            pauses.push(before.elapsed().as_secs());
            retry.again();
        }
        assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 60, 60]);
        retry.begin(false);
        assert!(tokio::time::timeout(LONGEST * 10, retry.is_due()).await.is_err());
    }
}
