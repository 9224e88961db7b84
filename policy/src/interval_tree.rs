//! Which rules cover an index of one tag.
//!
//! A segment tree over the elementary intervals of all ranges. `n` ranges, however they overlap, take memory of the
//! order of `n log n`; a lookup visits about `log n` short lists, and none that does not cover the index.

use crate::Index;
use crate::rule::RuleNumber;

/// A rule and the indices it covers, both ends included.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Range {
    pub(crate) first: Index,
    pub(crate) last: Index,
    pub(crate) rule: RuleNumber,
}

/// The tree. Node 1 is the root, node `i` has the children `2i` and `2i + 1`, the leaf of interval `k` is `n + k`.
#[derive(Clone, Debug, Default)]
pub(crate) struct IntervalTree {
    /// Where each elementary interval begins; the interval ends where the next one begins.
    begins: Box<[u32]>,
    /// Where in `rules` the list of each node ends; it begins where that of the node before ends.
    ends: Box<[usize]>,
    /// The lists of all nodes, one after the other, each in ascending order.
    rules: Box<[RuleNumber]>,
}

impl IntervalTree {
    /// Builds the tree. The ranges must come in ascending order of their rules.
    pub(crate) fn new(ranges: &[Range]) -> Self {
        let begins = elementary_intervals(ranges);
        let lists = lists(ranges, &begins);
        let ends = lists
            .iter()
            .scan(0, |end, list| {
                *end += list.len();
                Some(*end)
            })
            .collect();
        Self { begins, ends, rules: lists.concat().into_boxed_slice() }
    }

    /// The lists of rules that cover an index. Each is in ascending order; together they are in none.
    pub(crate) fn at(&self, index: Index) -> impl Iterator<Item = &[RuleNumber]> {
        let interval = self.begins.partition_point(|begin| *begin <= number(index)).checked_sub(1);
        let leaf = interval.map(|interval| self.begins.len() + interval);
        std::iter::successors(leaf, |node| Some(node / 2).filter(|parent| *parent >= 1))
            .map(|node| self.list(node))
    }

    /// The last index up to which the same ranges cover all, from this one on.
    pub(crate) fn alike_until(&self, index: Index) -> Index {
        let next = self.begins.partition_point(|begin| *begin <= number(index));
        let last = self
            .begins
            .get(next)
            .and_then(|begin| Index::new(i32::try_from(begin.checked_sub(1)?).ok()?));
        last.unwrap_or(Index::MAX)
    }

    fn list(&self, node: usize) -> &[RuleNumber] {
        let begin =
            node.checked_sub(1).and_then(|before| self.ends.get(before)).copied().unwrap_or(0);
        let end = self.ends.get(node).copied().unwrap_or(begin);
        self.rules.get(begin..end).unwrap_or_default()
    }
}

/// Every place where the set of covering ranges can change. The end of a range is the begin of what follows it.
fn elementary_intervals(ranges: &[Range]) -> Box<[u32]> {
    let mut begins: Vec<u32> =
        ranges.iter().flat_map(|range| [number(range.first), behind(range.last)]).collect();
    begins.sort_unstable();
    begins.dedup();
    begins.into_boxed_slice()
}

/// The rules of each node: a range goes to the few nodes that together are exactly its intervals.
fn lists(ranges: &[Range], begins: &[u32]) -> Vec<Vec<RuleNumber>> {
    let mut lists = vec![Vec::new(); begins.len() * 2];
    for range in ranges {
        let mut low = begins.len() + interval_of(begins, number(range.first));
        let mut high = begins.len() + interval_of(begins, behind(range.last));
        while low < high {
            if low % 2 == 1 {
                list(&mut lists, low, range.rule);
                low += 1;
            }
            if high % 2 == 1 {
                high -= 1;
                list(&mut lists, high, range.rule);
            }
            low /= 2;
            high /= 2;
        }
    }
    lists
}

/// The number of an index, in a type that has one more than the greatest too.
fn number(index: Index) -> u32 {
    index.get().unsigned_abs()
}

/// The number behind an index.
fn behind(index: Index) -> u32 {
    number(index).saturating_add(1)
}

fn interval_of(begins: &[u32], begin: u32) -> usize {
    begins.partition_point(|other| *other < begin)
}

/// Lists a rule once, though several of its patterns may come to the same node.
fn list(lists: &mut [Vec<RuleNumber>], node: usize, rule: RuleNumber) {
    if let Some(list) = lists.get_mut(node)
        && list.last() != Some(&rule)
    {
        list.push(rule);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(first: i32, last: i32, rule: usize) -> Range {
        let index = |number| Index::new(number).unwrap();
        Range { first: index(first), last: index(last), rule: RuleNumber::new(rule).unwrap() }
    }

    fn rules_at(ranges: &IntervalTree, index: i32) -> Vec<usize> {
        let mut found: Vec<_> = ranges
            .at(Index::new(index).unwrap())
            .flatten()
            .map(|number| number.position())
            .collect();
        found.sort_unstable();
        found
    }

    #[test]
    fn without_ranges_nothing_is_covered() {
        assert!(rules_at(&IntervalTree::new(&[]), 0).is_empty());
        assert!(rules_at(&IntervalTree::default(), Index::MAX.get()).is_empty());
    }

    #[test]
    fn both_ends_of_a_range_are_covered_and_their_neighbours_are_not() {
        let ranges = IntervalTree::new(&[range(3, 5, 0), range(5, 9, 1)]);
        let covered: Vec<_> = (0..12).map(|index| rules_at(&ranges, index)).collect();
        let expected: [&[usize]; 12] =
            [&[], &[], &[], &[0], &[0], &[0, 1], &[1], &[1], &[1], &[1], &[], &[]];
        assert_eq!(covered, expected);
    }

    #[test]
    fn indices_are_alike_up_to_where_a_range_begins_or_behind_where_one_ends() {
        let ranges =
            IntervalTree::new(&[range(3, 5, 0), range(5, 9, 1), range(20, Index::MAX.get(), 2)]);
        let until = |index| ranges.alike_until(Index::new(index).unwrap()).get();
        let found = [0, 2, 3, 4, 5, 6, 9, 10, 19, 20, Index::MAX.get()].map(until);
        assert_eq!(found, [2, 2, 4, 4, 5, 9, 9, 19, 19, Index::MAX.get(), Index::MAX.get()]);
        assert_eq!(IntervalTree::default().alike_until(Index::MIN), Index::MAX);
    }

    #[test]
    fn the_last_index_of_a_tag_can_be_covered() {
        let last = Index::MAX.get();
        let ranges = IntervalTree::new(&[range(last, last, 0), range(0, last, 1)]);
        assert_eq!(rules_at(&ranges, last), [0, 1]);
        assert_eq!(rules_at(&ranges, last - 1), [1]);
    }

    #[test]
    fn thousands_of_overlapping_ranges_take_little_memory() {
        let nested: Vec<_> =
            (0..5000).map(|at| range(at, 20_000 - at, at.unsigned_abs() as usize)).collect();
        let ranges = IntervalTree::new(&nested);
        assert!(ranges.rules.len() < 5000 * 2 * 15, "{}", ranges.rules.len());
        assert_eq!(rules_at(&ranges, 2500).len(), 2501);
    }
}
