//! What fails again many times a second: it is said when that begins, and when it is over.

use tokio::time::{Duration, Instant};

/// How long there is no other failure before it is over: what is short mostly comes now and then.
const OVER: Duration = Duration::from_secs(1);

/// The failures since the first that was said.
#[derive(Default)]
pub(crate) struct Spell(Option<Since>);

struct Since {
    last: Instant,
    count: u64,
}

impl Spell {
    /// It has failed. Returns whether that is to be said: a spell begins.
    pub(crate) fn failed(&mut self) -> bool {
        let last = Instant::now();
        let count = self.0.as_ref().map_or(0, |since| since.count) + 1;
        self.0 = Some(Since { last, count });
        count == 1
    }

    /// It has not failed. Returns how often it had, where that is to be said: a spell is over.
    pub(crate) fn succeeded(&mut self) -> Option<u64> {
        let over = self.0.take_if(|since| since.last.elapsed() >= OVER)?;
        Some(over.count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn many_failures_are_said_when_they_begin_and_when_they_are_over() {
        let mut spell = Spell::default();
        assert_eq!(spell.succeeded(), None);
        assert!(spell.failed());
        for _ in 0..99 {
            // It succeeds now and then.
            assert_eq!(spell.succeeded(), None);
            assert!(!spell.failed());
        }
        tokio::time::advance(OVER).await;
        assert_eq!(spell.succeeded(), Some(100));
        assert_eq!(spell.succeeded(), None);
        assert!(spell.failed(), "it begins anew");
    }
}
