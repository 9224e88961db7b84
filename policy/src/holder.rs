//! Who holds which right, and which rules take from it.

use crate::explanation::listed;
use crate::extent::joined;
use crate::glob::Glob;
use crate::overlap::{any_includes, are_disjoint};
use crate::right::Rights;
use crate::rule::{Rule, Who};
use crate::{Extent, Index, Moment, Policy, Right, Slot, Someone, Target, Validity};

/// Whom a rule gives rights to, and what is left of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder<'p> {
    /// The id of the rule that gives.
    pub rule: &'p str,
    /// Whom it gives to.
    pub who: Someone,
    /// What they may do; at least one right.
    pub rights: Vec<Right>,
    /// What of: of a tag that was asked for this may be a part.
    pub on: Vec<Extent>,
    /// When the rule counts.
    pub valid: Validity,
    /// The rules that take some of it from some of them.
    pub except: Vec<Exception<'p>>,
}

/// What a rule takes away again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exception<'p> {
    /// The id of the rule that takes.
    pub rule: &'p str,
    /// Whom it takes from.
    pub who: Someone,
    /// Which rights.
    pub rights: Vec<Right>,
    /// What of.
    pub on: Vec<Extent>,
    /// When the rule counts.
    pub valid: Validity,
}

impl Policy {
    /// Everybody who holds a right to a slot, to a tag or a part of it, or to the broker, at a moment, by rule.
    ///
    /// What a rule takes from everybody is left out; what it takes from some stands as an exception.
    #[must_use]
    pub fn who(&self, target: Target, at: Moment) -> Vec<Holder<'_>> {
        let counting = || self.rules().iter().filter(|rule| rule.valid.holds_at(at));
        if target.tag().is_some_and(|tag| self.tag(tag).is_none()) {
            return Vec::new();
        }
        let denies: Vec<_> = counting()
            .map(|rule| Share::of(rule, rule.deny, target))
            .filter(|share| !share.rights.is_empty())
            .collect();
        let allows = counting().flat_map(|rule| self.kept(Share::of(rule, rule.allow, target)));
        allows.filter_map(|share| share.holder(&denies)).collect()
    }

    /// Takes off the rights to change what lies in the slots of resources; what is left can be two shares.
    fn kept<'p>(&self, share: Share<'p>) -> Vec<Share<'p>> {
        let changing = |right: &Right| right.is_to_change() && share.rights.contains(*right);
        let slots = self.resources().iter().map(|resource| resource.slot);
        let kept: Vec<_> = slots
            .filter(|slot| share.slots.iter().any(|it| it.contains(Target::Slot(*slot))))
            .collect();
        if kept.is_empty() || !Right::ALL.iter().any(changing) {
            return vec![share];
        }
        let only = |change: bool| {
            let some =
                listed(share.rights).into_iter().filter(|right| right.is_to_change() == change);
            some.fold(Rights::NONE, Rights::with)
        };
        let changed = Share { rights: only(true), slots: without(&share.slots, kept), ..share };
        let unchanged = Share { rights: only(false), slots: share.slots, ..changed };
        let anything = |share: &Share<'_>| !share.slots.is_empty();
        [unchanged, changed].into_iter().filter(anything).collect()
    }
}

/// What of a target a rule says something about.
struct Share<'p> {
    rule: &'p Rule,
    rights: Rights,
    slots: Vec<Extent>,
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
            Right::Operate => target == Target::Broker,
            Right::Tag | Right::Claim => whole,
            _ => !slots.is_empty(),
        };
        let rights = listed(rights).into_iter().filter(|right| of(*right));
        Self { rule, rights: rights.fold(Rights::NONE, Rights::with), slots, whole }
    }

    fn holder(mut self, denies: &[Self]) -> Option<Holder<'p>> {
        let taken = denies.iter().filter(|deny| includes(&deny.rule.who, &self.rule.who));
        self.rights = taken.fold(self.rights, |rights, deny| deny.left_of(&self, rights));
        if self.rights.is_empty() {
            return None;
        }
        let except = denies.iter().filter_map(|deny| deny.exception(&self)).collect();
        let Rule { id, who, valid, .. } = self.rule;
        let (rights, on) = (listed(self.rights), self.on(self.rights));
        Some(Holder { rule: id, who: who.into(), rights, on, valid: *valid, except })
    }

    /// What of the rights this rule leaves to whom it concerns all.
    fn left_of(&self, other: &Self, rights: Rights) -> Rights {
        let all_slots = joined([&self.slots[..], &other.slots].concat()) == self.slots;
        let taken = |right: &Right| {
            let everywhere = match right {
                Right::Operate => true,
                Right::Tag | Right::Claim => self.whole,
                _ => all_slots,
            };
            everywhere && self.rights.contains(*right)
        };
        let left = listed(rights).into_iter().filter(|right| !taken(right));
        left.fold(Rights::NONE, Rights::with)
    }

    fn exception(&self, holder: &Share<'_>) -> Option<Exception<'p>> {
        let mut common = Share {
            rule: self.rule,
            rights: self.rights.common(holder.rights),
            slots: common(&self.slots, &holder.slots),
            whole: self.whole,
        };
        if common.slots.is_empty() {
            let others = listed(common.rights).into_iter();
            let others = others.filter(|right| right.is_of_tag() || right.is_of_broker());
            common.rights = others.fold(Rights::NONE, Rights::with);
        }
        if common.rights.is_empty() || is_disjoint(&self.rule.who, &holder.rule.who) {
            return None;
        }
        let Rule { id, who, valid, .. } = self.rule;
        let (rights, on) = (listed(common.rights), common.on(common.rights));
        Some(Exception { rule: id, who: who.into(), rights, on, valid: *valid })
    }

    fn on(&self, rights: Rights) -> Vec<Extent> {
        let mut on = Vec::new();
        if rights.contains(Right::Operate) {
            on.push(Extent::Broker);
        }
        if let Some(Extent::Slots { tag, .. }) =
            self.slots.first().filter(|_| listed(rights).into_iter().any(Right::is_of_tag))
        {
            on.push(Extent::Tag(*tag));
        }
        let of_slots = |right: &Right| !right.is_of_tag() && !right.is_of_broker();
        if listed(rights).iter().any(of_slots) {
            on.extend(self.slots.iter().copied());
        }
        on
    }
}

fn shared(rule: &Rule, target: Target, range: (Index, Index)) -> Vec<Extent> {
    let Some(tag) = target.tag() else { return Vec::new() };
    rule.slots.iter().filter_map(|pattern| Extent::shared(*pattern, tag, range)).collect()
}

/// These slots but for some.
fn without(slots: &[Extent], mut some: Vec<Slot>) -> Vec<Extent> {
    some.sort_unstable_by_key(|slot| slot.index);
    let mut left = Vec::new();
    for extent in slots {
        let Extent::Slots { tag, first, last } = *extent else { continue };
        let mut begin = Some(first);
        for index in some.iter().map(|slot| slot.index).filter(|it| (first..=last).contains(it)) {
            let end = index.get().checked_sub(1).and_then(Index::new);
            if let (Some(first), Some(last)) = (begin, end)
                && first <= last
            {
                left.push(Extent::Slots { tag, first, last });
            }
            begin = index.get().checked_add(1).and_then(Index::new);
        }
        if let Some(first) = begin.filter(|first| *first <= last) {
            left.push(Extent::Slots { tag, first, last });
        }
    }
    left
}

/// The slots that are in both.
fn common(one: &[Extent], other: &[Extent]) -> Vec<Extent> {
    let both = |(one, other): (&Extent, &Extent)| match (*one, *other) {
        (
            Extent::Slots { tag, first, last },
            Extent::Slots { first: other_first, last: other_last, .. },
        ) => {
            let (first, last) = (first.max(other_first), last.min(other_last));
            (first <= last).then_some(Extent::Slots { tag, first, last })
        }
        _ => None,
    };
    one.iter()
        .flat_map(|one| other.iter().map(move |other| (one, other)))
        .filter_map(both)
        .collect()
}

/// Whether whoever meets the second conditions meets the first ones too.
fn includes(one: &Who, other: &Who) -> bool {
    contains(&one.users, &other.users)
        && contains(&one.groups, &other.groups)
        && matches_all(&one.units, &other.units)
        && matches_all(&one.cgroups, &other.cgroups)
        && matches_all(&one.labels, &other.labels)
}

fn contains<T: Ord>(one: &Option<Box<[T]>>, other: &Option<Box<[T]>>) -> bool {
    one.as_ref().is_none_or(|one| {
        other.as_ref().is_some_and(|other| other.iter().all(|id| one.binary_search(id).is_ok()))
    })
}

fn matches_all(one: &Option<Box<[Glob]>>, other: &Option<Box<[Glob]>>) -> bool {
    one.as_ref().is_none_or(|one| {
        other.as_ref().is_some_and(|other| other.iter().all(|glob| any_includes(one, glob)))
    })
}

/// Whether nobody can meet both conditions. Anybody can be in two groups.
fn is_disjoint(one: &Who, other: &Who) -> bool {
    let users = match (&one.users, &other.users) {
        (Some(one), Some(other)) => !one.iter().any(|uid| other.binary_search(uid).is_ok()),
        _ => false,
    };
    users
        || nothing_common(&one.units, &other.units)
        || nothing_common(&one.cgroups, &other.cgroups)
        || nothing_common(&one.labels, &other.labels)
}

fn nothing_common(one: &Option<Box<[Glob]>>, other: &Option<Box<[Glob]>>) -> bool {
    let (Some(one), Some(other)) = (one, other) else { return false };
    one.iter().all(|one| other.iter().all(|other| are_disjoint(one, other)))
}
