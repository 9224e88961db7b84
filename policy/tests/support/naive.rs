//! What the language's description says, read off it without any cleverness: every rule is looked at.

use std::collections::BTreeSet;

use fdbroker_policy::{Index, Peer, Right, Target, Verdict};

use crate::random::{CGROUPS, LABELS, Pattern, Rule, TAGS, UNITS};

/// The reference, read off the language's description: every rule is looked at.
pub(crate) fn expected<'r>(
    rules: &'r [Rule],
    peer: &Peer<'_>,
    right: Right,
    target: Target,
    seconds: i64,
) -> Verdict<'r> {
    let covering = |rights: fn(&Rule) -> &BTreeSet<&'static str>,
                    concerns: fn(&Rule, &Peer<'_>) -> bool| {
        rules
            .iter()
            .filter(|rule| rule.covers(target, right) && rule.counts(seconds))
            .filter(|rule| concerns(rule, peer) && Rule::has(rights(rule), right))
            .map(|rule| rule.id.as_str())
            .min()
    };
    if target.tag().is_some_and(|tag| !TAGS.contains(&tag.get())) {
        return Verdict::Refused { rule: None };
    }
    match (
        covering(|rule| &rule.deny, Rule::may_concern),
        covering(|rule| &rule.allow, Rule::concerns),
    ) {
        (Some(rule), _) => Verdict::Refused { rule: Some(rule) },
        (None, Some(rule)) if is_kept(right, target) => Verdict::Kept { rule },
        (None, Some(rule)) => Verdict::Granted { rule },
        (None, None) => Verdict::Refused { rule: None },
    }
}

/// Nobody changes a resource's slot: the first of each tag is one.
fn is_kept(right: Right, target: Target) -> bool {
    matches!(right, Right::Add | Right::Del | Right::Replace)
        && matches!(target, Target::Slot(slot) if slot.index == Index::MIN)
}

fn stands_for(
    table: &[(&str, &[&str])],
    patterns: &Option<Vec<&'static str>>,
    fact: Option<&str>,
) -> bool {
    patterns.as_ref().is_none_or(|patterns| {
        table.iter().any(|(pattern, texts)| {
            patterns.contains(pattern) && fact.is_some_and(|fact| texts.contains(&fact))
        })
    })
}

impl Pattern {
    fn covers(&self, target: Target, right: Right) -> bool {
        let whole_only =
            matches!(target, Target::Tag(_)) || matches!(right, Right::Tag | Right::Claim);
        let (asked, index) = match target {
            Target::Broker => return false,
            Target::Slot(slot) => (slot.tag.get(), Some(slot.index.get())),
            Target::Tag(tag) => (tag.get(), None),
        };
        match *self {
            Self::Everything => true,
            Self::Whole(tag) => tag == asked,
            Self::Range(tag, first, last) => {
                !whole_only
                    && tag == asked
                    && index.is_some_and(|index| first <= index && index <= last)
            }
            Self::Resource(tag) => !whole_only && tag == asked && index == Some(0),
        }
    }
}

impl Rule {
    fn concerns(&self, peer: &Peer<'_>) -> bool {
        let mut groups = peer.groups.to_vec();
        groups.push(peer.gid);
        self.users.as_ref().is_none_or(|users| users.contains(&peer.uid.0))
            && self.groups.as_ref().is_none_or(|any| groups.iter().any(|gid| any.contains(&gid.0)))
            && stands_for(&UNITS, &self.units, peer.unit)
            && stands_for(&CGROUPS, &self.cgroups, peer.cgroup)
            && stands_for(&LABELS, &self.labels, peer.label)
    }

    /// What could not be read of a peer counts against it.
    fn may_concern(&self, peer: &Peer<'_>) -> bool {
        let mut guess = self.clone();
        if peer.vanished || peer.out_of_sight {
            (guess.units, guess.cgroups) = (None, None);
        }
        if peer.vanished {
            (guess.groups, guess.labels) = (None, None);
        }
        guess.concerns(peer)
    }

    fn counts(&self, seconds: i64) -> bool {
        self.from.is_none_or(|from| seconds >= from)
            && self.until.is_none_or(|until| seconds < until)
    }

    fn has(rights: &BTreeSet<&'static str>, right: Right) -> bool {
        rights.contains(right.name()) || (rights.contains("*") && !right.is_of_broker())
    }

    fn covers(&self, target: Target, right: Right) -> bool {
        match target {
            Target::Broker => right.is_of_broker(),
            _ => {
                !right.is_of_broker()
                    && self.slots.iter().any(|pattern| pattern.covers(target, right))
            }
        }
    }
}
