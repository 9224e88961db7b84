//! A rule: who, which rights, and what of.

use std::borrow::Cow;

use crate::glob::Glob;
use crate::pattern::Pattern;
use crate::rights::Rights;
use crate::{Gid, Peer, Rates, Right, Target, Uid, Validity};

/// One `[[rules]]` table.
#[derive(Clone, Debug)]
pub struct Rule {
    /// What it is called.
    pub id: String,
    /// What it allows.
    pub allow: Rights,
    /// What it denies.
    pub deny: Rights,
    /// What it covers. The right to the broker needs none of it.
    pub slots: Box<[Pattern]>,
    /// Whom it concerns.
    pub who: Who,
    /// Outside it the rule does not count at all: neither what it allows nor what it denies.
    pub valid: Validity,
    /// How often; they count where the rule decides.
    pub rates: Rates,
}

/// The position of a rule among all rules of a policy, sorted by their ids.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct RuleNumber(u32);

/// The conditions of a rule. All that are present must hold; none present means anyone. Of each list, which is sorted,
/// any one is enough.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Who {
    /// The users.
    pub users: Option<Box<[Uid]>>,
    /// The groups.
    pub groups: Option<Box<[Gid]>>,
    /// Patterns of units.
    pub units: Option<Box<[Glob]>>,
    /// Patterns of control groups.
    pub cgroups: Option<Box<[Glob]>>,
    /// Patterns of labels.
    pub labels: Option<Box<[Glob]>>,
    /// Whether a user is named who could not be looked up.
    pub unknown_users: bool,
    /// Whether a group is named that could not be looked up.
    pub unknown_groups: bool,
}

impl Rule {
    /// Every right that it says something about.
    pub const fn rights(&self) -> Rights {
        self.allow.and(self.deny)
    }

    /// Whether it says something about a right to the broker itself.
    pub fn is_of_broker(&self) -> bool {
        !self.rights().common(Rights::of_broker()).is_empty()
    }

    /// Whether it says something about a right to a target, given that its tag is declared.
    pub fn concerns(&self, right: Right, target: Target) -> bool {
        self.rights().contains(right) && self.covers(right, target)
    }

    /// Whether it covers what a right counts of.
    pub fn covers(&self, right: Right, target: Target) -> bool {
        let target = target.for_right(right);
        let of_broker = target == Target::Broker && self.is_of_broker();
        of_broker || self.slots.iter().any(|pattern| pattern.covers(target))
    }
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
    /// All its patterns.
    pub fn globs(&self) -> impl Iterator<Item = &Glob> {
        [&self.units, &self.cgroups, &self.labels].into_iter().flatten().flatten()
    }

    /// Whether a rule that allows counts for a peer: every condition holds.
    pub fn includes(&self, peer: &Peer<'_>) -> bool {
        self.includes_user(peer.uid)
            && self.includes_a_group(peer)
            && any_matches(self.units.as_deref(), peer.unit)
            && any_matches(self.cgroups.as_deref(), peer.cgroup)
            && any_matches(self.labels.as_deref(), peer.label)
    }

    /// Whether a rule that denies counts for a peer: a condition that could not be read of it
    /// counts as met. Otherwise a process that a rule keeps out by its unit would only have to end
    /// before somebody looks. A name that could not be looked up may be anybody's.
    pub fn keeps_out(&self, peer: &Peer<'_>) -> bool {
        if !(self.unknown_users || self.includes_user(peer.uid)) {
            return false;
        }
        let in_place = || {
            any_matches(self.units.as_deref(), peer.unit)
                && any_matches(self.cgroups.as_deref(), peer.cgroup)
        };
        peer.vanished
            || (self.unknown_groups || self.includes_a_group(peer))
                && any_matches(self.labels.as_deref(), peer.label)
                && (peer.out_of_sight || in_place())
    }

    /// Returns whether no peer meets the conditions: all users or groups that a rule names are unknown here.
    pub fn is_nobody(&self) -> bool {
        self.users.as_ref().is_some_and(|users| users.is_empty())
            || self.groups.as_ref().is_some_and(|groups| groups.is_empty())
    }

    /// Returns whom a rule keeps out that denies: a name that could not be looked up may be anybody's.
    #[must_use]
    pub fn kept_out(&self) -> Cow<'_, Self> {
        if !self.unknown_users && !self.unknown_groups {
            return Cow::Borrowed(self);
        }
        let mut who = self.clone();
        who.users = who.users.filter(|_| !self.unknown_users);
        who.groups = who.groups.filter(|_| !self.unknown_groups);
        Cow::Owned(who)
    }

    /// Whether the users allow for this one.
    pub fn includes_user(&self, uid: Uid) -> bool {
        self.users.as_ref().is_none_or(|users| users.binary_search(&uid).is_ok())
    }

    /// Whether the groups allow for one of the peer.
    pub fn includes_a_group(&self, peer: &Peer<'_>) -> bool {
        self.groups
            .as_ref()
            .is_none_or(|groups| peer.all_groups().any(|gid| groups.binary_search(&gid).is_ok()))
    }
}

/// Whether a condition holds; without a condition, whatever is known.
pub fn any_matches(condition: Option<&[Glob]>, fact: Option<&str>) -> bool {
    let Some(globs) = condition else { return true };
    fact.is_some_and(|fact| globs.iter().any(|glob| glob.matches(fact)))
}

/// A list in order, each once.
pub(crate) fn sorted<T: Ord>(list: impl IntoIterator<Item = T>) -> Box<[T]> {
    let mut list: Vec<T> = list.into_iter().collect();
    list.sort_unstable();
    list.dedup();
    list.into_boxed_slice()
}

#[cfg(test)]
mod tests {
    use super::*;

    use crate::glob::Star;
    use crate::{Index, Slot, Tag};

    const PEER: Peer<'static> = Peer {
        unit: Some("app@1.service"),
        cgroup: Some("/system.slice/app@1.service"),
        ..Peer::new(Uid(7), Gid(70), &[Gid(71), Gid(72)])
    };

    fn users(users: &[u32]) -> Who {
        Who { users: Some(sorted(users.iter().copied().map(Uid))), ..Who::default() }
    }

    fn groups(groups: &[u32]) -> Option<Box<[Gid]>> {
        Some(sorted(groups.iter().copied().map(Gid)))
    }

    fn globs(patterns: &[&str], star: Star) -> Option<Box<[Glob]>> {
        Some(sorted(patterns.iter().map(|pattern| Glob::new(pattern, star))))
    }

    fn rule(allow: &[Right], deny: &[Right], slots: &[Pattern]) -> Rule {
        let set = |rights: &[Right]| rights.iter().copied().collect::<Rights>();
        Rule {
            id: String::new(),
            allow: set(allow),
            deny: set(deny),
            slots: slots.into(),
            who: Who::default(),
            valid: Validity::default(),
            rates: Rates::default(),
        }
    }

    #[test]
    fn a_rule_about_the_broker_covers_it_and_no_slots_but_its_own() {
        let slot = |tag, index| Slot { tag: Tag::new(tag).unwrap(), index };
        let (own, other) = (slot(1, Index::MIN), slot(1, Index::MAX));
        for rule in [
            rule(&[Right::Operate, Right::Get], &[], &[Pattern::slot(own)]),
            rule(&[Right::Get], &[Right::Operate], &[Pattern::slot(own)]),
        ] {
            assert!(rule.concerns(Right::Operate, Target::Broker));
            assert!(rule.concerns(Right::Get, Target::Slot(own)));
            assert!(!rule.covers(Right::Get, Target::Slot(other)));
            assert!(!rule.covers(Right::Tag, Target::Tag(own.tag)));
            assert!(!rule.concerns(Right::Add, Target::Slot(own)), "it says nothing about that");
        }
        let everywhere = rule(&[Right::Get], &[], &[Pattern::Everything]);
        assert!(!everywhere.covers(Right::Operate, Target::Broker));
    }

    #[test]
    fn what_a_rule_both_allows_and_denies_it_is_about() {
        let both = rule(&[Right::Get, Right::Add], &[Right::Get, Right::Del], &[]);
        let about: Vec<_> =
            Right::ALL.into_iter().filter(|right| both.rights().contains(*right)).collect();
        assert_eq!(about, [Right::Get, Right::Add, Right::Del]);
    }

    #[test]
    fn no_condition_means_anyone() {
        assert!(Who::default().includes(&PEER));
    }

    #[test]
    fn what_is_not_known_of_a_vanished_peer_counts_against_it() {
        let vanished = Peer { vanished: true, ..Peer::new(Uid(7), Gid(70), &[]) };
        let conditions = [
            Who { groups: groups(&[99]), ..Who::default() },
            Who { units: globs(&["x.service"], Star::Anything), ..Who::default() },
            Who { labels: globs(&["x"], Star::Anything), ..Who::default() },
        ];
        for who in conditions {
            assert!(who.keeps_out(&vanished) && !who.includes(&vanished), "{who:?}");
            assert!(!who.keeps_out(&Peer { vanished: false, ..vanished }), "{who:?}");
        }
        assert!(!users(&[8]).keeps_out(&vanished));
    }

    #[test]
    fn where_a_peer_runs_counts_against_it_when_it_is_out_of_sight() {
        let unit = Who { units: globs(&["vpn.service"], Star::Anything), ..Who::default() };
        let hidden = Peer { out_of_sight: true, ..Peer::new(Uid(7), Gid(70), &[]) };
        assert!(unit.keeps_out(&hidden) && !unit.includes(&hidden));
        assert!(!unit.keeps_out(&Peer { out_of_sight: false, ..hidden }));
        let another = Who { users: users(&[8]).users, ..unit };
        assert!(!another.keeps_out(&hidden));
    }

    #[test]
    fn a_name_that_could_not_be_looked_up_allows_nobody_and_denies_everybody() {
        let nobody = Who { users: Some(Box::new([])), unknown_users: true, ..Who::default() };
        assert!(!nobody.includes(&PEER) && nobody.keeps_out(&PEER));
        let also = Who { unknown_users: true, ..users(&[7]) };
        assert!(also.includes(&PEER) && also.keeps_out(&PEER));
        let group = Who { groups: Some(Box::new([])), unknown_groups: true, ..Who::default() };
        assert!(!group.includes(&PEER) && group.keeps_out(&PEER));
        let elsewhere = globs(&["x.service"], Star::Anything);
        assert!(!Who { units: elsewhere, ..nobody.clone() }.keeps_out(&PEER));
        assert!(!Who { users: users(&[8]).users, ..group }.keeps_out(&PEER));
    }

    #[test]
    fn a_list_means_any_of_them() {
        assert!(users(&[9, 7, 1]).includes(&PEER));
        assert!(!users(&[9, 1]).includes(&PEER));
        let units = globs(&["vpn.service", "app@*.service"], Star::Anything);
        assert!(Who { units, ..Who::default() }.includes(&PEER));
    }

    #[test]
    fn a_group_counts_whether_primary_or_supplementary() {
        for gid in [70, 71, 72] {
            assert!(Who { groups: groups(&[gid]), ..Who::default() }.includes(&PEER), "{gid}");
        }
        assert!(!Who { groups: groups(&[7]), ..Who::default() }.includes(&PEER));
    }

    #[test]
    fn all_conditions_must_hold() {
        let both = |uid, gid| Who { groups: groups(&[gid]), ..users(&[uid]) };
        assert!(both(7, 72).includes(&PEER));
        assert!(!both(7, 1).includes(&PEER) && !both(1, 72).includes(&PEER));
        let cgroups = globs(&["/system.slice/*"], Star::WithinComponent);
        assert!(Who { cgroups: cgroups.clone(), ..users(&[7]) }.includes(&PEER));
        assert!(!Who { cgroups, ..users(&[8]) }.includes(&PEER));
    }

    #[test]
    fn what_is_not_known_of_a_peer_matches_nothing() {
        let labels = globs(&["*"], Star::Anything);
        assert!(!Who { labels, ..Who::default() }.includes(&PEER));
    }
}
