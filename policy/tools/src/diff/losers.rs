//! Who loses a right, by what the old and the new policy say about it. Gains are the losses the other way round.
//!
//! A peer loses a right if a rule allowed it and none denied it, and now a rule denies it or none allows it any more. So
//! each loss shows in a peer of whom nothing is true but the conditions of one rule that allowed, and maybe those of one
//! that now denies. It stands for the peers that meet more conditions.
//!
//! Peers that were denied the right before are spared. If nothing denies it now, those that are allowed it now are spared
//! too. A line of its own says which of these a rule denies it all the same.

use std::collections::BTreeSet;

use fdbroker_policy::Peer;
use fdbroker_policy::rules::{Glob, Who};

use super::says::{RuleOf, Says, Side};
use crate::budget::Budget;
use crate::example::{Classes, Example, STEPS};
use crate::glob_intersection::{Budgets, cost_of_variants, slashes};

/// Of how many losses those that another one tells of are left out.
const MANY_LOSSES: usize = 200;

/// The steps that each peer costs which may lose something: all are kept until they are looked at.
const STEPS_OF_CANDIDATE: usize = 1500;

/// One who gains or loses.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Found {
    pub(super) example: Example,
    pub(super) gains: bool,
    pub(super) before: Option<usize>,
    pub(super) after: Option<usize>,
    pub(super) unless: Vec<(Side, usize)>,
}

/// An example that loses, and the rules that allow now and spare some.
struct Loss {
    example: Example,
    spared_now: Vec<RuleOf>,
}

/// Finds those who lose.
pub(super) struct Losers<'p> {
    /// All different conditions, by the numbers that rules have them by.
    whos: Vec<&'p Who>,
    pub(super) classes: Classes,
    /// The most slashes in a pattern.
    depth: usize,
}

impl<'p> Losers<'p> {
    pub(super) fn new(whos: Vec<&'p Who>, budgets: Budgets) -> Self {
        let cgroups = whos.iter().filter_map(|who| who.cgroups.as_deref()).flatten();
        let depth = cgroups.map(slashes).max().unwrap_or(0);
        Self { classes: Classes::new(&whos, budgets), whos, depth }
    }

    pub(super) const fn budget(&self) -> &Budget {
        &self.classes.budgets.question
    }

    /// Returns those who gain or lose.
    pub(super) fn compare(&self, [old, new]: &[Says; 2]) -> Vec<Found> {
        let mut found = self.losing(old, new, false);
        found.extend(self.losing(new, old, true));
        found
    }

    /// Those to whom `before` grants and `after` refuses. `reversed`: the later policy is `before`.
    fn losing(&self, before: &Says, after: &Says, reversed: bool) -> Vec<Found> {
        let candidates = self.candidates(before, after);
        let narrowed = self.sure(candidates.iter().map(|it| self.narrowed(it, before, after)));
        let losing: BTreeSet<_> = narrowed.flatten().collect();
        let losses: Vec<_> = self.sure(losing.into_iter().map(|it| self.loss(it, after))).collect();
        let implied = |at: usize, it: &Loss| {
            let tells = |(place, other): (usize, &Loss)| {
                let first = place < at || !self.tells_of(it, &other.example);
                place != at && self.tells_of(other, &it.example) && first
            };
            losses.iter().enumerate().any(tells)
        };
        // Each is compared with each other; of very many, more are told than need be.
        let few = losses.len() <= MANY_LOSSES;
        let told = losses.iter().enumerate().filter(|(at, it)| !few || !implied(*at, it));
        self.sure(told.map(|(_, it)| self.found(it, before, after, reversed))).collect()
    }

    /// Those found before the budget was spent: of a later one, not all was looked at that could spare somebody.
    fn sure<'s, T>(&'s self, found: impl Iterator<Item = T> + 's) -> impl Iterator<Item = T> + 's {
        found.take_while(|_| !self.budget().is_spent())
    }

    fn loss(&self, example: Example, after: &Says) -> Loss {
        let concerns = |who: usize| !self.meeting(&example, who).is_empty();
        let is_denied = |part: &Example| {
            part.ask(&self.classes, |peer| after.deny.iter().any(|rule| self.includes(rule, peer)))
        };
        // Whom a rule denies, no other can spare.
        let known = example.is_vague || !self.budget().take(self.cost_of_parts(&example));
        let denied = known || example.parts(self.depth).iter().all(is_denied);
        let allowed = after.allow.iter().filter(|(who, _)| !denied && concerns(*who));
        Loss { spared_now: allowed.copied().collect(), example }
    }

    /// Whether whatever is true of a loser is told by the line of a loss: it is not spared there.
    fn tells_of(&self, loss: &Loss, loser: &Example) -> bool {
        let spared = |(who, _): &RuleOf| !self.meeting(loser, *who).is_empty();
        !loss.example.is_vague
            && loss.example.is_part_of(loser, &self.classes)
            && !loss.spared_now.iter().any(spared)
    }

    /// Peers among whom everybody who loses is represented.
    fn candidates(&self, before: &Says, after: &Says) -> BTreeSet<Example> {
        let mut candidates = BTreeSet::new();
        let denied: BTreeSet<usize> = before.deny.iter().map(|(who, _)| *who).collect();
        let allowed: BTreeSet<usize> = after.allow.iter().map(|(who, _)| *who).collect();
        let new_denials: BTreeSet<usize> =
            after.deny.iter().map(|(who, _)| *who).filter(|who| !denied.contains(who)).collect();
        for (who, _) in &before.allow {
            if self.budget().is_spent() {
                break;
            }
            let meeting = self.meeting(&Example::default(), *who);
            for denial in &new_denials {
                let both: Vec<_> =
                    meeting.iter().flat_map(|it| self.meeting(it, *denial)).collect();
                if !self.budget().take(STEPS_OF_CANDIDATE * both.len()) {
                    return candidates;
                }
                candidates.extend(both);
            }
            if !allowed.contains(who) && self.budget().take(STEPS_OF_CANDIDATE * meeting.len()) {
                candidates.extend(meeting);
            }
        }
        candidates
    }

    fn meeting(&self, example: &Example, who: usize) -> Vec<Example> {
        self.whos.get(who).map(|who| example.meeting(who, &self.classes)).unwrap_or_default()
    }

    /// The part of an example that loses: all of it, or only with some control groups.
    fn narrowed(&self, example: &Example, before: &Says, after: &Says) -> Vec<Example> {
        if !self.budget().take(self.cost_of_parts(example)) {
            return Vec::new();
        }
        let parts = example.parts(self.depth);
        let total = parts.len();
        let losing: Vec<_> = parts.into_iter().filter(|it| self.loses(it, before, after)).collect();
        if losing.len() == total { vec![example.clone()] } else { losing }
    }

    fn cost_of_parts(&self, example: &Example) -> usize {
        STEPS + example.cgroup().map_or(0, |glob| cost_of_variants(glob, self.depth))
    }

    /// A vague example may always lose.
    fn loses(&self, example: &Example, before: &Says, after: &Says) -> bool {
        let loses = |peer: &Peer<'_>| self.decides(before, peer).0 && !self.decides(after, peer).0;
        example.is_vague || example.ask(&self.classes, loses)
    }

    /// Whether a peer is granted it, and by the word of which rule.
    fn decides(&self, says: &Says, peer: &Peer<'_>) -> (bool, Option<usize>) {
        let first = |rules: &[RuleOf]| {
            rules.iter().find(|rule| self.includes(rule, peer)).map(|(_, rule)| *rule)
        };
        match (first(&says.deny), first(&says.allow)) {
            (Some(rule), _) => (false, Some(rule)),
            (None, rule) => (rule.is_some(), rule),
        }
    }

    fn includes(&self, (who, _): &RuleOf, peer: &Peer<'_>) -> bool {
        let Some(who) = self.whos.get(*who) else { return false };
        self.budget().take(cost(who, peer)) && who.includes(peer)
    }

    fn found(&self, loss: &Loss, before: &Says, after: &Says, reversed: bool) -> Found {
        let Loss { example, spared_now } = loss;
        let concerns = |(who, _): &&RuleOf| !self.meeting(example, *who).is_empty();
        let first = |rules: &[RuleOf]| rules.iter().find(concerns).map(|(_, rule)| *rule);
        let decides = |says| example.ask(&self.classes, |peer| self.decides(says, peer).1);
        let (rule_before, rule_after) = if example.is_vague {
            (first(&before.allow), first(&after.deny))
        } else {
            (decides(before), decides(after))
        };
        let (earlier, later) =
            if reversed { (Side::New, Side::Old) } else { (Side::Old, Side::New) };
        let denied = before.deny.iter().filter(concerns).map(|(_, rule)| (earlier, *rule));
        let allowed = spared_now.iter().map(|(_, rule)| (later, *rule));
        let unless = denied.chain(allowed).collect();
        let (before, after) =
            if reversed { (rule_after, rule_before) } else { (rule_before, rule_after) };
        Found { example: example.clone(), gains: reversed, before, after, unless }
    }
}

/// About how many steps it takes to find out whether a rule concerns a peer, at most.
fn cost(who: &Who, peer: &Peer<'_>) -> usize {
    if !who.includes_user(peer.uid) {
        return 2;
    }
    let of = |globs: &Option<Box<[Glob]>>, fact: Option<&str>| -> usize {
        let (Some(globs), Some(fact)) = (globs, fact) else { return 1 };
        globs.iter().map(|glob| glob.cost(fact)).sum()
    };
    2 + of(&who.units, peer.unit) + of(&who.cgroups, peer.cgroup) + of(&who.labels, peer.label)
}
