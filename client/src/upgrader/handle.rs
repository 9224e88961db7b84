//! The upgrader as its program holds it, until it gives up the tag.

use std::fmt;
use std::sync::Arc;
use std::thread::JoinHandle;

use super::shared::{Link, Shared};
use super::state_machine::Stage;

/// What one process hands on to the next, under names: see the [module](super).
///
/// Its methods may be called from any thread. When it is dropped, the process owns the tag no
/// more; what it deposited stays there, for the next one.
pub struct Upgrader {
    pub(crate) shared: Arc<Shared>,
    /// Ends when the upgrader is dropped, and not before that is asked for.
    watcher: Option<JoinHandle<()>>,
    /// The process that it belongs to: a child that was forked has neither the tag nor the watcher.
    process: u32,
}

impl Upgrader {
    pub(crate) fn new(shared: Arc<Shared>, watcher: JoinHandle<()>) -> Self {
        Self { shared, watcher: Some(watcher), process: std::process::id() }
    }

    /// How many names were inherited; 0 for the first process of its kind.
    pub fn inherited(&self) -> usize {
        self.shared.lock().inventory.inherited()
    }

    /// Every name, in order: what was inherited, until [`Upgrader::ready`] whether asked for or
    /// not, and what was added.
    pub fn names(&self) -> Vec<String> {
        self.shared.lock().inventory.names()
    }

    /// Gives up the tag, or the claim of it. Calls that wait return
    /// [`UpgradeError::Stopped`](super::UpgradeError::Stopped).
    ///
    /// Deposits stay there, for a process that claims the tag next. Remove unwanted ones first.
    pub fn stop(&self) {
        let mut state = self.shared.lock();
        let tag = state.terms.tag;
        if let Link::Up(broker) = &mut state.link {
            // If it fails, the end of the connection says the same.
            let _ = broker.withdraw(tag);
        }
        state.link = Link::Closed;
        state.inventory.drop_spares();
        state.machine.advance(Stage::Stopped);
        self.shared.tell(&state);
        self.shared.ring();
    }
}

/// Shows the tag, how far the upgrade is, and how many names there are; of what they hold, nothing.
impl fmt::Debug for Upgrader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.shared.fmt(f)
    }
}

impl Drop for Upgrader {
    fn drop(&mut self) {
        if std::process::id() != self.process {
            return;
        }
        self.stop();
        if let Some(watcher) = self.watcher.take() {
            // A watcher that panicked has ended as well.
            let _ = watcher.join();
        }
    }
}
