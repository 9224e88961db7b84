//! One change of rights, as it is told; and changes that differ in one condition only, as one.

use std::collections::BTreeMap;

use fdbroker_policy::{Gid, Right};

use crate::scope::Scope;
use crate::subjects::Subjects;

/// Somebody gains or loses rights.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Change {
    /// What of.
    pub on: Vec<Scope>,
    /// Whom it concerns: everybody who meets these conditions, but for `unless`.
    pub who: Subjects,
    /// Whether they gain the rights; else they lose them.
    pub gains: bool,
    /// Which rights.
    pub rights: Vec<Right>,
    /// The rule that decided before, for a peer that meets no other condition; `None` if no rule
    /// allowed it.
    pub before: Option<String>,
    /// The rule that decides now.
    pub after: Option<String>,
    /// Those for whom nothing changes, or of whom another change tells: other rules concern them too.
    pub unless: Vec<Unless>,
    /// Whether it was too much work to tell whom of these it concerns: their patterns have many stars. It may be nobody.
    pub is_vague: bool,
}

/// Somebody who is not meant, since another rule concerns them too.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Unless {
    /// The rule.
    pub rule: String,
    /// Whom it concerns.
    pub who: Subjects,
}

/// What changes when one policy takes the place of another.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Differences {
    /// Who gains and who loses.
    pub changes: Vec<Change>,
    /// Whether there can be more: it was too much work to follow all.
    pub is_cut: bool,
}

/// Makes one change of those that differ only in a user, a group, a unit, a control group or a label.
pub(super) fn united(changes: Vec<Change>) -> Vec<Change> {
    let changes = united_by(changes, |who| Some(&mut who.users));
    let changes = united_by(changes, |who| match &mut who.groups[..] {
        [groups] => Some(groups),
        _ => None::<&mut Vec<Gid>>,
    });
    let changes = united_by(changes, |who| Some(&mut who.units));
    let changes = united_by(changes, |who| Some(&mut who.cgroups));
    united_by(changes, |who| Some(&mut who.labels))
}

fn united_by<T: Ord>(
    changes: Vec<Change>,
    list: fn(&mut Subjects) -> Option<&mut Vec<T>>,
) -> Vec<Change> {
    let mut united: BTreeMap<(Change, bool), Vec<T>> = BTreeMap::new();
    for mut change in changes {
        let taken = list(&mut change.who).map(std::mem::take).unwrap_or_default();
        let key = (change, taken.is_empty());
        united.entry(key).or_default().extend(taken);
    }
    let restored = united.into_iter().map(|((mut change, _), mut taken)| {
        taken.sort_unstable();
        taken.dedup();
        if let Some(list) = list(&mut change.who) {
            *list = taken;
        }
        change
    });
    let mut restored: Vec<_> = restored.collect();
    restored.sort_unstable();
    restored
}
