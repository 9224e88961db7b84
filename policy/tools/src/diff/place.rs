//! The places that two policies have rights to, cut so that the same rules cover all of one.

use std::collections::{BTreeMap, BTreeSet};

use fdbroker_policy::rules::{Pattern, Rights, Rule};
use fdbroker_policy::{Index, Policy, Right, Slot, Tag, Target};

use crate::scope::Scope;

/// Slots, a tag or the broker, of which the same is true everywhere, and the rights that count of it.
pub(super) struct Place {
    pub(super) scope: Scope,
    pub(super) target: Target,
    pub(super) rights: Vec<Right>,
}

/// Everything that there are rights to, cut wherever a rule begins or ends.
pub(super) fn places(policies: [&Policy; 2], rules: &[&Rule]) -> Vec<Place> {
    let rights = Rights::of_broker().iter().collect();
    let broker = Place { scope: Scope::Broker, target: Target::Broker, rights };
    let mut places = vec![broker];
    let tags: BTreeSet<Tag> =
        policies.iter().flat_map(|policy| policy.tags().map(|tag| tag.id)).collect();
    let mut begins = begins(policies, rules);
    for tag in tags {
        let rights = of_tags();
        places.push(Place { scope: Scope::Tag(tag), target: Target::Tag(tag), rights });
        let begins = begins.remove(&tag).unwrap_or_default();
        let begins: Vec<_> = std::iter::once(Index::MIN).chain(begins).collect();
        for (at, first) in begins.iter().enumerate() {
            let last = begins.get(at + 1).and_then(|next| Index::new(next.get() - 1));
            let slot = Slot { tag, index: *first };
            let last = last.unwrap_or(Index::MAX);
            places.push(Place {
                scope: Scope::Slots { tag, first: *first, last },
                target: Target::Slot(slot),
                rights: of_slots(),
            });
        }
    }
    places
}

/// The slots of each tag, but the first, at which a rule or a resource begins or before which one ends.
fn begins(policies: [&Policy; 2], rules: &[&Rule]) -> BTreeMap<Tag, BTreeSet<Index>> {
    let mut begins: BTreeMap<Tag, BTreeSet<Index>> = BTreeMap::new();
    let patterns = rules.iter().flat_map(|rule| rule.slots.iter().copied());
    let resources = policies.into_iter().flat_map(Policy::resources);
    let resources = resources.map(|resource| {
        let Slot { tag, index } = resource.slot;
        Pattern::Range { tag, first: index, last: index }
    });
    for pattern in patterns.chain(resources) {
        if let Pattern::Range { tag, first, last } = pattern {
            let ends = [Some(first), last.get().checked_add(1).and_then(Index::new)];
            let inner = ends.into_iter().flatten().filter(|index| *index != Index::MIN);
            begins.entry(tag).or_default().extend(inner);
        }
    }
    begins
}

fn of_slots() -> Vec<Right> {
    let of_slot = |right: &Right| !right.is_of_broker() && !right.is_of_tag();
    Right::ALL.into_iter().filter(of_slot).collect()
}

fn of_tags() -> Vec<Right> {
    Right::ALL.into_iter().filter(|right| right.is_of_tag()).collect()
}
