//! Whom something holds for, to be shown: the conditions of a rule, or those under which two policies differ.

use fdbroker_policy::rules::{Glob, Star, Who};
use fdbroker_policy::{Gid, Peer, Uid};

/// Everybody who meets all of these conditions. An empty list is no condition; of the others any entry is enough.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Subjects {
    /// The users.
    pub users: Vec<Uid>,
    /// The groups: one of each list.
    pub groups: Vec<Vec<Gid>>,
    /// Patterns of units, as rules write them.
    pub units: Vec<String>,
    /// Patterns of control groups.
    pub cgroups: Vec<String>,
    /// Patterns of labels.
    pub labels: Vec<String>,
}

impl Subjects {
    /// Whether there is no condition at all.
    #[must_use]
    pub fn is_anyone(&self) -> bool {
        *self == Self::default()
    }

    /// Whether a peer is meant.
    #[must_use]
    pub fn includes(&self, peer: &Peer<'_>) -> bool {
        (self.users.is_empty() || self.users.contains(&peer.uid))
            && self.groups.iter().all(|any| peer.all_groups().any(|gid| any.contains(&gid)))
            && matches(&self.units, Star::Anything, peer.unit)
            && matches(&self.cgroups, Star::WithinComponent, peer.cgroup)
            && matches(&self.labels, Star::Anything, peer.label)
    }
}

fn matches(patterns: &[String], star: Star, fact: Option<&str>) -> bool {
    let matches = |fact| patterns.iter().any(|pattern| Glob::new(pattern, star).matches(fact));
    patterns.is_empty() || fact.is_some_and(matches)
}

impl From<&Who> for Subjects {
    fn from(who: &Who) -> Self {
        Self {
            users: who.users.as_deref().unwrap_or_default().to_vec(),
            groups: who.groups.iter().map(|groups| groups.to_vec()).collect(),
            units: texts(who.units.as_deref()),
            cgroups: texts(who.cgroups.as_deref()),
            labels: texts(who.labels.as_deref()),
        }
    }
}

fn texts(globs: Option<&[Glob]>) -> Vec<String> {
    globs.unwrap_or_default().iter().map(|glob| glob.text().to_owned()).collect()
}
