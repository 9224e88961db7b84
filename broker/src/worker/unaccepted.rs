//! Peers that could not be accepted, for want of descriptors mostly: what the log says of them.
//!
//! Each of them is tried again many times a second. So it is said when that begins, and when it has ended.

use std::fmt::Display;

use tokio::time::{Duration, Instant};

/// How long there is no other failure before it has ended: a table that is nearly full has room for one
/// peer now and then.
const OVER: Duration = Duration::from_secs(1);

/// The failures since the first that was said.
#[derive(Default)]
pub(crate) struct Unaccepted(Option<Since>);

struct Since {
    last: Instant,
    count: u64,
}

impl Unaccepted {
    /// A peer could not be accepted. Returns what is to be said.
    pub(crate) fn failed(&mut self, error: &impl Display) -> Option<String> {
        let last = Instant::now();
        let count = self.0.as_ref().map_or(0, |since| since.count) + 1;
        self.0 = Some(Since { last, count });
        (count == 1).then(|| {
            format!("a peer could not be accepted: {error}; it is tried again until it can be")
        })
    }

    /// A peer was accepted. Returns what is to be said.
    pub(crate) fn accepted(&mut self) -> Option<String> {
        let over = self.0.take_if(|since| since.last.elapsed() >= OVER)?;
        Some(format!("peers are accepted again, after {} attempts that failed", over.count))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn many_failures_are_said_when_they_begin_and_when_they_are_over() {
        let mut unaccepted = Unaccepted::default();
        assert_eq!(unaccepted.accepted(), None);
        assert!(unaccepted.failed(&"no room").unwrap().contains("accepted: no room"));
        // Now and then there is room for one.
        for _ in 0..99 {
            assert_eq!(unaccepted.accepted(), None);
            assert_eq!(unaccepted.failed(&"no room"), None);
        }
        tokio::time::advance(OVER).await;
        assert!(unaccepted.accepted().unwrap().contains("after 100 attempts"));
        assert_eq!(unaccepted.accepted(), None);
        assert!(unaccepted.failed(&"no room").is_some(), "it begins anew");
    }
}
