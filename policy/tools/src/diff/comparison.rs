//! Compares two policies place by place: what both say about each right, and whom the difference concerns. Slots that
//! the same rules cover are looked at once.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use fdbroker_policy::rules::Rule;
use fdbroker_policy::{Moment, Policy, Right};

use super::change::{Change, Unless, united};
use super::losers::{Found, Losers};
use super::place::{Place, places};
use super::says::{RuleOf, Says, Side};
use crate::budget::Budget;
use crate::glob_intersection::Budgets;
use crate::scope::{Scope, joined};
use crate::subjects::Subjects;

/// The steps that each of those costs who are spared: they are told, and take memory.
const STEPS_OF_UNLESS: usize = 1000;

/// The steps that each rule costs which covers a place.
const STEPS_OF_COVERING: usize = 40;

pub(super) struct Comparison<'p> {
    policies: [&'p Policy; 2],
    /// The rules that count at the moment, with the number of their conditions.
    rules: [Vec<(usize, &'p Rule)>; 2],
    losers: Losers<'p>,
}

impl<'p> Comparison<'p> {
    pub(super) fn new(policies: [&'p Policy; 2], at: Moment, budgets: Budgets) -> Self {
        let mut numbers = HashMap::new();
        let mut whos = Vec::new();
        let rules = policies.map(|policy| {
            let counting = policy.rules().iter().filter(|rule| rule.valid.holds_at(at));
            let numbered = counting.map(|rule| {
                let number = *numbers.entry(&rule.who).or_insert_with(|| {
                    whos.push(&rule.who);
                    whos.len() - 1
                });
                (number, rule)
            });
            numbered.collect()
        });
        Self { policies, rules, losers: Losers::new(whos, budgets) }
    }

    pub(super) const fn budget(&self) -> &Budget {
        self.losers.budget()
    }

    pub(super) fn changes(&self) -> Vec<Change> {
        let mut known: HashMap<[Says; 2], Vec<Found>> = HashMap::new();
        let mut by_right: BTreeMap<(Found, Right), Vec<Scope>> = BTreeMap::new();
        let rules: Vec<_> = self.rules.iter().flatten().map(|(_, rule)| *rule).collect();
        for place in places(self.policies, &rules) {
            for (right, says) in self.says(&place) {
                let found = known.entry(says).or_insert_with_key(|says| self.losers.compare(says));
                for found in found {
                    if !self.budget().take(STEPS_OF_UNLESS * (1 + found.unless.len())) {
                        break;
                    }
                    by_right.entry((found.clone(), right)).or_default().push(place.scope);
                }
            }
        }
        let mut by_scope: BTreeMap<(Found, Vec<Scope>), Vec<Right>> = BTreeMap::new();
        for ((found, right), scopes) in by_right {
            by_scope.entry((found, joined(scopes))).or_default().push(right);
        }
        let changes =
            by_scope.into_iter().map(|((found, on), rights)| self.change(found, on, rights));
        united(changes.collect())
    }

    fn change(&self, found: Found, on: Vec<Scope>, rights: Vec<Right>) -> Change {
        let unless = found.unless.iter().filter_map(|(side, rule)| {
            let rule = self.rule(*side, *rule)?;
            Some(Unless { rule: rule.id.clone(), who: Subjects::from(&rule.who) })
        });
        let unless: BTreeSet<_> = unless.collect();
        let id = |side, rule: Option<usize>| Some(self.rule(side, rule?)?.id.clone());
        Change {
            on,
            who: found.example.subjects(&self.losers.classes),
            gains: found.gains,
            rights,
            before: id(Side::Old, found.before),
            after: id(Side::New, found.after),
            unless: unless.into_iter().collect(),
            is_vague: found.example.is_vague,
        }
    }

    fn rule(&self, side: Side, place: usize) -> Option<&'p Rule> {
        self.rules_of(side).get(place).map(|(_, rule)| *rule)
    }

    fn policy(&self, side: Side) -> &'p Policy {
        let [old, new] = self.policies;
        if side == Side::Old { old } else { new }
    }

    fn rules_of(&self, side: Side) -> &[(usize, &'p Rule)] {
        let [old, new] = &self.rules;
        if side == Side::Old { old } else { new }
    }

    /// What both policies say about a place, for each right about which they could differ.
    fn says(&self, place: &Place) -> Vec<(Right, [Says; 2])> {
        let covering = [Side::Old, Side::New].map(|side| self.covering(side, place));
        let says = place.rights.iter().map(|right| {
            let [old, new] = &covering;
            let of = |side, covering| {
                let kept = self.policy(side).keeps(*right, place.target);
                if kept { Says::default() } else { Says::of(covering, *right) }
            };
            (*right, [of(Side::Old, old), of(Side::New, new)])
        });
        says.filter(|(_, [old, new])| !old.concerns_the_same_as(new)).collect()
    }

    fn covering(&self, side: Side, place: &Place) -> Vec<(RuleOf, &'p Rule)> {
        let policy = self.policy(side);
        let rules = self.rules_of(side).iter().enumerate();
        if !self.budget().take(self.rules_of(side).len()) {
            return Vec::new();
        }
        let covers = |right: &Right, rule: &Rule| {
            policy.can_be_asked(*right, place.target) && rule.covers(*right, place.target)
        };
        let covering: Vec<_> = rules
            .filter(|(_, (_, rule))| place.rights.first().is_some_and(|right| covers(right, rule)))
            .map(|(at, (who, rule))| ((*who, at), *rule))
            .collect();
        // They are kept for as long as other places are compared.
        if self.budget().take(STEPS_OF_COVERING * covering.len()) { covering } else { Vec::new() }
    }
}
