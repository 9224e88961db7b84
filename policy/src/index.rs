//! Which rules cover which slots, arranged so that a lookup meets only those that cover the slot asked for.

use std::collections::BTreeMap;

use crate::interval_tree::{IntervalTree, Range};
use crate::pattern::Pattern;
use crate::rule::{Rule, RuleNumber};
use crate::verdict::Accumulator;
use crate::{Index, Right, Slot, Tag, Target};

/// The rules of a policy, by what they cover.
#[derive(Clone, Debug, Default)]
pub(crate) struct RuleIndex {
    /// Those that say something about the right to the broker.
    broker: Vec<RuleNumber>,
    everywhere: Vec<RuleNumber>,
    tags: BTreeMap<Tag, TagIndex>,
}

/// The rules of one tag, beside those that cover everything.
#[derive(Clone, Debug, Default)]
struct TagIndex {
    whole: Vec<RuleNumber>,
    parts: IntervalTree,
}

impl RuleIndex {
    /// Arranges what all rules cover; they come in the order of their numbers.
    pub(crate) fn new(rules: &[Rule]) -> Self {
        let mut draft = Draft::default();
        for (position, rule) in rules.iter().enumerate() {
            let Some(number) = RuleNumber::new(position) else { break };
            rule.slots.iter().for_each(|pattern| draft.add(*pattern, number));
            if rule.is_of_broker() {
                draft.broker.push(number);
            }
        }
        draft.finish()
    }

    /// Adds every rule that covers the target for the right, and no other.
    pub(crate) fn collect(
        &self,
        right: Right,
        target: Target,
        accumulator: &mut Accumulator<'_, '_>,
    ) {
        let Some(tag) = target.tag() else { return accumulator.add(&self.broker) };
        accumulator.add(&self.everywhere);
        let Some(tag) = self.tags.get(&tag) else { return };
        accumulator.add(&tag.whole);
        // The right to a tag as a whole never comes from, or is lost to, a part of it.
        if let Target::Slot(Slot { index, .. }) = target
            && !right.is_of_tag()
        {
            tag.parts.at(index).for_each(|rules| accumulator.add(rules));
        }
    }
}

impl RuleIndex {
    /// The last index of the tag up to which the same rules cover all slots, from this one on.
    pub(crate) fn alike_until(&self, slot: Slot) -> Index {
        self.tags.get(&slot.tag).map_or(Index::MAX, |tag| tag.parts.alike_until(slot.index))
    }

    /// Every rule that covers a slot.
    pub(crate) fn covering(&self, slot: Slot) -> impl Iterator<Item = RuleNumber> {
        let tag = self.tags.get(&slot.tag);
        let whole = tag.into_iter().flat_map(|tag| &tag.whole);
        let parts = tag.into_iter().flat_map(move |tag| tag.parts.at(slot.index)).flatten();
        self.everywhere.iter().chain(whole).chain(parts).copied()
    }
}

#[derive(Default)]
struct Draft {
    broker: Vec<RuleNumber>,
    everywhere: Vec<RuleNumber>,
    whole: BTreeMap<Tag, Vec<RuleNumber>>,
    parts: BTreeMap<Tag, Vec<Range>>,
}

impl Draft {
    fn add(&mut self, pattern: Pattern, rule: RuleNumber) {
        match pattern {
            Pattern::Everything => self.everywhere.push(rule),
            Pattern::Range { tag, .. } if pattern.covers_a_whole_tag() => {
                self.whole.entry(tag).or_default().push(rule)
            }
            Pattern::Range { tag, first, last } => {
                self.parts.entry(tag).or_default().push(Range { first, last, rule });
            }
        }
    }

    fn finish(self) -> RuleIndex {
        let mut tags: BTreeMap<Tag, TagIndex> = BTreeMap::new();
        for (tag, whole) in self.whole {
            tags.entry(tag).or_default().whole = whole;
        }
        for (tag, parts) in self.parts {
            tags.entry(tag).or_default().parts = IntervalTree::new(&parts);
        }
        RuleIndex { broker: self.broker, everywhere: self.everywhere, tags }
    }
}
