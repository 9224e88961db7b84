//! The slots and their deposits.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::rc::Rc;

use fdbroker_wire::{Index, Info, Slot, Tag};

use super::deposit::Deposit;

/// All deposits, by tag and index.
#[derive(Default)]
pub(crate) struct Slots(BTreeMap<Tag, Group>);

#[derive(Default)]
struct Group {
    deposits: BTreeMap<Index, Rc<Deposit>>,
    /// The sum of the payloads, in bytes.
    bytes: usize,
}

impl Slots {
    /// Returns the deposit of `slot`, or `None` if it is empty.
    pub(crate) fn get(&self, slot: Slot) -> Option<&Rc<Deposit>> {
        self.0.get(&slot.tag)?.deposits.get(&slot.index)
    }

    /// Returns the deposits of a tag from a first to a last slot, in order.
    pub(crate) fn run(&self, first: Slot, last: Index) -> impl Iterator<Item = &Rc<Deposit>> {
        let group = self.0.get(&first.tag).into_iter();
        group.flat_map(move |group| group.deposits.range(first.index..=last)).map(|(_, it)| it)
    }

    /// Puts a deposit in its slot, in the place of what lay there.
    pub(crate) fn put(&mut self, deposit: Rc<Deposit>) {
        let Slot { tag, index } = deposit.slot;
        let group = self.0.entry(tag).or_default();
        group.bytes += deposit.payload.len();
        let before = group.deposits.insert(index, deposit);
        group.bytes -= before.map_or(0, |before| before.payload.len());
    }

    /// Empties a slot.
    pub(crate) fn take(&mut self, slot: Slot) {
        let Some(group) = self.0.get_mut(&slot.tag) else { return };
        let taken = group.deposits.remove(&slot.index);
        group.bytes -= taken.map_or(0, |taken| taken.payload.len());
        if group.deposits.is_empty() {
            self.0.remove(&slot.tag);
        }
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.0.values().map(|group| group.deposits.len()).sum()
    }

    /// Those of one tag, or of all, that come behind a slot, in order.
    pub(crate) fn after(
        &self,
        within: Option<Tag>,
        after: Option<Slot>,
    ) -> impl Iterator<Item = Slot> {
        let from = within.or(after.map(|after| after.tag));
        let from = from.map_or(Bound::Unbounded, Bound::Included);
        let groups = self.0.range((from, Bound::Unbounded));
        let groups = groups.take_while(move |(tag, _)| within.is_none_or(|within| within == **tag));
        groups.flat_map(move |(tag, group)| {
            let behind = match after {
                Some(after) if after.tag == *tag => Bound::Excluded(after.index),
                _ => Bound::Unbounded,
            };
            let deposits = group.deposits.range((behind, Bound::Unbounded));
            deposits.map(|(index, _)| Slot { tag: *tag, index: *index })
        })
    }

    /// How much a tag holds, `resources` being the largest index that the policy itself fills.
    pub(crate) fn info(&self, tag: Tag, resources: Option<Index>) -> Info {
        let group = self.0.get(&tag);
        let deposits = group.and_then(|group| group.deposits.keys().next_back().copied());
        let largest = deposits.max(resources);
        Info {
            used: largest.map_or(0, |index| index.get().saturating_add(1)),
            total: group.map_or(0, |group| i32::try_from(group.bytes).unwrap_or(i32::MAX)),
        }
    }
}
