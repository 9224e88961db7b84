//! A policy that loaded: what is declared, and what may be done.
//!
//! It never changes. A new text makes a new policy.

use std::collections::{BTreeMap, HashMap};

use crate::index::RuleIndex;
use crate::rule::Rule;
use crate::verdict::Accumulator;
use crate::{
    Conditions, Finding, Gid, Index, Moment, Peer, Rates, Resource, ResourceIndex, Right, Settings,
    Slot, Tag, TagSettings, Target, Uid, Verdict,
};

/// Everything that a policy file says.
#[derive(Clone, Debug)]
pub struct Policy {
    settings: Settings,
    tags: BTreeMap<Tag, TagSettings>,
    tags_by_name: HashMap<String, Tag>,
    resources: Vec<Resource>,
    resources_by_slot: HashMap<Slot, ResourceIndex>,
    /// In order.
    resource_slots: Box<[Slot]>,
    slots_by_name: HashMap<String, Slot>,
    /// Sorted by id, so that the smaller number is the rule to report.
    rules: Vec<Rule>,
    index: RuleIndex,
    timed: bool,
    tests: usize,
    names: KnownNames,
    warnings: Vec<Finding>,
}

impl Policy {
    /// The broker's own settings.
    #[must_use]
    pub const fn settings(&self) -> &Settings {
        &self.settings
    }

    /// A declared tag.
    #[must_use]
    pub fn tag(&self, tag: Tag) -> Option<&TagSettings> {
        self.tags.get(&tag)
    }

    /// The declared tags, in the order of their numbers.
    pub fn tags(&self) -> impl Iterator<Item = &TagSettings> {
        self.tags.values()
    }

    /// The declared resources, in the order of the file. A [`ResourceIndex`] is a position in here.
    #[must_use]
    pub fn resources(&self) -> &[Resource] {
        &self.resources
    }

    /// The resource that is found at a slot.
    #[must_use]
    pub fn resource_at(&self, slot: Slot) -> Option<(ResourceIndex, &Resource)> {
        let index = *self.resources_by_slot.get(&slot)?;
        Some((index, self.resources.get(index.position())?))
    }

    /// The slots at which resources are found, in order: of one tag or of all, and behind a slot. The cost grows with the
    /// logarithm of the resources.
    #[must_use]
    pub fn resource_slots(&self, tag: Option<Tag>, after: Option<Slot>) -> &[Slot] {
        let slots = &self.resource_slots;
        let behind = after.map_or(0, |after| slots.partition_point(|slot| *slot <= after));
        let first = tag.map_or(0, |tag| slots.partition_point(|slot| slot.tag < tag));
        let end = tag.map_or(slots.len(), |tag| slots.partition_point(|slot| slot.tag <= tag));
        &slots[behind.max(first).min(end)..end]
    }

    /// The slot that a text means: a resource's name (`tun`), a tag's name or number and an index (`devices/0`, `1/0`).
    ///
    /// A tag given by number need not be declared. `None` for anything else.
    #[must_use]
    pub fn resolve(&self, text: &str) -> Option<Slot> {
        let Some((tag, index)) = text.split_once('/') else {
            return self.slots_by_name.get(text).copied();
        };
        Some(Slot { tag: self.resolve_tag(tag)?, index: index.parse().ok()? })
    }

    /// The tag that a text means: its name, or its number. A tag given by number need not be declared.
    #[must_use]
    pub fn resolve_tag(&self, text: &str) -> Option<Tag> {
        self.tags_by_name.get(text).copied().or_else(|| text.parse().ok())
    }

    /// How many rules there are.
    #[must_use]
    pub const fn rule_count(&self) -> usize {
        self.rules.len()
    }

    /// Returns the rates of the rule with this id.
    #[must_use]
    pub fn rates_of(&self, rule: &str) -> Rates {
        self.rule(rule).map(|rule| rule.rates).unwrap_or_default()
    }

    /// Returns the rules that set a rate, by id.
    pub fn rules_with_rates(&self) -> impl Iterator<Item = (&str, Rates)> {
        let set = self.rules.iter().filter(|rule| rule.rates != Rates::default());
        set.map(|rule| (rule.id.as_str(), rule.rates))
    }

    /// Returns what the policy has loaded in spite of, such as users who do not exist. Of very many, the first.
    #[must_use]
    pub fn warnings(&self) -> &[Finding] {
        &self.warnings
    }

    /// Notes what it has loaded in spite of.
    pub(crate) fn with_warnings(self, warnings: Vec<Finding>) -> Self {
        Self { warnings, ..self }
    }

    /// What the policy calls a user, if it names it. Of several names the first in the alphabet.
    #[must_use]
    pub fn user_name(&self, uid: Uid) -> Option<&str> {
        self.names.users.get(&uid).map(String::as_str)
    }

    /// What the policy calls a group, if it names it. Of several names the first in the alphabet.
    #[must_use]
    pub fn group_name(&self, gid: Gid) -> Option<&str> {
        self.names.groups.get(&gid).map(String::as_str)
    }

    /// How many tests of its own it has passed.
    #[must_use]
    pub const fn test_count(&self) -> usize {
        self.tests
    }

    /// Whether the time can make a difference. Where it cannot, any moment will do for [`Policy::outcome`].
    #[must_use]
    pub const fn is_timed(&self) -> bool {
        self.timed
    }

    /// Returns whether a peer may do something to a slot, to a whole tag or to the broker, at a
    /// moment.
    ///
    /// This is the one decision: the daemon, `[[tests]]` and `explain` ask it, and no other.
    ///
    /// A tag that is not declared is always refused, and so is [`Right::Operate`] on a slot or tag,
    /// or any other right on the broker. [`Right::Tag`] and [`Right::Claim`] count of a whole tag,
    /// so a slot stands for its tag there; a [`Target::Tag`] looks only at rules that cover all of
    /// the tag. Nobody may change the slot of a resource. The cost grows with the rules that cover
    /// the target and not with others. Nothing is allocated.
    pub fn outcome<'p>(
        &'p self,
        peer: &Peer<'_>,
        right: Right,
        target: Target,
        at: Moment,
    ) -> Verdict<'p> {
        self.decide(peer, None, right, target, at)
    }

    /// Returns room for what will be known of one peer: see [`Policy::outcome_with`].
    #[must_use]
    pub fn conditions(&self) -> Conditions {
        Conditions::new(self.rules.len())
    }

    /// As [`Policy::outcome`], for a peer that is asked about more than once. Each of a rule's
    /// conditions is looked at the first time that it matters. The result is kept in `conditions`,
    /// which must be of this very policy and peer.
    pub fn outcome_with<'p>(
        &'p self,
        peer: &Peer<'_>,
        conditions: &Conditions,
        right: Right,
        target: Target,
        at: Moment,
    ) -> Verdict<'p> {
        self.decide(peer, Some(conditions), right, target, at)
    }

    fn decide<'p>(
        &'p self,
        peer: &Peer<'_>,
        conditions: Option<&Conditions>,
        right: Right,
        target: Target,
        at: Moment,
    ) -> Verdict<'p> {
        if !self.can_be_asked(right, target) {
            return Verdict::Refused { rule: None };
        }
        let peer = &peer.within_sight();
        let mut accumulator = Accumulator::new(&self.rules, peer, conditions, right, at);
        self.index.collect(right, target, &mut accumulator);
        match accumulator.verdict() {
            Verdict::Granted { rule } if self.keeps(right, target) => Verdict::Kept { rule },
            verdict => verdict,
        }
    }

    /// The last index of the tag up to which the policy knows no difference between the slots, from this one on: the same
    /// rules cover all of them, so that every verdict is the same, and none is a resource's. Of a resource's slot, its own.
    /// The cost grows with the logarithm of the rules and resources. Nothing is allocated.
    #[must_use]
    pub fn alike_until(&self, slot: Slot) -> Index {
        let next = self.resource_slots.partition_point(|resource| *resource < slot);
        let before_the_next = match self.resource_slots.get(next) {
            Some(resource) if *resource == slot => return slot.index,
            Some(resource) if resource.tag == slot.tag => resource.index.previous(),
            _ => None,
        };
        self.index.alike_until(slot).min(before_the_next.unwrap_or(Index::MAX))
    }

    /// Whether a right is to change the slot of a resource: it is the policy's own, and nobody may,
    /// whatever the rules say.
    #[must_use]
    pub fn keeps(&self, right: Right, target: Target) -> bool {
        matches!(target, Target::Slot(slot) if right.is_to_change() && self.resource_at(slot).is_some())
    }

    /// Moments so that between two of them, before and after, the verdict stays the same. There is at least one.
    pub(crate) fn turning_points(
        &self,
        peer: &Peer<'_>,
        right: Right,
        target: Target,
    ) -> Vec<Moment> {
        let limited = self.rules.iter().filter(|rule| self.timed && rule.valid.is_limited());
        let counting =
            limited.filter(|rule| rule.concerns(right, target) && rule.who.includes(peer));
        let ends = counting.flat_map(|rule| [rule.valid.from, rule.valid.until]).flatten();
        let mut moments: Vec<_> = ends.chain([Moment::new(i64::MIN, 0)]).collect();
        moments.sort_unstable();
        moments.dedup();
        moments
    }

    /// The rules that cover a slot.
    pub(crate) fn covering(&self, slot: Slot) -> impl Iterator<Item = &Rule> {
        let numbers = self.index.covering(slot);
        numbers.filter_map(|number| self.rules.get(number.position()))
    }

    /// Returns the rule with this id.
    #[must_use]
    pub fn rule(&self, id: &str) -> Option<&Rule> {
        let found = self.rules.binary_search_by(|rule| rule.id.as_str().cmp(id));
        found.ok().and_then(|at| self.rules.get(at))
    }

    /// The rules, in the order of their ids.
    #[must_use]
    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// Whether the target exists and the right counts of it.
    #[must_use]
    pub fn can_be_asked(&self, right: Right, target: Target) -> bool {
        let exists = target.tag().is_none_or(|tag| self.tags.contains_key(&tag));
        exists && right.is_of_broker() == (target == Target::Broker)
    }
}

/// What a policy is made of. Nothing in here is checked any more: names, ids and slots must be unique, and every
/// slot must lie in one of the tags.
#[derive(Debug, Default)]
pub(crate) struct Parts {
    pub(crate) settings: Settings,
    pub(crate) tags: Vec<TagSettings>,
    pub(crate) resources: Vec<Resource>,
    pub(crate) rules: Vec<Rule>,
    /// How many tests the policy must pass.
    pub(crate) tests: usize,
    pub(crate) names: KnownNames,
}

/// The users and groups that were given by name.
#[derive(Clone, Debug, Default)]
pub(crate) struct KnownNames {
    pub(crate) users: BTreeMap<Uid, String>,
    pub(crate) groups: BTreeMap<Gid, String>,
}

impl Parts {
    /// Arranges the parts for lookup.
    pub(crate) fn assemble(mut self) -> Policy {
        self.rules.sort_by(|one, other| one.id.cmp(&other.id));
        let index = RuleIndex::new(&self.rules);
        let mut resource_slots: Box<[Slot]> =
            self.resources.iter().map(|resource| resource.slot).collect();
        resource_slots.sort_unstable();
        Policy {
            tests: self.tests,
            names: self.names,
            warnings: Vec::new(),
            timed: self.rules.iter().any(|rule| rule.valid.is_limited()),
            settings: self.settings,
            tags_by_name: self.tags.iter().map(|tag| (tag.name.clone(), tag.id)).collect(),
            tags: self.tags.into_iter().map(|tag| (tag.id, tag)).collect(),
            resources_by_slot: (0..)
                .map(ResourceIndex)
                .zip(&self.resources)
                .map(|(at, it)| (it.slot, at))
                .collect(),
            slots_by_name: self
                .resources
                .iter()
                .map(|resource| (resource.name.clone(), resource.slot))
                .collect(),
            resource_slots,
            resources: self.resources,
            rules: self.rules,
            index,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::policy;

    #[test]
    fn a_verdict_turns_only_where_a_rule_that_concerns_the_question_begins_or_ends() {
        let rule = |second: u8, lines: &str| {
            format!("[[rules]]\n{lines}\nvalid_until = 1970-01-01T00:00:0{second}Z\n")
        };
        let rules = [
            rule(1, "allow = [\"get\"]\nslots = [\"web/3\"]\nuser = 7"),
            rule(2, "allow = [\"add\"]\nslots = [\"web/3\"]\nuser = 7"),
            rule(3, "allow = [\"get\"]\nslots = [\"web/4\"]\nuser = 7"),
            rule(4, "allow = [\"get\"]\nslots = [\"web/3\"]\nuser = 8"),
            rule(5, "deny = [\"get\"]\nslots = [\"*\"]\nanyone = true"),
            rule(6, "allow = [\"operate\"]\nuser = 7"),
        ];
        let policy = policy(&rules.concat());
        let slot = Target::Slot(policy.resolve("web/3").expect("a slot"));
        let seconds = |right, target| -> Vec<i64> {
            let points = policy.turning_points(&Peer::new(Uid(7), Gid(70), &[]), right, target);
            points.into_iter().map(Moment::seconds).collect()
        };
        assert_eq!(seconds(Right::Get, slot), [i64::MIN, 1, 5]);
        assert_eq!(seconds(Right::Add, slot), [i64::MIN, 2]);
        assert_eq!(seconds(Right::List, slot), [i64::MIN]);
        assert_eq!(seconds(Right::Operate, Target::Broker), [i64::MIN, 6]);
    }
}
