//! What the policy says to a request, and how it comes to say so.
//!
//! Of the rules that cover the target, count at this time and whose conditions the peer meets: one that denies the right refuses; else
//! one that allows it grants; else it is refused. Neither the order of the rules nor their place in the file counts,
//! not even for which of several rules is named: it is the one whose id comes first as a string.

use crate::Right;
use crate::rule::{Rule, RuleNumber};
use crate::{Conditions, Moment, Peer};

/// The answer to "may this peer do that?".
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict<'p> {
    /// It may.
    Granted {
        /// The id of the rule that allows it.
        rule: &'p str,
    },
    /// It may not.
    Refused {
        /// The id of the rule that denies it; `None` where no rule allows it.
        rule: Option<&'p str>,
    },
    /// It may not: a rule allows it, but a resource's slot is the policy's own, and nobody changes it.
    Kept {
        /// The id of the rule that allows it.
        rule: &'p str,
    },
}

impl<'p> Verdict<'p> {
    /// Returns whether the peer may.
    #[must_use]
    pub const fn is_granted(&self) -> bool {
        matches!(self, Self::Granted { .. })
    }

    /// Returns the rule that decides, or `None` if none does.
    #[must_use]
    pub const fn rule(&self) -> Option<&'p str> {
        match *self {
            Self::Granted { rule } => Some(rule),
            Self::Refused { rule } => rule,
            Self::Kept { .. } => None,
        }
    }
}

/// Collects the rules that decide one request.
pub(crate) struct Accumulator<'p, 'a> {
    rules: &'p [Rule],
    peer: &'a Peer<'a>,
    /// What is known of the peer already.
    conditions: Option<&'a Conditions>,
    right: Right,
    at: Moment,
    denied_by: Option<RuleNumber>,
    allowed_by: Option<RuleNumber>,
}

impl<'p, 'a> Accumulator<'p, 'a> {
    pub(crate) const fn new(
        rules: &'p [Rule],
        peer: &'a Peer<'a>,
        conditions: Option<&'a Conditions>,
        right: Right,
        at: Moment,
    ) -> Self {
        Self { rules, peer, conditions, right, at, denied_by: None, allowed_by: None }
    }

    /// Adds rules that cover the target, given in ascending order.
    pub(crate) fn add(&mut self, numbers: &[RuleNumber]) {
        for &number in numbers {
            // What follows in this list cannot come before the rule that already denies.
            if self.denied_by.is_some_and(|first| first <= number) {
                return;
            }
            self.add_one(number);
        }
    }

    fn add_one(&mut self, number: RuleNumber) {
        let Some(rule) = self.rules.get(number.position()) else { return };
        let denies = rule.deny.contains(self.right);
        let adds =
            rule.allow.contains(self.right) && self.allowed_by.is_none_or(|first| number < first);
        let says_something = denies || adds;
        if !says_something
            || !rule.valid.holds_at(self.at)
            || !self.concerns(rule, number.position(), denies)
        {
            return;
        }
        if denies {
            self.denied_by = Some(number);
        } else {
            self.allowed_by = Some(number);
        }
    }

    /// Whether the rule's conditions count for the peer.
    fn concerns(&self, rule: &Rule, position: usize, denies: bool) -> bool {
        match (self.conditions, denies) {
            (None, true) => rule.who.keeps_out(self.peer),
            (None, false) => rule.who.includes(self.peer),
            (Some(known), true) => known.keeps_out(rule, position, self.peer),
            (Some(known), false) => known.includes(rule, position, self.peer),
        }
    }

    pub(crate) fn verdict(self) -> Verdict<'p> {
        let id =
            |number: RuleNumber| self.rules.get(number.position()).map(|rule| rule.id.as_str());
        if let Some(rule) = self.denied_by.and_then(id) {
            return Verdict::Refused { rule: Some(rule) };
        }
        match self.allowed_by.and_then(id) {
            Some(rule) => Verdict::Granted { rule },
            None => Verdict::Refused { rule: None },
        }
    }
}
