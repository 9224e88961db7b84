//! Ranges of user ids, and the user that each id counts as.

use std::collections::{BTreeMap, BTreeSet};

use fdbroker_policy::Uid;

/// User ids that count as one user.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CountedRange {
    /// The first of them.
    pub first: Uid,
    /// The last of them.
    pub last: Uid,
    /// The user that they count as.
    pub user: Uid,
}

/// The ids that count as another user: subordinate ids.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct SubordinateIds(Vec<CountedRange>);

/// A range of the file. Without an owner, its ids count as one user that is nobody else.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct OwnedRange {
    pub(super) first: u32,
    pub(super) last: u32,
    pub(super) owner: Option<u32>,
}

impl SubordinateIds {
    /// Takes over ranges that [`SubordinateIds::ranges`] has returned.
    #[must_use]
    pub fn new(mut ranges: Vec<CountedRange>) -> Self {
        ranges.sort_unstable_by_key(|range| range.first);
        Self(ranges)
    }

    /// Returns the ranges, in order. No id is in two of them.
    #[must_use]
    pub fn ranges(&self) -> &[CountedRange] {
        &self.0
    }

    /// Returns the user that `uid` counts as; for most ids that is the user itself.
    #[must_use]
    pub fn user_of(&self, uid: Uid) -> Uid {
        let at = self.0.partition_point(|range| range.last < uid);
        self.0.get(at).filter(|range| range.first <= uid).map_or(uid, |range| range.user)
    }

    /// Sorts `ranges`; ids that are in `own` count as themselves. Returns also the first id that ranges
    /// of different owners share.
    pub(super) fn sorted(ranges: &[OwnedRange], own: &BTreeSet<u32>) -> (Self, Option<Uid>) {
        let mut sweep = Sweep::new(own);
        let mut edges = BTreeMap::<u64, Edge>::new();
        for range in ranges {
            edges.entry(range.first.into()).or_default().begin.push(*range);
            edges.entry(u64::from(range.last) + 1).or_default().end.push(*range);
        }
        let mut begin = 0;
        for (at, edge) in edges {
            sweep.add(begin, at);
            sweep.pass(&edge);
            begin = at;
        }
        (Self(sweep.found), sweep.overlap)
    }
}

/// What begins and ends at an id.
#[derive(Default)]
struct Edge {
    begin: Vec<OwnedRange>,
    end: Vec<OwnedRange>,
}

/// Goes through all ids in their order.
struct Sweep<'a> {
    own: &'a BTreeSet<u32>,
    /// How many ranges of each owner the present id is in.
    owners: BTreeMap<Option<u32>, usize>,
    /// The first ids of these ranges.
    firsts: BTreeMap<u32, usize>,
    /// What ids without one owner count as, by the lowest first id of their ranges.
    shared: BTreeMap<u32, Uid>,
    found: Vec<CountedRange>,
    overlap: Option<Uid>,
}

impl<'a> Sweep<'a> {
    fn new(own: &'a BTreeSet<u32>) -> Self {
        let (owners, firsts, shared) = Default::default();
        Self { own, owners, firsts, shared, found: Vec::new(), overlap: None }
    }

    fn pass(&mut self, edge: &Edge) {
        for range in &edge.begin {
            *self.owners.entry(range.owner).or_default() += 1;
            *self.firsts.entry(range.first).or_default() += 1;
        }
        for range in &edge.end {
            one_less(&mut self.owners, range.owner);
            one_less(&mut self.firsts, range.first);
        }
    }

    /// Adds the ids from `begin` up to `end`, which are all in the same ranges. Accounts between them are left out.
    fn add(&mut self, begin: u64, end: u64) {
        let Some(group) = self.firsts.keys().next().copied() else { return };
        let (Ok(mut first), Ok(last)) = (u32::try_from(begin), u32::try_from(end - 1)) else {
            return;
        };
        if self.owners.len() > 1 {
            self.overlap = self.overlap.or(Some(Uid(first)));
        }
        let own = self.own;
        for account in own.range(first..=last).copied() {
            if account > first {
                self.push(first, account - 1, group);
            }
            first = account.saturating_add(1);
        }
        if first <= last {
            self.push(first, last, group);
        }
    }

    fn push(&mut self, first: u32, last: u32, group: u32) {
        let (first, last) = (Uid(first), Uid(last));
        let owner = self.owners.keys().next().copied().flatten();
        let user = match owner {
            Some(owner) if self.owners.len() == 1 => Uid(owner),
            // Not the group's id itself: that can be an account.
            _ => *self.shared.entry(group).or_insert(first),
        };
        match self.found.last_mut() {
            Some(before) if before.user == user && before.last.0 + 1 == first.0 => {
                before.last = last;
            }
            _ => self.found.push(CountedRange { first, last, user }),
        }
    }
}

fn one_less<K: Ord>(counts: &mut BTreeMap<K, usize>, key: K) {
    if let Some(count) = counts.get_mut(&key) {
        *count -= 1;
        if *count == 0 {
            counts.remove(&key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALICE: u32 = 1000;
    const BOB: u32 = 1001;

    fn range(first: u32, last: u32, owner: impl Into<Option<u32>>) -> OwnedRange {
        OwnedRange { first, last, owner: owner.into() }
    }

    fn sorted(ranges: &[OwnedRange], own: &[u32]) -> (SubordinateIds, Option<Uid>) {
        SubordinateIds::sorted(ranges, &own.iter().copied().collect())
    }

    /// What each of these ids counts as.
    fn users(ids: &SubordinateIds, of: &[u32]) -> Vec<u32> {
        of.iter().map(|uid| ids.user_of(Uid(*uid)).0).collect()
    }

    #[test]
    fn an_id_counts_as_its_owner_and_others_count_as_themselves() {
        let ranges = [range(200, 299, BOB), range(100, 199, ALICE), range(400, 400, ALICE)];
        let (ids, overlap) = sorted(&ranges, &[]);
        let of = [0, 99, 100, 199, 200, 299, 300, 399, 400, 401, u32::MAX];
        let as_whom = [0, 99, ALICE, ALICE, BOB, BOB, 300, 399, ALICE, 401, u32::MAX];
        assert_eq!((users(&ids, &of), overlap), (as_whom.to_vec(), None));
    }

    #[test]
    fn ranges_of_one_owner_may_overlap() {
        let ranges = [range(100, 199, ALICE), range(150, 250, ALICE), range(100, 199, ALICE)];
        let (ids, overlap) = sorted(&ranges, &[]);
        assert_eq!((ids.ranges().len(), overlap), (1, None));
        assert_eq!(users(&ids, &[100, 250, 251]), [ALICE, ALICE, 251]);
    }

    #[test]
    fn ids_of_two_owners_count_as_neither_of_them() {
        let (ids, overlap) = sorted(&[range(100, 199, ALICE), range(150, 250, BOB)], &[]);
        assert_eq!(users(&ids, &[149, 150, 199, 200]), [ALICE, 150, 150, BOB]);
        assert_eq!(overlap, Some(Uid(150)));
    }

    #[test]
    fn a_range_without_an_owner_is_one_user_also_where_others_lie_in_it() {
        let ranges = [range(100, 999, None), range(200, 299, ALICE), range(300, 399, BOB)];
        let (ids, _) = sorted(&ranges, &[]);
        assert_eq!(users(&ids, &[100, 250, 350, 999]), [100; 4]);
    }

    #[test]
    fn an_account_in_a_range_counts_as_itself_and_stands_for_no_other() {
        let (ids, _) = sorted(&[range(100, 199, None)], &[100, 150, 199]);
        assert_eq!(users(&ids, &[100, 101, 150, 151, 199]), [100, 101, 150, 101, 199]);
    }

    #[test]
    fn the_last_id_of_all_can_be_in_a_range() {
        let (ids, _) = sorted(&[range(5, u32::MAX, ALICE)], &[u32::MAX - 1]);
        assert_eq!(users(&ids, &[u32::MAX - 1, u32::MAX]), [u32::MAX - 1, ALICE]);
    }

    #[test]
    fn what_an_id_counts_as_counts_as_itself() {
        let ranges = [range(100, 999, None), range(200, 299, ALICE), range(900, 2000, BOB)];
        let (ids, _) = sorted(&ranges, &[ALICE, BOB]);
        for uid in (0..3000).map(Uid) {
            let user = ids.user_of(uid);
            assert_eq!(ids.user_of(user), user, "{uid}");
        }
    }
}
