//! What is opened before somebody asks for it.

use std::time::Duration;

/// Connections that are made and logged in ahead. Each is handed out once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Ready {
    /// How many wait, from 1 to [`Ready::MOST`].
    pub number: u32,
    /// How long one may wait until another takes its place.
    pub max_age: Duration,
}

impl Ready {
    /// The most that one resource may keep.
    pub const MOST: u32 = 64;
    /// The most that all resources with TLS may keep together: each is a process.
    pub const MOST_ENCRYPTED: u32 = 256;
    /// How long one may wait if the policy does not say.
    pub const DEFAULT_MAX_AGE: Duration = Duration::from_secs(10 * 60);

    /// Returns the keys of the language, and what they mean.
    #[must_use]
    pub fn entries(&self) -> Vec<(&'static str, String)> {
        let max_age = format!("{} ms", self.max_age.as_millis());
        vec![("ready", self.number.to_string()), ("max_age", max_age)]
    }
}
