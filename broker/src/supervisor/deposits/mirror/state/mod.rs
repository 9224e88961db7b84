//! What is mirrored, and what has still to be sent for that. No I/O but to the journal, which is memory.
//!
//! Each change is made here first and written into the journal last: if that fails, the journal is written once
//! more, and has then what is here.

mod deposits;
mod formers;
mod mirrored;
mod ownership;
mod room;
mod stored;

use std::io;

pub(super) use self::mirrored::State;

impl State {
    /// Makes a change, and sees to it that the journal is up to date, and most of it of use.
    ///
    /// # Errors
    /// When the journal cannot be written. The next change tries again.
    pub(super) fn change(
        &mut self,
        change: impl FnOnce(&mut Self) -> io::Result<()>,
    ) -> io::Result<()> {
        let changed = change(self).and_then(|()| self.use_room());
        if self.resumes {
            // The next supervisor needs what is not entered yet.
            self.is_behind |= changed.is_err();
            return changed;
        }
        let changed = changed.and_then(|()| self.tidy());
        if changed.is_err() || self.is_behind {
            self.is_behind = true;
            self.rewrite()?;
            self.is_behind = false;
        }
        // Only now: what follows a former deposit is written.
        let given_up = self.give_up_formers();
        self.is_behind = given_up.is_err();
        given_up
    }

    /// Whether the journal is an earlier one, which has more than was entered so far.
    pub(super) fn resumes(&self) -> bool {
        self.resumes
    }

    /// All that the journal has, and that is still so, has been entered. To be called within [`State::change`].
    pub(super) fn resumed(&mut self, has_losses: bool) {
        self.resumes = false;
        self.is_behind |= has_losses;
    }
}
