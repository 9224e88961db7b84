//! Why the policy says what it says: what each rule that covers a target has to do with it.

use fdbroker_policy::rules::{Glob, Pattern, Rule, any_matches};
use fdbroker_policy::{Gid, Moment, Peer, Policy, Rates, Right, Target, Uid, Verdict};

/// A verdict, and how every rule comes into it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explanation<'p> {
    /// What [`Policy::outcome`] says.
    pub verdict: Verdict<'p>,
    /// Whether the request is to change the slot of a resource, which nobody may: then a rule that
    /// allows it is overruled.
    pub is_kept: bool,
    /// Whether the target exists, and the right counts of it. If not, no rule has to do with it.
    pub can_be_asked: bool,
    /// Every rule that covers the target or a part of it: the one that decides first, the others in the order of their ids.
    pub rules: Vec<Considered<'p>>,
}

/// One rule, and what became of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Considered<'p> {
    /// Its id.
    pub rule: &'p str,
    /// What it has to do with the verdict.
    pub effect: Effect<'p>,
    /// Its rates, which count where it decides.
    pub rates: Rates,
}

/// What a rule has to do with a verdict.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect<'p> {
    /// It is the rule that decides.
    Decides,
    /// It allows too, and another that allows comes first.
    AlsoAllows,
    /// It denies too, and another that denies comes first.
    AlsoDenies,
    /// It allows, and a rule that denies beats it, or a resource lies in the slot.
    Overruled,
    /// It does not count, for each of these reasons.
    DoesNotCount(Vec<Reason<'p>>),
}

/// Why a rule does not count.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reason<'p> {
    /// It says nothing about this right, but about these.
    OtherRights {
        /// What it allows.
        allows: Vec<Right>,
        /// What it denies.
        denies: Vec<Right>,
    },
    /// It covers a part of the tag, and what is asked counts of all of it.
    PartOfTag,
    /// It counts only from this moment on.
    NotYet(Moment),
    /// It counted until this moment.
    NoLonger(Moment),
    /// The user is another.
    User {
        /// Those of the rule.
        wanted: &'p [Uid],
        /// That of the peer.
        is: Uid,
    },
    /// The peer is in none of the groups.
    Group {
        /// Those of the rule.
        wanted: &'p [Gid],
        /// Those of the peer.
        are: Vec<Gid>,
    },
    /// The unit, control group or label is another, or not known.
    Text {
        /// The key of the condition.
        key: &'static str,
        /// The patterns of the rule.
        wanted: Vec<&'p str>,
        /// What the peer has.
        is: Option<String>,
    },
}

/// Returns why [`Policy::outcome`] says what it says. Looks at every rule.
#[must_use]
pub fn explain<'p>(
    policy: &'p Policy,
    peer: &Peer<'_>,
    right: Right,
    target: Target,
    at: Moment,
) -> Explanation<'p> {
    let verdict = policy.outcome(peer, right, target, at);
    let peer = &peer.within_sight();
    let question = Question { peer, right, target, at, verdict };
    let can_be_asked = policy.can_be_asked(right, target);
    let touching = policy.rules().iter().filter(|rule| can_be_asked && touches(rule, target));
    let mut rules: Vec<_> = touching.map(|rule| question.considered(rule)).collect();
    rules.sort_by_key(|considered| considered.effect != Effect::Decides);
    Explanation { verdict, is_kept: policy.keeps(right, target), can_be_asked, rules }
}

/// Whether a rule covers a target or a part of it.
fn touches(rule: &Rule, target: Target) -> bool {
    match target {
        Target::Broker => rule.is_of_broker(),
        Target::Slot(_) => rule.covers(Right::Get, target),
        Target::Tag(asked) => rule.slots.iter().any(|pattern| match pattern {
            Pattern::Everything => true,
            Pattern::Range { tag, .. } => *tag == asked,
        }),
    }
}

struct Question<'a, 'p> {
    peer: &'a Peer<'a>,
    right: Right,
    target: Target,
    at: Moment,
    verdict: Verdict<'p>,
}

impl<'p> Question<'_, 'p> {
    fn considered(&self, rule: &'p Rule) -> Considered<'p> {
        Considered { rule: &rule.id, effect: self.effect(rule), rates: rule.rates }
    }

    fn effect(&self, rule: &'p Rule) -> Effect<'p> {
        let mut reasons = self.reasons_of_place_and_time(rule);
        reasons.extend(unmet(rule, rule.deny.contains(self.right), self.peer));
        if !reasons.is_empty() {
            return Effect::DoesNotCount(reasons);
        }
        let denies = rule.deny.contains(self.right);
        match self.verdict {
            Verdict::Granted { rule: first } | Verdict::Refused { rule: Some(first) }
                if first == rule.id =>
            {
                Effect::Decides
            }
            Verdict::Granted { .. } => Effect::AlsoAllows,
            Verdict::Refused { .. } if denies => Effect::AlsoDenies,
            Verdict::Refused { .. } | Verdict::Kept { .. } => Effect::Overruled,
        }
    }

    fn reasons_of_place_and_time(&self, rule: &Rule) -> Vec<Reason<'p>> {
        let mut reasons = Vec::new();
        if !rule.rights().contains(self.right) {
            let (allows, denies) = (rule.allow.iter().collect(), rule.deny.iter().collect());
            reasons.push(Reason::OtherRights { allows, denies });
        }
        if !rule.covers(self.right, self.target) {
            reasons.push(Reason::PartOfTag);
        }
        match (rule.valid.from, rule.valid.until) {
            (Some(from), _) if self.at < from => reasons.push(Reason::NotYet(from)),
            (_, Some(until)) if until <= self.at => reasons.push(Reason::NoLonger(until)),
            _ => {}
        }
        reasons
    }
}

/// The conditions of a rule that a peer does not meet. Where it denies, a name that could not be looked up is anybody's.
fn unmet<'p>(rule: &'p Rule, denies: bool, peer: &Peer<'_>) -> Vec<Reason<'p>> {
    let who = &rule.who;
    let mut reasons = Vec::new();
    if let Some(wanted) = &who.users
        && !(denies && who.unknown_users || who.includes_user(peer.uid))
    {
        reasons.push(Reason::User { wanted, is: peer.uid });
    }
    if let Some(wanted) = &who.groups
        && !(denies && who.unknown_groups || who.includes_a_group(peer))
    {
        let are = peer.all_groups().filter(|gid| *gid != Gid::NONE).collect();
        reasons.push(Reason::Group { wanted, are });
    }
    let texts = [
        ("unit", &who.units, peer.unit),
        ("cgroup", &who.cgroups, peer.cgroup),
        ("label", &who.labels, peer.label),
    ];
    reasons.extend(texts.into_iter().filter_map(|(key, globs, is)| text(key, globs, is)));
    reasons
}

fn text<'p>(
    key: &'static str,
    globs: &'p Option<Box<[Glob]>>,
    is: Option<&str>,
) -> Option<Reason<'p>> {
    let globs = globs.as_deref().filter(|globs| !any_matches(Some(globs), is))?;
    let wanted = globs.iter().map(Glob::text).collect();
    Some(Reason::Text { key, wanted, is: is.map(str::to_owned) })
}
