//! Which conditions a peer meets, each looked at once.
//!
//! A peer is asked about again and again, and what it is does not change in between. So the outcome of each condition
//! is kept: a later decision matches no pattern and searches no group.

use std::cell::Cell;

use crate::Peer;
use crate::rule::{Rule, Who};

/// What is known of one peer under one policy. For another peer or policy it takes another one:
/// [`Policy::conditions`](crate::Policy::conditions).
#[derive(Debug)]
pub struct Conditions {
    /// By the position of the rule.
    known: Box<[Cell<Known>]>,
}

/// What is known of one rule's conditions.
#[derive(Clone, Copy, Debug, Default)]
struct Known {
    includes: Option<bool>,
    keeps_out: Option<bool>,
}

impl Conditions {
    pub(crate) fn new(rules: usize) -> Self {
        Self { known: vec![Cell::default(); rules].into() }
    }

    /// Whether a rule includes the peer.
    pub(crate) fn includes(&self, rule: &Rule, position: usize, peer: &Peer<'_>) -> bool {
        self.look(position, |known| &mut known.includes, || rule.who.includes(peer))
    }

    /// Whether a rule that denies counts for the peer.
    pub(crate) fn keeps_out(&self, rule: &Rule, position: usize, peer: &Peer<'_>) -> bool {
        self.look(position, |known| &mut known.keeps_out, || Who::keeps_out(&rule.who, peer))
    }

    fn look(
        &self,
        position: usize,
        part: impl Fn(&mut Known) -> &mut Option<bool>,
        ask: impl FnOnce() -> bool,
    ) -> bool {
        // Of a rule that this was not made for, nothing is kept.
        let Some(cell) = self.known.get(position) else { return ask() };
        let mut known = cell.get();
        let found = *part(&mut known).get_or_insert_with(ask);
        cell.set(known);
        found
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::Conditions;

    #[test]
    fn a_condition_is_looked_at_once() {
        let (conditions, asked) = (Conditions::new(2), Cell::new(0));
        let ask = || {
            asked.set(asked.get() + 1);
            true
        };
        for _ in 0..3 {
            assert!(conditions.look(1, |known| &mut known.includes, ask));
        }
        assert_eq!(asked.get(), 1);
        assert!(conditions.look(1, |known| &mut known.keeps_out, ask));
        assert_eq!(asked.get(), 2);
        assert!(conditions.look(2, |known| &mut known.includes, ask));
    }
}
