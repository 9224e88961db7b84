//! Keeps a copy of each policy that is in force, on a thread of its own: a disk may be slow.
//!
//! Bounded: one copy is being written, and one waits, which is the newest.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use fdbroker_types::quoted;
use fdbroker_wire::PolicyText;

use super::last_good::LastGood;
use crate::supervisor::news::Told;

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
    fails: bool,
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
        if state.fails { "failing".to_owned() } else { state.seen.clone() }
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
                copies.note(&mut state, Err(error));
            }
        }
    }
}

impl Copies {
    /// Writes until nothing waits.
    fn write_all(&self) {
        while let Some(texts) = self.next() {
            let kept = self.place.keep(&texts);
            if kept.is_err() {
                // An older one must not be taken for the last good one: it may allow what has been revoked.
                let _ = self.place.forget();
            }
            self.note(&mut self.state(), kept);
        }
    }

    fn next(&self) -> Option<Vec<PolicyText>> {
        let mut state = self.state();
        let next = state.next.take();
        state.is_busy = next.is_some();
        next
    }

    /// Remembers how it went. It is told once that it fails, and once that it works again.
    fn note(&self, state: &mut State, kept: io::Result<Option<String>>) {
        let path = quoted(self.place.path()).to_string();
        match kept {
            Ok(stamp) => {
                state.seen = stamp.unwrap_or_else(|| "none".to_owned());
                self.told.seen();
                if std::mem::take(&mut state.fails) {
                    self.told.good(format!("the last good policy is kept in {path} again"));
                }
            }
            Err(error) if !std::mem::replace(&mut state.fails, true) => self.told.bad(format!(
                "the policy in force cannot be kept as the last good one in {path}: {error}; an older copy is removed; set \
                 StateDirectory=fdbroker in the unit, or start the broker with --state-directory"
            )),
            Err(_) => {}
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
        std::fs::create_dir(directory.path().join(".copy.new")).unwrap();
        let state = Mutex::new(State { next: Some(text("revokes")), ..State::default() });
        Copies { place: place.clone(), told: Told(told), state }.write_all();
        assert!(place.read().unwrap().is_none(), "the older policy is still there");
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
