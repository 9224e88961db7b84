//! Questions of callers who wait for a connection: they may leave before they have one, and are sent back when
//! the policy is replaced.

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
    is_stale: Mutex<bool>,
    told: Notify,
}

/// Why a question is not to be waited for any more.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Why {
    /// Its caller has left.
    Left,
    /// It was decided by a policy that is no longer in force.
    Stale,
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

    /// Sends all back who wait: the policy has been replaced.
    pub(super) fn send_back(&self) {
        for withdrawn in self.lock().values() {
            *withdrawn.is_stale.lock().unwrap_or_else(PoisonError::into_inner) = true;
            withdrawn.told.notify_one();
        }
    }

    /// A panic while it is locked leaves it whole.
    fn lock(&self) -> MutexGuard<'_, BTreeMap<Question, Arc<Withdrawn>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Withdrawable {
    /// Waits until the question is withdrawn, and returns why. Can be dropped.
    pub(super) async fn withdrawn(&self) -> Why {
        loop {
            if let Some(why) = self.why() {
                return why;
            }
            self.withdrawn.told.notified().await;
        }
    }

    /// Why it has been withdrawn, if it has.
    pub(super) fn why(&self) -> Option<Why> {
        if self.withdrawn.left.is_abandoned() {
            return Some(Why::Left);
        }
        let is_stale = *self.withdrawn.is_stale.lock().unwrap_or_else(PoisonError::into_inner);
        is_stale.then_some(Why::Stale)
    }

    /// What ends the making of its connection when the caller leaves.
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
        assert_eq!(first.withdrawn().await, Why::Left);
        assert!(first.abandonment().is_abandoned());
        assert_eq!(second.why(), None, "it is another worker's");
        drop((first, second));
        assert!(withdrawals.lock().is_empty());
    }

    #[tokio::test]
    async fn all_are_sent_back_and_none_is_abandoned_by_that() {
        let withdrawals = Withdrawals::default();
        let waits = [1, 2].map(|ticket| withdrawals.enter((0, ticket)));
        withdrawals.send_back();
        for question in &waits {
            assert_eq!(question.withdrawn().await, Why::Stale);
            assert!(!question.abandonment().is_abandoned());
        }
        withdrawals.withdraw((0, 1));
        assert_eq!(waits[0].why(), Some(Why::Left), "it has left since");
        let later = withdrawals.enter((0, 3));
        assert_eq!(later.why(), None);
    }
}
