//! Peers that stand for all others when two policies are compared.
//!
//! A example is what is known of a peer, and nothing else is true of it: it is another user than any rule names, in no
//! group, in no unit, unless it says so. Users that the same rules name are one class, and so are groups.

use std::collections::BTreeMap;
use std::hash::Hash;

use fdbroker_policy::rules::{Glob, Who};
use fdbroker_policy::{Gid, Peer, Uid};

use crate::budget::Budget;
use crate::glob_intersection::{Budgets, includes, overlaps, sample, variants};
use crate::subjects::Subjects;

/// The steps that it costs to make a example.
pub(crate) const STEPS: usize = 15;

/// What is known of a peer.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Example {
    user: Option<usize>,
    groups: Vec<usize>,
    unit: Option<Glob>,
    cgroup: Option<Glob>,
    label: Option<Glob>,
    /// It meets more conditions than this says, too many to tell apart: of the peers it stands for, some may, some may not.
    pub(crate) is_vague: bool,
}

/// The users and groups of all rules, those together that the same rules name.
pub(crate) struct Classes {
    users: Division<Uid>,
    groups: Division<Gid>,
    /// A user that no rule names.
    stranger: Uid,
    pub(crate) budgets: Budgets,
}

impl Example {
    /// Every way in which a peer of which this is known can meet these conditions too.
    pub(crate) fn meeting(&self, who: &Who, classes: &Classes) -> Vec<Self> {
        if self.is_another_user_than(who, classes) {
            let _ = classes.budgets.question.take(3);
            return Vec::new();
        }
        let named = who.users.as_ref().map_or(0, |ids| ids.len())
            + who.groups.as_ref().map_or(0, |ids| ids.len());
        if !classes.budgets.question.take(STEPS + named) {
            return Vec::new();
        }
        let also = |found, more: &dyn Fn(&Self) -> Vec<Self>| also(found, classes, more);
        let mut found = vec![self.clone()];
        found = also(found, &|it| it.users_meeting(who.users.as_deref(), classes));
        found = also(found, &|it| it.groups_meeting(who.groups.as_deref(), classes));
        found = also(found, &|it| {
            let globs = meeting(it.unit.as_ref(), who.units.as_deref(), &classes.budgets);
            let with = |(unit, vague)| Self { unit, is_vague: it.is_vague || vague, ..it.clone() };
            globs.into_iter().map(with).collect()
        });
        found = also(found, &|it| {
            let globs = meeting(it.cgroup.as_ref(), who.cgroups.as_deref(), &classes.budgets);
            let with =
                |(cgroup, vague)| Self { cgroup, is_vague: it.is_vague || vague, ..it.clone() };
            globs.into_iter().map(with).collect()
        });
        also(found, &|it| {
            let globs = meeting(it.label.as_ref(), who.labels.as_deref(), &classes.budgets);
            let with =
                |(label, vague)| Self { label, is_vague: it.is_vague || vague, ..it.clone() };
            globs.into_iter().map(with).collect()
        })
    }

    /// Whether its user is none that the conditions name: a class is named as a whole, or not at all.
    fn is_another_user_than(&self, who: &Who, classes: &Classes) -> bool {
        let (Some(user), Some(users)) = (self.user, &who.users) else { return false };
        classes.users.first(user).is_some_and(|uid| users.binary_search(&uid).is_err())
    }

    fn users_meeting(&self, users: Option<&[Uid]>, classes: &Classes) -> Vec<Self> {
        let Some(users) = users else { return vec![self.clone()] };
        let named = classes.users.of(users);
        match self.user {
            None => {
                named.into_iter().map(|user| Self { user: Some(user), ..self.clone() }).collect()
            }
            Some(user) if named.contains(&user) => vec![self.clone()],
            Some(_) => Vec::new(),
        }
    }

    fn groups_meeting(&self, groups: Option<&[Gid]>, classes: &Classes) -> Vec<Self> {
        let Some(groups) = groups else { return vec![self.clone()] };
        let named = classes.groups.of(groups);
        if self.groups.iter().any(|group| named.contains(group)) {
            return vec![self.clone()];
        }
        let with = |group| {
            let mut groups = [&self.groups[..], &[group]].concat();
            groups.sort_unstable();
            Self { groups, ..self.clone() }
        };
        named.into_iter().map(with).collect()
    }

    /// The example, taken apart so that each part stands for all that it says of the control group; see [`variants`].
    pub(crate) fn parts(&self, depth: usize) -> Vec<Self> {
        let Some(cgroup) = &self.cgroup else { return vec![self.clone()] };
        let with = |cgroup| Self { cgroup: Some(cgroup), ..self.clone() };
        match variants(cgroup, depth) {
            Some(variants) => variants.into_iter().map(with).collect(),
            None => vec![Self { is_vague: true, ..self.clone() }],
        }
    }

    pub(crate) const fn cgroup(&self) -> Option<&Glob> {
        self.cgroup.as_ref()
    }

    /// Whether all that is known of this one is known of the other too, or follows from it.
    pub(crate) fn is_part_of(&self, other: &Self, classes: &Classes) -> bool {
        let follows = |known: &Option<Glob>, from: &Option<Glob>| {
            follows(known.as_ref(), from.as_ref(), &classes.budgets.question)
        };
        (self.user.is_none() || self.user == other.user)
            && self.groups.iter().all(|group| other.groups.contains(group))
            && follows(&self.unit, &other.unit)
            && follows(&self.cgroup, &other.cgroup)
            && follows(&self.label, &other.label)
    }

    /// Asks something about the peer.
    pub(crate) fn ask<T>(&self, classes: &Classes, ask: impl FnOnce(&Peer<'_>) -> T) -> T {
        let uid = self.user.and_then(|user| classes.users.first(user)).unwrap_or(classes.stranger);
        let gids: Vec<_> =
            self.groups.iter().filter_map(|group| classes.groups.first(*group)).collect();
        let [unit, cgroup, label] =
            [&self.unit, &self.cgroup, &self.label].map(|glob| glob.as_ref().map(sample));
        ask(&Peer {
            out_of_sight: false,
            vanished: false,
            uid,
            gid: Gid::NONE,
            groups: &gids,
            unit: unit.as_deref(),
            cgroup: cgroup.as_deref(),
            label: label.as_deref(),
        })
    }

    pub(crate) fn subjects(&self, classes: &Classes) -> Subjects {
        let text = |glob: &Option<Glob>| glob.iter().map(|glob| glob.text().to_owned()).collect();
        let members = |group: &usize| classes.groups.members(*group).to_vec();
        Subjects {
            users: self.user.map(|user| classes.users.members(user).to_vec()).unwrap_or_default(),
            groups: self.groups.iter().map(members).collect(),
            units: text(&self.unit),
            cgroups: text(&self.cgroup),
            labels: text(&self.label),
        }
    }
}

/// Goes on with each of them. Where the budget does not reach, with none.
fn also(
    found: Vec<Example>,
    classes: &Classes,
    more: &dyn Fn(&Example) -> Vec<Example>,
) -> Vec<Example> {
    let mut all = Vec::new();
    for example in &found {
        let more = more(example);
        if !classes.budgets.question.take(STEPS * more.len()) {
            return Vec::new();
        }
        all.extend(more);
    }
    all
}

/// What can be known of a text that matches one of these patterns too, and whether that is too little.
fn meeting(
    known: Option<&Glob>,
    globs: Option<&[Glob]>,
    budgets: &Budgets,
) -> Vec<(Option<Glob>, bool)> {
    let Some(globs) = globs else { return vec![(known.cloned(), false)] };
    let Some(known) = known else {
        return globs.iter().map(|glob| (Some(glob.clone()), false)).collect();
    };
    let common = |glob| match overlaps(known, glob, budgets) {
        Some(common) => common.into_iter().map(|glob| (Some(glob), false)).collect(),
        None => vec![(Some(known.clone()), true)],
    };
    globs.iter().flat_map(common).collect()
}

fn follows(known: Option<&Glob>, from: Option<&Glob>, budget: &Budget) -> bool {
    known.is_none_or(|known| from.is_some_and(|from| includes(known, from, budget)))
}

impl Classes {
    pub(crate) fn new(whos: &[&Who], budgets: Budgets) -> Self {
        let users = Division::new(whos.iter().map(|who| who.users.as_deref()));
        let groups = Division::new(whos.iter().map(|who| who.groups.as_deref()));
        let unnamed = (0..u32::MAX).map(Uid).find(|uid| !users.class_of.contains_key(uid));
        Self { stranger: unnamed.unwrap_or(Uid::OVERFLOW), users, groups, budgets }
    }
}

/// Ids, divided into classes.
struct Division<T> {
    class_of: BTreeMap<T, usize>,
    classes: Vec<Vec<T>>,
}

impl<T: Ord + Copy + Hash> Division<T> {
    fn new<'l>(lists: impl Iterator<Item = Option<&'l [T]>>) -> Self
    where
        T: 'l,
    {
        let mut named_by: BTreeMap<T, Vec<usize>> = BTreeMap::new();
        for (number, list) in lists.enumerate() {
            for id in list.unwrap_or_default() {
                named_by.entry(*id).or_default().push(number);
            }
        }
        let mut classes: BTreeMap<Vec<usize>, Vec<T>> = BTreeMap::new();
        for (id, lists) in named_by {
            classes.entry(lists).or_default().push(id);
        }
        let classes: Vec<_> = classes.into_values().collect();
        let numbered = classes.iter().enumerate();
        let class_of = numbered.flat_map(|(class, ids)| ids.iter().map(move |id| (*id, class)));
        Self { class_of: class_of.collect(), classes }
    }

    /// The classes that a list consists of.
    fn of(&self, list: &[T]) -> Vec<usize> {
        let mut classes: Vec<_> =
            list.iter().filter_map(|id| self.class_of.get(id).copied()).collect();
        classes.sort_unstable();
        classes.dedup();
        classes
    }

    fn members(&self, class: usize) -> &[T] {
        self.classes.get(class).map(Vec::as_slice).unwrap_or_default()
    }

    fn first(&self, class: usize) -> Option<T> {
        self.members(class).first().copied()
    }
}
