//! On which terms a caller has what was opened for it.

use std::num::NonZeroU32;
use std::time::Duration;

/// The broker keeps a duplicate of what it hands out, and ends the caller's use of it: when the process that
/// asked has ended, when the time is up, or when an operator says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct LeaseTerms {
    /// How many may be handed out at once; any number if there is none.
    pub holders: Option<NonZeroU32>,
    /// How long a caller waits until one of them is given back.
    pub wait: Duration,
    /// How long one may be held; for ever if there is none.
    pub ttl: Option<Duration>,
}

impl LeaseTerms {
    /// How long a caller waits if the policy does not say.
    pub const DEFAULT_WAIT: Duration = Duration::from_secs(5);

    /// Returns the keys of the language, and what they mean.
    #[must_use]
    pub fn entries(&self) -> Vec<(&'static str, String)> {
        let milliseconds = |time: Duration| format!("{} ms", time.as_millis());
        let holders = self.holders.map_or("any number".to_owned(), |number| number.to_string());
        vec![
            ("revocable", "true".to_owned()),
            ("holders", holders),
            ("wait", milliseconds(self.wait)),
            ("ttl", self.ttl.map_or("for ever".to_owned(), milliseconds)),
        ]
    }
}
