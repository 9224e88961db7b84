//! A rule as `decide` sees it: who, and which rights. Which slots it covers stands in the coverage.

use crate::right::Rights;
use crate::{Gid, Peer, Uid};

/// One `[[rules]]` table, without its slots.
#[derive(Clone, Debug)]
pub(crate) struct Rule {
    pub(crate) id: String,
    pub(crate) allow: Rights,
    pub(crate) deny: Rights,
    pub(crate) who: Who,
}

/// The position of a rule among all rules of a policy, sorted by their ids.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct RuleNumber(u32);

/// The conditions of a rule. All that are present must hold; none present means anyone.
#[derive(Clone, Debug, Default)]
pub(crate) struct Who {
    users: Option<Box<[Uid]>>,
    groups: Option<Box<[Gid]>>,
}

impl RuleNumber {
    /// `None` past 2^32 rules, which no file that is read can hold.
    pub(crate) fn new(position: usize) -> Option<Self> {
        u32::try_from(position).ok().map(Self)
    }

    pub(crate) fn position(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }
}

impl Who {
    /// Any of these users, and any of these groups; `None` is no condition.
    pub(crate) fn new(users: Option<Vec<Uid>>, groups: Option<Vec<Gid>>) -> Self {
        Self { users: users.map(sorted), groups: groups.map(sorted) }
    }

    pub(crate) fn includes(&self, peer: &Peer<'_>) -> bool {
        let user = self.users.as_ref().is_none_or(|users| users.binary_search(&peer.uid).is_ok());
        user && self
            .groups
            .as_ref()
            .is_none_or(|groups| peer.all_groups().any(|gid| groups.binary_search(&gid).is_ok()))
    }
}

fn sorted<T: Ord>(mut ids: Vec<T>) -> Box<[T]> {
    ids.sort_unstable();
    ids.dedup();
    ids.into_boxed_slice()
}

#[cfg(test)]
mod tests {
    use super::*;

    const PEER: Peer<'static> = Peer { uid: Uid(7), gid: Gid(70), groups: &[Gid(71), Gid(72)] };

    #[test]
    fn no_condition_means_anyone() {
        assert!(Who::default().includes(&PEER));
    }

    #[test]
    fn a_list_means_any_of_them() {
        assert!(Who::new(Some(vec![Uid(9), Uid(7), Uid(1)]), None).includes(&PEER));
        assert!(!Who::new(Some(vec![Uid(9), Uid(1)]), None).includes(&PEER));
    }

    #[test]
    fn a_group_counts_whether_primary_or_supplementary() {
        for gid in [70, 71, 72] {
            assert!(Who::new(None, Some(vec![Gid(gid)])).includes(&PEER), "{gid}");
        }
        assert!(!Who::new(None, Some(vec![Gid(7)])).includes(&PEER));
    }

    #[test]
    fn all_conditions_must_hold() {
        assert!(Who::new(Some(vec![Uid(7)]), Some(vec![Gid(72)])).includes(&PEER));
        assert!(!Who::new(Some(vec![Uid(7)]), Some(vec![Gid(1)])).includes(&PEER));
        assert!(!Who::new(Some(vec![Uid(1)]), Some(vec![Gid(72)])).includes(&PEER));
    }
}
