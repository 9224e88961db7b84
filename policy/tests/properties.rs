//! `decide` against a second, naive implementation, and any text against the loader.

mod support;

use std::collections::BTreeSet;
use std::fmt::Write;

use fdbroker_policy::{
    Gid, Index, Moment, Peer, Right, Slot, SourceText, Tag, Target, Uid, Verdict, load,
};
use proptest::prelude::*;
use proptest::sample::{Index as Pick, subsequence};
use support::{Machine, load_one};

/// The tags that every generated policy declares, and one that none does.
const TAGS: [u16; 3] = [0, 1, 7];
const UNDECLARED: u16 = 2;
/// Indices are small, so that ranges overlap; the last one stands for all beyond.
const INDICES: u32 = 12;

#[derive(Clone, Debug)]
enum Pattern {
    Everything,
    Whole(u16),
    Range(u16, u32, u32),
    /// The resource at `tag/0`.
    Resource(u16),
}

#[derive(Clone, Debug)]
struct Rule {
    id: String,
    allow: BTreeSet<&'static str>,
    deny: BTreeSet<&'static str>,
    slots: Vec<Pattern>,
    users: Option<Vec<u32>>,
    groups: Option<Vec<u32>>,
    units: Option<Vec<&'static str>>,
    cgroups: Option<Vec<&'static str>>,
    labels: Option<Vec<&'static str>>,
    /// In seconds, both small.
    from: Option<i64>,
    until: Option<i64>,
}

/// Patterns, and what they stand for in the naive implementation: every text below that they match.
const UNITS: [(&str, &[&str]); 4] = [
    ("vpn.service", &["vpn.service"]),
    ("app@*.service", &["app@1.service", "app@.service"]),
    ("*.service", &["vpn.service", "app@1.service", "app@.service"]),
    ("app*", &["app@1.service", "app@.service", "app@1.scope"]),
];
const CGROUPS: [(&str, &[&str]); 4] = [
    ("/", &["/"]),
    ("/a/*", &["/a/b", "/a/c"]),
    ("/a/**", &["/a/b", "/a/c", "/a/b/c"]),
    ("/**/c", &["/a/c", "/a/b/c"]),
];
const LABELS: [(&str, &[&str]); 2] =
    [("one (enforce)", &["one (enforce)"]), ("*", &["one (enforce)", "two", "something else"])];

fn stands_for(
    table: &[(&str, &[&str])],
    patterns: &Option<Vec<&'static str>>,
    fact: Option<&str>,
) -> bool {
    patterns.as_ref().is_none_or(|patterns| {
        table.iter().any(|(pattern, texts)| {
            patterns.contains(pattern) && fact.is_some_and(|fact| texts.contains(&fact))
        })
    })
}

impl Pattern {
    fn text(&self) -> String {
        match self {
            Self::Everything => "*".to_owned(),
            Self::Whole(tag) => format!("t{tag}/*"),
            Self::Range(tag, first, last) if first == last => format!("t{tag}/{first}"),
            Self::Range(tag, first, last) => format!("t{tag}/{first}-{last}"),
            Self::Resource(tag) => format!("r{tag}"),
        }
    }

    fn covers(&self, target: Target, right: Right) -> bool {
        let whole_only = matches!(target, Target::Tag(_)) || right == Right::Tag;
        let (asked, index) = match target {
            Target::Broker => return false,
            Target::Slot(slot) => (slot.tag.get(), Some(slot.index.get())),
            Target::Tag(tag) => (tag.get(), None),
        };
        match *self {
            Self::Everything => true,
            Self::Whole(tag) => tag == asked,
            Self::Range(tag, first, last) => {
                !whole_only
                    && tag == asked
                    && index.is_some_and(|index| first <= index && index <= last)
            }
            Self::Resource(tag) => !whole_only && tag == asked && index == Some(0),
        }
    }
}

impl Rule {
    fn text(&self) -> String {
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

    fn concerns(&self, peer: &Peer<'_>) -> bool {
        let mut groups = peer.groups.to_vec();
        groups.push(peer.gid);
        self.users.as_ref().is_none_or(|users| users.contains(&peer.uid.0))
            && self.groups.as_ref().is_none_or(|any| groups.iter().any(|gid| any.contains(&gid.0)))
            && stands_for(&UNITS, &self.units, peer.unit)
            && stands_for(&CGROUPS, &self.cgroups, peer.cgroup)
            && stands_for(&LABELS, &self.labels, peer.label)
    }

    fn counts(&self, seconds: i64) -> bool {
        self.from.is_none_or(|from| seconds >= from)
            && self.until.is_none_or(|until| seconds < until)
    }

    fn has(rights: &BTreeSet<&'static str>, right: Right) -> bool {
        rights.contains(right.name()) || (rights.contains("*") && right != Right::Operate)
    }

    fn covers(&self, target: Target, right: Right) -> bool {
        match target {
            Target::Broker => right == Right::Operate,
            _ => {
                right != Right::Operate
                    && self.slots.iter().any(|pattern| pattern.covers(target, right))
            }
        }
    }
}

/// The reference, read off the language's description: every rule is looked at.
fn expected<'r>(
    rules: &'r [Rule],
    peer: &Peer<'_>,
    right: Right,
    target: Target,
    seconds: i64,
) -> Verdict<'r> {
    let covering = |rights: fn(&Rule) -> &BTreeSet<&'static str>| {
        rules
            .iter()
            .filter(|rule| rule.covers(target, right) && rule.counts(seconds))
            .filter(|rule| rule.concerns(peer) && Rule::has(rights(rule), right))
            .map(|rule| rule.id.as_str())
            .min()
    };
    if target.tag().is_some_and(|tag| !TAGS.contains(&tag.get())) {
        return Verdict::Refused { rule: None };
    }
    match (covering(|rule| &rule.deny), covering(|rule| &rule.allow)) {
        (Some(rule), _) => Verdict::Refused { rule: Some(rule) },
        (None, Some(rule)) => Verdict::Granted { rule },
        (None, None) => Verdict::Refused { rule: None },
    }
}

fn policy_text(rules: &[Rule]) -> String {
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

fn pattern() -> impl Strategy<Value = Pattern> {
    let tag = || prop::sample::select(TAGS.to_vec());
    prop_oneof![
        1 => Just(Pattern::Everything),
        2 => tag().prop_map(Pattern::Whole),
        6 => (tag(), 0..INDICES, 0..INDICES).prop_map(|(tag, one, other)| Pattern::Range(tag, one.min(other), one.max(other))),
        1 => tag().prop_map(|tag| Pattern::Range(tag, 1, Index::MAX.get())),
        1 => tag().prop_map(Pattern::Resource),
    ]
}

fn rights() -> impl Strategy<Value = BTreeSet<&'static str>> {
    subsequence(vec!["get", "add", "del", "tag", "replace", "list", "operate", "*"], 0..=3)
        .prop_map(BTreeSet::from_iter)
}

fn ids() -> impl Strategy<Value = Option<Vec<u32>>> {
    prop::option::of(subsequence(vec![0, 1, 2, 3], 1..=2))
}

/// Mostly no condition, so that some rules still apply.
fn texts(
    table: &[(&'static str, &[&str])],
) -> impl Strategy<Value = Option<Vec<&'static str>>> + use<> {
    let patterns: Vec<_> = table.iter().map(|(pattern, _)| *pattern).collect();
    prop::option::weighted(0.2, subsequence(patterns, 1..=2))
}

/// A text that some pattern matches, one that none does, or none.
fn fact(
    table: &[(&'static str, &[&'static str])],
) -> impl Strategy<Value = Option<&'static str>> + use<> {
    let mut texts: Vec<_> = table.iter().flat_map(|(_, texts)| texts.iter().copied()).collect();
    texts.push("something else");
    prop::option::weighted(0.9, prop::sample::select(texts))
}

/// Who asks, but for the groups.
fn facts() -> impl Strategy<Value = Peer<'static>> {
    (0u32..5, 0u32..5, fact(&UNITS), fact(&CGROUPS), fact(&LABELS)).prop_map(
        |(uid, gid, unit, cgroup, label)| Peer {
            unit,
            cgroup,
            label,
            ..Peer::new(Uid(uid), Gid(gid), &[])
        },
    )
}

fn validity() -> impl Strategy<Value = (Option<i64>, Option<i64>)> {
    (prop::option::weighted(0.2, 0i64..3), prop::option::weighted(0.2, 3i64..6))
}

fn rule() -> impl Strategy<Value = Rule> {
    let conditions = (ids(), ids(), texts(&UNITS), texts(&CGROUPS), texts(&LABELS));
    (rights(), rights(), prop::collection::vec(pattern(), 1..4), conditions, validity()).prop_map(
        |(mut allow, deny, mut slots, (users, groups, units, cgroups, labels), (from, until))| {
            if allow.is_empty() && deny.is_empty() {
                allow.insert("get");
            }
            // A rule that names `tag` must cover a whole one.
            if allow.contains("tag") || deny.contains("tag") {
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
fn rules() -> impl Strategy<Value = Vec<Rule>> {
    prop::collection::vec(rule(), 0..12).prop_flat_map(|rules| {
        let ids: Vec<_> = (0..rules.len()).map(|number| format!("rule {number}")).collect();
        Just(ids).prop_shuffle().prop_map(move |ids| {
            let named = rules.iter().cloned().zip(ids);
            named.map(|(rule, id)| Rule { id, ..rule }).collect()
        })
    })
}

fn targets() -> Vec<Target> {
    let tags = || TAGS.into_iter().chain([UNDECLARED]).filter_map(Tag::new);
    let indices = || (0..=INDICES).chain([Index::MAX.get()]).filter_map(Index::new);
    let slots =
        tags().flat_map(|tag| indices().map(move |index| Target::Slot(Slot { tag, index })));
    slots.chain(tags().map(Target::Tag)).chain([Target::Broker]).collect()
}

/// A policy that uses most of the language, to be damaged.
const SAMPLE: &str = r#"version = 1
[broker]
user = "fdbroker"
frame_timeout = "10s"
[tags.web]
id = 10
accept = ["tcp", "none"]
[resources.tun]
slot = "web/0"
device = "/dev/net/tun"
number = "10:200"
[[rules]]
id = "für alle"
allow = ["get", "tag"]
deny = ["*"]
slots = ["tun", "web/0-99", "web/*"]
user = ["vpn", 7]
group = "www-data"
unit = "app@*.service"
cgroup = ["/a/**", "/b/*/c"]
label = "system_u:*"
valid_from = 2026-01-01T00:00:00Z
valid_until = 2027-01-01 00:00:00.5-03:30
[[tests]]
user = 7
group = [1, "www-data"]
at = 2026-01-01T00:00:00Z
right = "get"
slot = "tun"
expect = "refused"
"#;

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn decide_says_what_the_naive_implementation_says(
        rules in rules(),
        facts in facts(),
        seconds in 0i64..7,
        groups in subsequence(vec![Gid(0), Gid(1), Gid(2), Gid(3)], 0..=2),
    ) {
        let policy = load_one("p", &policy_text(&rules)).map_err(|findings| TestCaseError::fail(findings.to_string()))?;
        let peer = Peer { groups: &groups, ..facts };
        for target in targets() {
            for right in Right::ALL {
                prop_assert_eq!(policy.decide(&peer, right, target, Moment::new(seconds, 0)), expected(&rules, &peer, right, target, seconds), "{} {:?}", right, target);
            }
        }
    }

    #[test]
    fn the_order_of_the_rules_changes_neither_the_verdict_nor_the_rule_that_is_named(
        (rules, shuffled) in rules().prop_flat_map(|rules| (Just(rules.clone()), Just(rules).prop_shuffle())),
        peer in facts(),
        seconds in 0i64..7,
    ) {
        let load = |rules| load_one("p", &policy_text(rules)).map_err(|findings| TestCaseError::fail(findings.to_string()));
        let (one, other) = (load(&rules)?, load(&shuffled)?);
        let at = Moment::new(seconds, 0);
        for target in targets() {
            for right in Right::ALL {
                prop_assert_eq!(one.decide(&peer, right, target, at), other.decide(&peer, right, target, at));
            }
        }
    }

    #[test]
    fn how_the_rules_are_spread_over_files_changes_nothing(
        rules in rules(),
        places in prop::collection::vec(0usize..4, 12),
        peer in facts(),
        seconds in 0i64..7,
    ) {
        let one = load_one("p", &policy_text(&rules)).map_err(|findings| TestCaseError::fail(findings.to_string()))?;
        let mut texts = [policy_text(&[]), "version = 1\n".to_owned(), "version = 1\n".to_owned(), "version = 1\n".to_owned()];
        for (rule, place) in rules.iter().zip(places) {
            texts[place] += &rule.text();
        }
        let sources: Vec<_> = texts.into_iter().map(|text| SourceText::new("p", text)).collect();
        let spread = load(&sources, &Machine).map_err(|findings| TestCaseError::fail(findings.to_string()))?;
        let at = Moment::new(seconds, 0);
        for target in targets() {
            for right in Right::ALL {
                prop_assert_eq!(one.decide(&peer, right, target, at), spread.decide(&peer, right, target, at));
            }
        }
    }

    #[test]
    fn no_text_makes_the_loader_panic(text in any::<String>()) {
        if let Err(findings) = load_one("p", &text) {
            prop_assert!(!findings.to_string().is_empty());
        }
    }

    #[test]
    fn no_text_that_looks_like_toml_makes_the_loader_panic(text in "([\\[\\]{}=\"'.,#\\\\a-z0-9é\u{1b}\t \r\n]|\"\"\"|''')*") {
        if let Err(findings) = load_one("p", &text) {
            prop_assert!(!findings.to_string().is_empty());
        }
    }

    #[test]
    fn no_damaged_policy_makes_the_loader_panic(
        cuts in prop::collection::vec((any::<Pick>(), 0usize..8, "[\\[\\]{}=\"'.,#\\\\a*/-z0-9é\n]{0,4}"), 1..6),
    ) {
        let mut characters: Vec<char> = SAMPLE.chars().collect();
        for (at, length, inserted) in cuts {
            let from = at.index(characters.len());
            let to = (from + length).min(characters.len());
            characters.splice(from..to, inserted.chars());
        }
        let text: String = characters.into_iter().collect();
        if let Err(findings) = load_one("p", &text) {
            let report = findings.to_string();
            prop_assert!(!report.chars().any(|c| c.is_control() && c != '\n'), "{}", report);
        }
    }
}

#[test]
fn deep_nesting_is_refused_without_exhausting_the_stack() {
    for deep in [
        "a = ".to_owned() + &"[".repeat(200_000),
        "[".to_owned() + &"a.".repeat(200_000),
        "{a=".repeat(200_000),
    ] {
        assert!(load_one("p", &deep).is_err());
    }
}
