//! Peers that could not be accepted, for want of descriptors mostly: what the log says of them.
//!
//! Each of them is tried again many times a second.

use fdbroker_types::counted;
use std::fmt::Display;

use crate::spell::Spell;

/// The failures since the first that was said.
#[derive(Default)]
pub(crate) struct Unaccepted(Spell);

impl Unaccepted {
    /// A peer could not be accepted. Returns what is to be said.
    pub(crate) fn failed(&mut self, error: &impl Display) -> Option<String> {
        self.0
            .failed()
            .then(|| format!("cannot accept a peer: {error}; trying again until it works"))
    }

    /// A peer was accepted. Returns what is to be said.
    pub(crate) fn accepted(&mut self) -> Option<String> {
        let count = self.0.succeeded()?;
        Some(format!("peers are accepted again, after {}", counted(count, "failed attempt")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn it_is_said_when_peers_are_accepted_no_more_and_when_they_are_again() {
        let mut unaccepted = Unaccepted::default();
        assert!(unaccepted.failed(&"no room").unwrap().contains("accept a peer: no room"));
        assert_eq!(unaccepted.failed(&"no room"), None);
        tokio::time::advance(std::time::Duration::from_secs(1)).await;
        assert!(unaccepted.accepted().unwrap().contains("after 2 failed attempts"));
    }
}
