//! Random policies, as text and as what a naive implementation makes of them, and random peers.

use std::collections::BTreeSet;
use std::fmt::Write;

use fdbroker_policy::{Gid, Index, Moment, Peer, Slot, Tag, Target, Uid};
use proptest::prelude::*;
use proptest::sample::subsequence;

/// The tags that every generated policy declares, and one that none does.
pub(crate) const TAGS: [i16; 3] = [0, 1, 7];
pub(crate) const UNDECLARED: i16 = 2;
/// Indices are small, so that ranges overlap; the last one stands for all beyond.
pub(crate) const INDICES: i32 = 12;

#[derive(Clone, Debug)]
pub(crate) enum Pattern {
    Everything,
    Whole(i16),
    Range(i16, i32, i32),
    /// The resource at `tag/0`.
    Resource(i16),
}

#[derive(Clone, Debug)]
pub(crate) struct Rule {
    pub(crate) id: String,
    pub(crate) allow: BTreeSet<&'static str>,
    pub(crate) deny: BTreeSet<&'static str>,
    pub(crate) slots: Vec<Pattern>,
    pub(crate) users: Option<Vec<u32>>,
    pub(crate) groups: Option<Vec<u32>>,
    pub(crate) units: Option<Vec<&'static str>>,
    pub(crate) cgroups: Option<Vec<&'static str>>,
    pub(crate) labels: Option<Vec<&'static str>>,
    /// In seconds, both small.
    pub(crate) from: Option<i64>,
    pub(crate) until: Option<i64>,
}

/// Patterns, and what they stand for in the naive implementation: every text below that they match.
pub(crate) const UNITS: [(&str, &[&str]); 4] = [
    ("vpn.service", &["vpn.service"]),
    ("app@*.service", &["app@1.service", "app@.service"]),
    ("*.service", &["vpn.service", "app@1.service", "app@.service"]),
    ("app*", &["app@1.service", "app@.service", "app@1.scope"]),
];
pub(crate) const CGROUPS: [(&str, &[&str]); 4] = [
    ("/", &["/"]),
    ("/a/*", &["/a/b", "/a/c"]),
    ("/a/**", &["/a/b", "/a/c", "/a/b/c"]),
    ("/**/c", &["/a/c", "/a/b/c"]),
];
pub(crate) const LABELS: [(&str, &[&str]); 2] =
    [("one (enforce)", &["one (enforce)"]), ("*", &["one (enforce)", "two", "something else"])];

impl Pattern {
    pub(crate) fn text(&self) -> String {
        match self {
            Self::Everything => "*".to_owned(),
            Self::Whole(tag) => format!("t{tag}/*"),
            Self::Range(tag, first, last) if first == last => format!("t{tag}/{first}"),
            Self::Range(tag, first, last) => format!("t{tag}/{first}-{last}"),
            Self::Resource(tag) => format!("r{tag}"),
        }
    }
}

impl Rule {
    pub(crate) fn text(&self) -> String {
        let mut text = format!("[[rules]]\nid = {:?}\n", self.id);
        for (key, rights) in [("allow", &self.allow), ("deny", &self.deny)] {
            if !rights.is_empty() {
                writeln!(text, "{key} = {:?}", rights.iter().collect::<Vec<_>>())
                    .expect("a string");
            }
        }
        if self.allow.iter().chain(&self.deny).any(|right| *right != "operate") {
            let slots: Vec<_> = self.slots.iter().map(Pattern::text).collect();
            writeln!(text, "slots = {slots:?}").expect("a string");
        }
        for (key, ids) in [("user", &self.users), ("group", &self.groups)] {
            if let Some(ids) = ids {
                writeln!(text, "{key} = {ids:?}").expect("a string");
            }
        }
        for (key, seconds) in [("valid_from", self.from), ("valid_until", self.until)] {
            if let Some(seconds) = seconds {
                writeln!(text, "{key} = {}", Moment::new(seconds, 0)).expect("a string");
            }
        }
        let texts = [("unit", &self.units), ("cgroup", &self.cgroups), ("label", &self.labels)];
        for (key, patterns) in texts {
            if let Some(patterns) = patterns {
                writeln!(text, "{key} = {patterns:?}").expect("a string");
            }
        }
        if self.users.is_none()
            && self.groups.is_none()
            && texts.iter().all(|(_, patterns)| patterns.is_none())
        {
            text.push_str("anyone = true\n");
        }
        text
    }
}

pub(crate) fn policy_text(rules: &[Rule]) -> String {
    let mut text = "version = 1\n".to_owned();
    for tag in TAGS {
        write!(
            text,
            "[tags.t{tag}]\nid = {tag}\n[resources.r{tag}]\nslot = \"t{tag}/0\"\nfile = \"/f\"\n"
        )
        .expect("a string");
    }
    text + &rules.iter().map(Rule::text).collect::<String>()
}

pub(crate) fn pattern() -> impl Strategy<Value = Pattern> {
    let tag = || prop::sample::select(TAGS.to_vec());
    prop_oneof![
        1 => Just(Pattern::Everything),
        2 => tag().prop_map(Pattern::Whole),
        6 => (tag(), 0..INDICES, 0..INDICES).prop_map(|(tag, one, other)| Pattern::Range(tag, one.min(other), one.max(other))),
        1 => tag().prop_map(|tag| Pattern::Range(tag, 1, Index::MAX.get())),
        1 => tag().prop_map(Pattern::Resource),
    ]
}

pub(crate) fn rights() -> impl Strategy<Value = BTreeSet<&'static str>> {
    subsequence(vec!["get", "add", "del", "tag", "claim", "replace", "list", "operate", "*"], 0..=3)
        .prop_map(BTreeSet::from_iter)
}

pub(crate) fn ids() -> impl Strategy<Value = Option<Vec<u32>>> {
    prop::option::of(subsequence(vec![0, 1, 2, 3], 1..=2))
}

/// Mostly no condition, so that some rules still apply.
pub(crate) fn texts(
    table: &[(&'static str, &[&str])],
) -> impl Strategy<Value = Option<Vec<&'static str>>> + use<> {
    let patterns: Vec<_> = table.iter().map(|(pattern, _)| *pattern).collect();
    prop::option::weighted(0.2, subsequence(patterns, 1..=2))
}

/// A text that some pattern matches, one that none does, or none.
pub(crate) fn fact(
    table: &[(&'static str, &[&'static str])],
) -> impl Strategy<Value = Option<&'static str>> + use<> {
    let mut texts: Vec<_> = table.iter().flat_map(|(_, texts)| texts.iter().copied()).collect();
    texts.push("something else");
    prop::option::weighted(0.9, prop::sample::select(texts))
}

/// Who asks, but for the groups.
pub(crate) fn facts() -> impl Strategy<Value = Peer<'static>> {
    (0u32..5, 0u32..5, fact(&UNITS), fact(&CGROUPS), fact(&LABELS)).prop_map(
        |(uid, gid, unit, cgroup, label)| Peer {
            unit,
            cgroup,
            label,
            ..Peer::new(Uid(uid), Gid(gid), &[])
        },
    )
}

pub(crate) fn validity() -> impl Strategy<Value = (Option<i64>, Option<i64>)> {
    (prop::option::weighted(0.2, 0i64..3), prop::option::weighted(0.2, 3i64..6))
}

pub(crate) fn rule() -> impl Strategy<Value = Rule> {
    let conditions = (ids(), ids(), texts(&UNITS), texts(&CGROUPS), texts(&LABELS));
    (rights(), rights(), prop::collection::vec(pattern(), 1..4), conditions, validity()).prop_map(
        |(mut allow, deny, mut slots, (users, groups, units, cgroups, labels), (from, until))| {
            if allow.is_empty() && deny.is_empty() {
                allow.insert("get");
            }
            // A rule that names `tag` must cover a whole one.
            if allow.union(&deny).any(|right| ["tag", "claim"].contains(right)) {
                slots.push(Pattern::Whole(TAGS[0]));
            }
            Rule {
                id: String::new(),
                allow,
                deny,
                slots,
                users,
                groups,
                units,
                cgroups,
                labels,
                from,
                until,
            }
        },
    )
}

/// Rules with different ids, whose order says nothing about the order of the ids.
pub(crate) fn rules() -> impl Strategy<Value = Vec<Rule>> {
    prop::collection::vec(rule(), 0..12).prop_flat_map(|rules| {
        let ids: Vec<_> = (0..rules.len()).map(|number| format!("rule {number}")).collect();
        Just(ids).prop_shuffle().prop_map(move |ids| {
            let named = rules.iter().cloned().zip(ids);
            named.map(|(rule, id)| Rule { id, ..rule }).collect()
        })
    })
}

pub(crate) fn targets() -> Vec<Target> {
    let tags = || TAGS.into_iter().chain([UNDECLARED]).filter_map(Tag::new);
    let indices = || (0..=INDICES).chain([Index::MAX.get()]).filter_map(Index::new);
    let slots =
        tags().flat_map(|tag| indices().map(move |index| Target::Slot(Slot { tag, index })));
    slots.chain(tags().map(Target::Tag)).chain([Target::Broker]).collect()
}
