//! What one policy says about one right to one place.

use std::collections::BTreeSet;

use fdbroker_policy::Right;
use fdbroker_policy::rules::{Rights, Rule};

/// Which of the two policies.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(super) enum Side {
    Old,
    New,
}

/// A rule of one of the policies: the number of its conditions, and its place in the order of ids.
pub(super) type RuleOf = (usize, usize);

/// What one policy says about one right to one place: the rules, in the order of their ids.
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub(super) struct Says {
    pub(super) allow: Vec<RuleOf>,
    pub(super) deny: Vec<RuleOf>,
}

impl Says {
    /// Collects what the rules that cover a place say about a right.
    pub(super) fn of(covering: &[(RuleOf, &Rule)], right: Right) -> Self {
        let rules = |says: fn(&Rule) -> Rights| {
            let saying = covering.iter().filter(|(_, rule)| says(rule).contains(right));
            saying.map(|(rule, _)| *rule).collect()
        };
        Self { allow: rules(|rule| rule.allow), deny: rules(|rule| rule.deny) }
    }

    /// Whether the same people are allowed and denied, by whatever rules.
    pub(super) fn concerns_the_same_as(&self, other: &Self) -> bool {
        let whos = |rules: &[RuleOf]| rules.iter().map(|(who, _)| *who).collect::<BTreeSet<_>>();
        whos(&self.allow) == whos(&other.allow) && whos(&self.deny) == whos(&other.deny)
    }
}
