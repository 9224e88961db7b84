//! Questions of callers who wait for a connection, and may leave before they have one.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::supervisor::workers::abandonment::Abandonment;

/// A question: the number of its worker, and its ticket.
type Question = (u32, u32);

/// All that are to be answered.
#[derive(Clone, Default)]
pub(crate) struct Withdrawals(Arc<Mutex<BTreeMap<Question, Arc<Withdrawn>>>>);

/// One question, until this is dropped.
pub(crate) struct Withdrawable {
    withdrawals: Withdrawals,
    question: Question,
    withdrawn: Arc<Withdrawn>,
}

#[derive(Default)]
struct Withdrawn {
    /// It ends the making of the connection, too.
    left: Abandonment,
    told: Notify,
}

impl Withdrawals {
    /// Enters a question.
    pub(super) fn enter(&self, question: Question) -> Withdrawable {
        let withdrawn = Arc::<Withdrawn>::default();
        self.lock().insert(question, Arc::clone(&withdrawn));
        Withdrawable { withdrawals: self.clone(), question, withdrawn }
    }

    /// A caller has left. Does nothing if it has been answered.
    pub(super) fn withdraw(&self, question: Question) {
        if let Some(withdrawn) = self.lock().remove(&question) {
            withdrawn.left.abandon();
            withdrawn.told.notify_one();
        }
    }

    /// A panic while it is locked leaves it whole.
    fn lock(&self) -> MutexGuard<'_, BTreeMap<Question, Arc<Withdrawn>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Withdrawable {
    /// Waits until the caller has left. Can be dropped.
    pub(super) async fn withdrawn(&self) {
        while !self.withdrawn.left.is_abandoned() {
            self.withdrawn.told.notified().await;
        }
    }

    /// What says whether the caller has left, and ends the making of its connection then.
    pub(super) fn abandonment(&self) -> &Abandonment {
        &self.withdrawn.left
    }
}

impl Drop for Withdrawable {
    fn drop(&mut self) {
        self.withdrawals.lock().remove(&self.question);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_question_is_withdrawn_alone_and_leaves_nothing() {
        let withdrawals = Withdrawals::default();
        let (first, second) = (withdrawals.enter((0, 7)), withdrawals.enter((1, 7)));
        withdrawals.withdraw((0, 7));
        first.withdrawn().await;
        assert!(first.abandonment().is_abandoned());
        assert!(!second.abandonment().is_abandoned(), "it is another worker's");
        drop((first, second));
        assert!(withdrawals.lock().is_empty());
    }
}
