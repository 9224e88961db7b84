//! Keeps a copy of each policy that is in force, on a thread of its own: a disk may be slow.
//!
//! Bounded: one copy is being written, and one waits, which is the newest. One that could not be written is tried again
//! at most once a minute.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use fdbroker_types::quoted;
use fdbroker_wire::PolicyText;

use super::last_good::LastGood;
use super::not_kept::NotKept;
use crate::supervisor::news::Told;

/// The pause before a copy is tried again that could not be written.
const AGAIN: Duration = Duration::from_secs(60);

/// Writes the copies, where any are to be kept.
#[derive(Clone)]
pub(crate) struct Keeper(Option<Arc<Copies>>);

struct Copies {
    place: LastGood,
    told: Told,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// A thread writes.
    is_busy: bool,
    /// What it writes next.
    next: Option<Vec<PolicyText>>,
    /// What is said of the copy that is there.
    seen: String,
    failure: Option<Failure>,
}

/// A copy that could not be written.
struct Failure {
    /// The policy in force.
    texts: Vec<PolicyText>,
    /// Why, and what to do.
    why: String,
    at: Instant,
}

impl Keeper {
    pub(crate) fn new(place: Option<LastGood>, told: Told) -> Self {
        // Until the next one is kept. What is not believed is as good as none.
        let there = place.as_ref().and_then(|place| place.read().ok().flatten());
        let seen = there.map_or("none".to_owned(), |kept| kept.stamp);
        let state = Mutex::new(State { seen, ..State::default() });
        Self(place.map(|place| Arc::new(Copies { place, told, state })))
    }

    /// The copy is there already, with this stamp.
    pub(crate) fn has(&self, stamp: &str) {
        self.0.iter().for_each(|copies| copies.state().seen = stamp.to_owned());
    }

    /// What the status says of the copy.
    pub(crate) fn seen(&self) -> String {
        let Some(copies) = &self.0 else { return "off".to_owned() };
        let state = copies.state();
        let failing = state.failure.as_ref().map(|failure| format!("failing: {}", failure.why));
        failing.unwrap_or_else(|| state.seen.clone())
    }

    /// Whether the policy in force is not kept.
    pub(crate) fn fails(&self) -> bool {
        self.0.iter().any(|copies| copies.state().failure.is_some())
    }

    /// Tries again what could not be kept, if that is `now` long enough ago.
    pub(crate) fn try_again(&self, now: Instant) {
        let Some(copies) = &self.0 else { return };
        if let Some(texts) = copies.due(now) {
            self.keep(&texts);
        }
    }

    /// Keeps a policy's texts, later.
    pub(crate) fn keep(&self, texts: &[PolicyText]) {
        let Some(copies) = &self.0 else { return };
        let mut state = copies.state();
        state.next = Some(texts.to_vec());
        if state.is_busy {
            return;
        }
        let writer = Arc::clone(copies);
        let begun = std::thread::Builder::new()
            .name("last good policy".to_owned())
            .spawn(move || writer.write_all());
        match begun {
            Ok(_) => state.is_busy = true,
            Err(error) => {
                state.next = None;
                let failure = copies.place.cannot_keep(texts, error);
                copies.note(&mut state, texts.to_vec(), Err(failure));
            }
        }
    }
}

impl Copies {
    /// Writes until nothing waits.
    fn write_all(&self) {
        while let Some(texts) = self.next() {
            let kept = self.place.keep(&texts);
            self.note(&mut self.state(), texts, kept);
        }
    }

    fn next(&self) -> Option<Vec<PolicyText>> {
        let mut state = self.state();
        let next = state.next.take();
        state.is_busy = next.is_some();
        next
    }

    /// What is to be tried again.
    fn due(&self, now: Instant) -> Option<Vec<PolicyText>> {
        let state = self.state();
        let failure = state.failure.as_ref().filter(|_| !state.is_busy)?;
        let is_due = now.saturating_duration_since(failure.at) >= AGAIN;
        is_due.then(|| failure.texts.clone())
    }

    /// Remembers how it went. It is told why it fails, unless it failed so before, and once that it works again.
    fn note(
        &self,
        state: &mut State,
        texts: Vec<PolicyText>,
        kept: Result<Option<String>, NotKept>,
    ) {
        let path = quoted(self.place.path()).to_string();
        let before = state.failure.take().map(|failure| failure.why);
        match kept {
            Ok(stamp) => {
                state.seen = stamp.unwrap_or_else(|| "none".to_owned());
                self.told.seen();
                if before.is_some() {
                    self.told.good(format!("the last good policy is kept in {path} again"));
                }
            }
            Err(failure) => {
                let why = failure.to_string();
                if before.as_ref() != Some(&why) {
                    self.told.bad(format!(
                        "the policy in force cannot be kept as the last good one in {path}: {why}"
                    ));
                }
                state.failure = Some(Failure { texts, why, at: Instant::now() });
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use tokio::sync::mpsc::unbounded_channel;

    use super::*;

    #[test]
    fn a_copy_that_cannot_be_replaced_is_removed() {
        let directory = tempfile::tempdir().unwrap();
        let place = LastGood::at(directory.path().join("copy"), Path::new("/policy"));
        let (told, _news) = unbounded_channel();
        let text = |text: &str| vec![PolicyText { path: "/policy".into(), text: text.into() }];
        place.keep(&text("allows")).unwrap();
        // A directory where the new copy is to be written: it fails, as on a full disk.
        let blocked = directory.path().join(".copy.new");
        std::fs::create_dir(&blocked).unwrap();
        let state = Mutex::new(State { next: Some(text("revokes")), ..State::default() });
        let copies = Arc::new(Copies { place: place.clone(), told: Told(told), state });
        copies.write_all();
        assert!(place.read().unwrap().is_none(), "the older policy is still there");
        let keeper = Keeper(Some(Arc::clone(&copies)));
        assert!(keeper.fails() && keeper.seen().starts_with("failing: "), "{}", keeper.seen());
        std::fs::remove_dir(&blocked).unwrap();
        assert!(copies.due(Instant::now()).is_none(), "it is not tried in each beat");
        copies.state().next = copies.due(Instant::now() + AGAIN);
        copies.write_all();
        assert!(!keeper.fails() && keeper.seen().contains(" sha256 "), "{}", keeper.seen());
    }

    #[test]
    fn a_copy_of_the_policy_in_force_stays_where_it_cannot_be_replaced() {
        let directory = tempfile::tempdir().unwrap();
        let place = LastGood::at(directory.path().join("copy"), Path::new("/policy"));
        let texts = [PolicyText { path: "/policy".into(), text: "allows".into() }];
        place.keep(&texts).unwrap();
        std::fs::create_dir(directory.path().join(".copy.new")).unwrap();
        let said = place.keep(&texts).unwrap_err().to_string();
        assert!(said.contains("has the same text"), "{said}");
        assert!(place.read().unwrap().is_some());
    }

    #[test]
    fn a_copy_that_is_there_already_is_seen_at_once() {
        let directory = tempfile::tempdir().unwrap();
        let place = LastGood::at(directory.path().join("copy"), Path::new("/policy"));
        let (told, _news) = unbounded_channel();
        let keeper = || Keeper::new(Some(place.clone()), Told(told.clone()));
        assert_eq!(keeper().seen(), "none");
        let text = PolicyText { path: "/policy".into(), text: "allows".into() };
        let stamp = place.keep(&[text]).unwrap();
        assert_eq!(Some(keeper().seen()), stamp);
    }

    #[test]
    fn without_a_place_nothing_is_kept() {
        let (told, _news) = unbounded_channel();
        let keeper = Keeper::new(None, Told(told));
        keeper.keep(&[]);
        assert_eq!(keeper.seen(), "off");
    }
}
