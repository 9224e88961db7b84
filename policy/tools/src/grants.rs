//! Who holds which right, and which rules take from it.

use fdbroker_policy::rules::{Glob, Rights, Rule, Who};
use fdbroker_policy::{Index, Moment, Policy, Right, Slot, Target, Validity};

use crate::budget::Budget;
use crate::glob_intersection::{any_includes, are_disjoint};
use crate::scope::{Scope, joined};
use crate::subjects::Subjects;

/// The steps that an exception costs: it is told, and takes memory.
const STEPS_OF_EXCEPTION: usize = 4000;

/// The subjects that a rule grants rights to, and which rights are left of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant<'p> {
    /// The id of the rule that grants them.
    pub rule: &'p str,
    /// Who gets them.
    pub who: Subjects,
    /// What they may do; at least one right.
    pub rights: Vec<Right>,
    /// What of: of a tag that was asked for this may be a part.
    pub on: Vec<Scope>,
    /// When the rule counts.
    pub valid: Validity,
    /// The rules that take some of it from some of them.
    pub except: Vec<Exception<'p>>,
    /// Whether it was too much work to follow all: further rules may take some of it, from some of them or from all.
    pub is_cut: bool,
}

/// What a rule takes away again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exception<'p> {
    /// The id of the rule that takes.
    pub rule: &'p str,
    /// Whom it takes from.
    pub who: Subjects,
    /// Which rights.
    pub rights: Vec<Right>,
    /// What of.
    pub on: Vec<Scope>,
    /// When the rule counts.
    pub valid: Validity,
}

/// Returns who has a right at a moment, rule by rule: to a slot, to a tag or a part of it, or to
/// the broker.
///
/// Rights that a rule denies to everybody are left out; those that it denies to some stand as
/// exceptions. If that is too much work, the grants for which it was not done are cut.
#[must_use]
pub fn grants(policy: &Policy, target: Target, at: Moment) -> Vec<Grant<'_>> {
    grants_within(&Budget::of(Budget::QUESTION), policy, target, at)
}

fn grants_within<'p>(
    budget: &Budget,
    policy: &'p Policy,
    target: Target,
    at: Moment,
) -> Vec<Grant<'p>> {
    let counting = || policy.rules().iter().filter(|rule| rule.valid.holds_at(at));
    if target.tag().is_some_and(|tag| policy.tag(tag).is_none()) {
        return Vec::new();
    }
    let denies: Vec<_> = counting()
        .map(|rule| Share::of(rule, rule.deny, target))
        .filter(|share| !share.rights.is_empty())
        .collect();
    let resources = resources_in(policy, target);
    let allows =
        counting().flat_map(|rule| kept(Share::of(rule, rule.allow, target), &resources, budget));
    allows.filter_map(|share| share.grant(&denies, budget)).collect()
}

/// The slots of resources among those that a target has, in order.
fn resources_in(policy: &Policy, target: Target) -> Vec<Slot> {
    match target {
        Target::Slot(slot) => policy.resource_at(slot).map(|_| slot).into_iter().collect(),
        Target::Tag(tag) => policy.resource_slots(Some(tag), None).to_vec(),
        Target::Broker => Vec::new(),
    }
}

/// Removes the rights to change the slots of resources; the rest can be two shares.
fn kept<'p>(share: Share<'p>, resources: &[Slot], budget: &Budget) -> Vec<Share<'p>> {
    let changing = |right: &Right| right.is_to_change() && share.rights.contains(*right);
    if !Right::ALL.iter().any(changing) || !budget.take(resources.len() + share.slots.len()) {
        return vec![share];
    }
    let left = without(&share.slots, resources);
    if left == share.slots {
        return vec![share];
    }
    let only = |change: bool| {
        let some = share.rights.iter().filter(|right| right.is_to_change() == change);
        some.collect()
    };
    let changed = Share { rights: only(true), slots: left, ..share };
    let unchanged = Share { rights: only(false), slots: share.slots, ..changed };
    let anything = |share: &Share<'_>| !share.slots.is_empty();
    [unchanged, changed].into_iter().filter(anything).collect()
}

/// What of a target a rule says something about.
struct Share<'p> {
    rule: &'p Rule,
    rights: Rights,
    slots: Vec<Scope>,
    /// Whether it covers all of a tag, so that it says something about the right to it.
    whole: bool,
}

impl<'p> Share<'p> {
    fn of(rule: &'p Rule, rights: Rights, target: Target) -> Self {
        let slots = joined(match target {
            Target::Broker => Vec::new(),
            Target::Slot(slot) => shared(rule, target, (slot.index, slot.index)),
            Target::Tag(_) => shared(rule, target, (Index::MIN, Index::MAX)),
        });
        let whole = target.tag().is_some() && rule.covers(Right::Tag, target);
        let of = |right| match right {
            Right::Inspect | Right::Operate => target == Target::Broker,
            Right::Tag | Right::Claim => whole,
            _ => !slots.is_empty(),
        };
        let rights = rights.iter().filter(|right| of(*right));
        Self { rule, rights: rights.collect(), slots, whole }
    }

    fn grant(mut self, denies: &[Self], budget: &Budget) -> Option<Grant<'p>> {
        let may = |deny: &&Self| budget.take(deny.steps_with(&self));
        let affordable = denies.iter().take_while(may);
        let taken =
            affordable.filter(|deny| includes(&deny.rule.who.kept_out(), &self.rule.who, budget));
        self.rights = taken.fold(self.rights, |rights, deny| deny.left_of(&self, rights));
        if self.rights.is_empty() || self.rule.who.is_nobody() {
            return None;
        }
        let affordable = denies.iter().take_while(|deny| budget.take(deny.steps_with(&self)));
        let except = affordable.filter_map(|deny| deny.exception(&self, budget)).collect();
        let is_cut = budget.is_spent();
        let Rule { id, who, valid, .. } = self.rule;
        let (rights, on) = (self.rights.iter().collect(), self.on(self.rights));
        Some(Grant { rule: id, who: who.into(), rights, on, valid: *valid, except, is_cut })
    }

    /// About how many steps it takes to compare it with another one, but for their patterns.
    fn steps_with(&self, other: &Self) -> usize {
        let named = |share: &Self| {
            let Who { users, groups, .. } = &share.rule.who;
            users.as_ref().map_or(0, |ids| ids.len()) + groups.as_ref().map_or(0, |ids| ids.len())
        };
        2 + self.slots.len() + other.slots.len() + named(self) + named(other)
    }

    /// What of the rights this rule leaves to whom it concerns all.
    fn left_of(&self, other: &Self, rights: Rights) -> Rights {
        let all_slots = joined([&self.slots[..], &other.slots].concat()) == self.slots;
        let taken = |right: &Right| {
            let everywhere = match right {
                Right::Inspect | Right::Operate => true,
                Right::Tag | Right::Claim => self.whole,
                _ => all_slots,
            };
            everywhere && self.rights.contains(*right)
        };
        let left = rights.iter().filter(|right| !taken(right));
        left.collect()
    }

    fn exception(&self, holder: &Share<'_>, budget: &Budget) -> Option<Exception<'p>> {
        if self.rights.common(holder.rights).is_empty() {
            return None;
        }
        let mut common = Share {
            rule: self.rule,
            rights: self.rights.common(holder.rights),
            slots: common(&self.slots, &holder.slots),
            whole: self.whole,
        };
        if common.slots.is_empty() {
            let others = common.rights.iter();
            let others = others.filter(|right| right.is_of_tag() || right.is_of_broker());
            common.rights = others.collect();
        }
        if common.rights.is_empty()
            || self.rule.who.kept_out().is_nobody()
            || is_disjoint(&self.rule.who.kept_out(), &holder.rule.who, budget)
        {
            return None;
        }
        if !budget.take(STEPS_OF_EXCEPTION + common.slots.len()) {
            return None;
        }
        let Rule { id, who, valid, .. } = self.rule;
        let who = who.kept_out();
        let (rights, on) = (common.rights.iter().collect(), common.on(common.rights));
        Some(Exception { rule: id, who: who.as_ref().into(), rights, on, valid: *valid })
    }

    fn on(&self, rights: Rights) -> Vec<Scope> {
        let mut on = Vec::new();
        if rights.iter().any(Right::is_of_broker) {
            on.push(Scope::Broker);
        }
        if let Some(Scope::Slots { tag, .. }) =
            self.slots.first().filter(|_| rights.iter().any(Right::is_of_tag))
        {
            on.push(Scope::Tag(*tag));
        }
        let of_slots = |right: Right| !right.is_of_tag() && !right.is_of_broker();
        if rights.iter().any(of_slots) {
            on.extend(self.slots.iter().copied());
        }
        on
    }
}

fn shared(rule: &Rule, target: Target, range: (Index, Index)) -> Vec<Scope> {
    let Some(tag) = target.tag() else { return Vec::new() };
    rule.slots.iter().filter_map(|pattern| Scope::shared(*pattern, tag, range)).collect()
}

/// These slots but for some, which are in order.
fn without(slots: &[Scope], some: &[Slot]) -> Vec<Scope> {
    let mut left = Vec::new();
    for scope in slots {
        let Scope::Slots { tag, first, last } = *scope else { continue };
        let (from, to) = (
            some.partition_point(|slot| slot.index < first),
            some.partition_point(|slot| slot.index <= last),
        );
        let mut begin = Some(first);
        for index in some.get(from..to).unwrap_or_default().iter().map(|slot| slot.index) {
            let end = index.previous();
            if let (Some(first), Some(last)) = (begin, end)
                && first <= last
            {
                left.push(Scope::Slots { tag, first, last });
            }
            begin = index.next();
        }
        if let Some(first) = begin.filter(|first| *first <= last) {
            left.push(Scope::Slots { tag, first, last });
        }
    }
    left
}

/// The slots that are in both. Each list is in order, of one tag, and no two of its ranges overlap.
fn common(one: &[Scope], other: &[Scope]) -> Vec<Scope> {
    let (mut one, mut other) = (one.iter().peekable(), other.iter().peekable());
    let mut both = Vec::new();
    while let (
        Some(Scope::Slots { tag, first, last }),
        Some(Scope::Slots { first: other_first, last: other_last, .. }),
    ) = (one.peek(), other.peek())
    {
        let (begin, end) = (*first.max(other_first), *last.min(other_last));
        if begin <= end {
            both.push(Scope::Slots { tag: *tag, first: begin, last: end });
        }
        // The one that ends first has nothing in common with what follows in the other.
        if last <= other_last {
            one.next()
        } else {
            other.next()
        };
    }
    both
}

/// Whether every peer that meets the second conditions meets the first ones too.
fn includes(one: &Who, other: &Who, budget: &Budget) -> bool {
    contains(&one.users, &other.users)
        && contains(&one.groups, &other.groups)
        && matches_all(&one.units, &other.units, budget)
        && matches_all(&one.cgroups, &other.cgroups, budget)
        && matches_all(&one.labels, &other.labels, budget)
}

fn contains<T: Ord>(one: &Option<Box<[T]>>, other: &Option<Box<[T]>>) -> bool {
    one.as_ref().is_none_or(|one| {
        other.as_ref().is_some_and(|other| other.iter().all(|id| one.binary_search(id).is_ok()))
    })
}

fn matches_all(one: &Option<Box<[Glob]>>, other: &Option<Box<[Glob]>>, budget: &Budget) -> bool {
    one.as_ref().is_none_or(|one| {
        other.as_ref().is_some_and(|other| other.iter().all(|glob| any_includes(one, glob, budget)))
    })
}

/// Whether nobody can meet both conditions. Anybody can be in two groups.
fn is_disjoint(one: &Who, other: &Who, budget: &Budget) -> bool {
    let users = match (&one.users, &other.users) {
        (Some(one), Some(other)) => !one.iter().any(|uid| other.binary_search(uid).is_ok()),
        _ => false,
    };
    users
        || nothing_common(&one.units, &other.units, budget)
        || nothing_common(&one.cgroups, &other.cgroups, budget)
        || nothing_common(&one.labels, &other.labels, budget)
}

fn nothing_common(one: &Option<Box<[Glob]>>, other: &Option<Box<[Glob]>>, budget: &Budget) -> bool {
    let (Some(one), Some(other)) = (one, other) else { return false };
    one.iter().all(|one| other.iter().all(|other| are_disjoint(one, other, budget)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::policy;
    use fdbroker_policy::Tag;

    #[test]
    fn a_cut_holder_has_no_fewer_rights_than_it_has() {
        let rule = |number: u32| {
            let says = if number.is_multiple_of(2) { "deny" } else { "allow" };
            let who = if number % 4 < 2 { "user" } else { "group" };
            format!(
                "[[rules]]\n{says} = [\"get\", \"add\"]\nslots = [\"web/*\"]\n{who} = {}\n",
                number / 6
            )
        };
        let policy = policy(&(0..40).map(rule).collect::<String>());
        let target = Target::Tag(Tag::new(10).expect("a tag"));
        let within = |steps| grants_within(&Budget::of(steps), &policy, target, Moment::new(0, 0));
        let all = within(Budget::QUESTION);
        assert!(all.iter().all(|holder| !holder.is_cut));
        assert!(within(0).iter().all(|holder| holder.is_cut && holder.except.is_empty()));
        for steps in (0..100_000).step_by(500) {
            let holders = within(steps);
            for holder in &all {
                let found = holders.iter().find(|it| it.rule == holder.rule).expect("not left out");
                assert!(holder.rights.iter().all(|right| found.rights.contains(right)));
                assert!(found.is_cut || found == holder, "{steps}");
                assert!(found.except.iter().all(|it| holder.except.contains(it)), "{steps}");
            }
        }
    }

    #[test]
    fn a_rule_for_an_account_that_does_not_exist_grants_nobody_anything() {
        let rules = "[[rules]]\nallow = [\"get\"]\nslots = [\"web/*\"]\nuser = \"gone\"\n\
                     [[rules]]\nallow = [\"get\"]\nslots = [\"web/*\"]\ngroup = \"gone\"\n\
                     [[rules]]\nallow = [\"get\"]\nslots = [\"web/*\"]\nuser = [\"gone\", 7]\n";
        let policy = policy(rules);
        let target = Target::Tag(Tag::new(10).expect("a tag"));
        let found = grants(&policy, target, Moment::new(0, 0));
        let users: Vec<_> = found.iter().map(|grant| &grant.who.users[..]).collect();
        assert_eq!(users, [[fdbroker_policy::Uid(7)]]);
    }

    #[test]
    fn slots_in_common_are_found_in_order() {
        let slots = |ranges: &[(i32, i32)]| -> Vec<Scope> {
            let index = |number| Index::new(number).expect("an index");
            let tag = Tag::new(10).expect("a tag");
            ranges
                .iter()
                .map(|(first, last)| Scope::Slots { tag, first: index(*first), last: index(*last) })
                .collect()
        };
        let one = slots(&[(0, 4), (6, 6), (8, 20)]);
        let other = slots(&[(2, 9), (11, 12), (20, 30)]);
        let both = slots(&[(2, 4), (6, 6), (8, 9), (11, 12), (20, 20)]);
        assert_eq!(common(&one, &other), both);
        assert_eq!(common(&other, &one), both);
        assert_eq!(common(&one, &[]), []);
    }
}
