//! How much work may still be done for a question about a policy, in steps. The author of a policy
//! must not be able to keep a caller waiting.

use std::cell::Cell;

/// Steps that are left; each is some ten nanoseconds. Once they are spent, nothing more is given.
pub(crate) struct Budget(Cell<u64>);

impl Budget {
    /// For all that is said of one question: some ten seconds at most.
    pub(crate) const QUESTION: u64 = 1_000_000_000;

    /// For patterns that two rules have in common: a part of that, so that the others are still told apart.
    pub(crate) const PATTERNS: u64 = 1_500_000;

    pub(crate) const fn of(steps: u64) -> Self {
        Self(Cell::new(steps))
    }

    /// Takes so many steps. `false` if there were not as many: then none is left.
    pub(crate) fn take(&self, steps: usize) -> bool {
        let left = u64::try_from(steps).ok().and_then(|steps| self.0.get().checked_sub(steps));
        self.0.set(left.unwrap_or(0));
        left.is_some()
    }

    /// Returns whether no step is left, so that what was found may not be all.
    pub(crate) fn is_spent(&self) -> bool {
        self.0.get() == 0
    }

    pub(crate) fn left(&self) -> u64 {
        self.0.get()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_paid_spends_the_rest() {
        let budget = Budget::of(10);
        assert!(budget.take(4) && budget.left() == 6 && !budget.is_spent());
        assert!(!budget.take(7) && budget.is_spent());
        assert!(!budget.take(1));
    }
}
