//! Callers that wait for a place among the holders of a resource, and may leave before they have one.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot::{Receiver, Sender, channel};

/// A question: the number of its worker, and its ticket.
type Question = (u32, u32);

/// All that can be withdrawn.
#[derive(Clone, Default)]
pub(super) struct Withdrawals(Arc<Mutex<BTreeMap<Question, Sender<()>>>>);

/// One question that can be withdrawn until this is dropped.
pub(super) struct Withdrawable {
    withdrawals: Withdrawals,
    question: Question,
    withdrawn: Receiver<()>,
}

impl Withdrawals {
    /// Enters a question that waits.
    pub(super) fn enter(&self, question: Question) -> Withdrawable {
        let (withdraw, withdrawn) = channel();
        self.lock().insert(question, withdraw);
        Withdrawable { withdrawals: self.clone(), question, withdrawn }
    }

    /// Ends the waiting of a question. Does nothing if it waits no longer.
    pub(super) fn withdraw(&self, question: Question) {
        self.lock().remove(&question);
    }

    /// A panic while it is locked leaves it whole.
    fn lock(&self) -> MutexGuard<'_, BTreeMap<Question, Sender<()>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Withdrawable {
    /// Waits until the question is withdrawn. Can be dropped.
    pub(super) async fn withdrawn(&mut self) {
        // Nothing is sent: the other end is dropped.
        let _ = (&mut self.withdrawn).await;
    }
}

impl Drop for Withdrawable {
    fn drop(&mut self) {
        self.withdrawals.withdraw(self.question);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_question_is_withdrawn_alone_and_leaves_nothing() {
        let withdrawals = Withdrawals::default();
        let (mut first, mut second) = (withdrawals.enter((0, 7)), withdrawals.enter((1, 7)));
        withdrawals.withdraw((0, 7));
        first.withdrawn().await;
        let others = tokio::select! {
            biased;
            () = second.withdrawn() => true,
            () = std::future::ready(()) => false,
        };
        assert!(!others, "it is another worker's");
        drop((first, second));
        assert!(withdrawals.lock().is_empty());
    }
}
