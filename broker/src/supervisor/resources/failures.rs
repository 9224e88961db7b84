//! The failures of one resource, as the log has them: when they begin, when the reason is another one, and when they are
//! over. Each of them is in the audit trail.

use tokio::time::{Duration, Instant};

use crate::spell::Spell;

/// How long at least from one line to the next, while it fails for one reason and another.
const PAUSE: Duration = Duration::from_secs(1);

/// Failures that were said.
#[derive(Default)]
pub(super) struct Failures {
    spell: Spell,
    /// The reason that was said last, and when.
    last: Option<(String, Instant)>,
}

impl Failures {
    /// It has failed. Returns whether that is to be said.
    pub(super) fn failed(&mut self, reason: &str) -> bool {
        let begins = self.spell.failed();
        let reason = without_numbers(reason);
        let is_another =
            self.last.as_ref().is_none_or(|(last, at)| *last != reason && at.elapsed() >= PAUSE);
        if begins || is_another {
            self.last = Some((reason, Instant::now()));
        }
        begins || is_another
    }

    /// It has not failed. Returns how often it had, where that is to be said.
    pub(super) fn succeeded(&mut self) -> Option<u64> {
        self.spell.succeeded()
    }
}

/// Returns the reason without what differs each time: how long it took, and numbers of ports.
fn without_numbers(reason: &str) -> String {
    reason.chars().filter(|character| !character.is_ascii_digit()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn another_reason_is_said_and_the_same_one_is_not() {
        let mut failures = Failures::default();
        assert!(failures.failed("connect failed after 3 ms: refused"));
        assert!(!failures.failed("connect failed after 12 ms: refused"));
        assert!(!failures.failed("log-in failed after 5 ms: wrong"), "it comes too soon");
        tokio::time::advance(PAUSE).await;
        assert!(failures.failed("log-in failed after 5 ms: wrong"));
        tokio::time::advance(PAUSE).await;
        assert!(!failures.failed("log-in failed after 6 ms: wrong"));
        tokio::time::advance(PAUSE).await;
        assert_eq!(failures.succeeded(), Some(5));
        assert!(failures.failed("log-in failed after 5 ms: wrong"), "it begins again");
    }
}
