//! `outcome` against a second, naive implementation, and any text against the loader.

#[path = "support/naive.rs"]
mod naive;
#[path = "support/random.rs"]
mod random;
mod support;

use fdbroker_policy::{Gid, Index, Moment, Peer, Right, Slot, SourceText, Tag, Target, load};
use naive::expected;
use proptest::prelude::*;
use proptest::sample::{Index as Pick, subsequence};
use random::{INDICES, TAGS, UNDECLARED, facts, policy_text, rules, targets};
use support::{Machine, load_one};

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
[resources.orders]
slot = "web/1"
connect = ["tcp:[::1]:5432", "unix:/run/ü"]
source = "::1"
auth = { postgres = { user = "für", password = "credential:orders", methods = ["md5"] } }
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
        let known = policy.conditions();
        for target in targets() {
            for right in Right::ALL {
                let verdict = policy.outcome(&peer, right, target, Moment::new(seconds, 0));
                prop_assert_eq!(policy.outcome_with(&peer, &known, right, target, Moment::new(seconds, 0)), verdict);
                prop_assert_eq!(verdict, expected(&rules, &peer, right, target, seconds), "{} {:?}", right, target);
            }
        }
    }

    #[test]
    fn conditions_found_once_decide_as_naively_for_every_request(
        rules in rules(),
        facts in facts(),
        seconds in 0i64..7,
        groups in subsequence(vec![Gid(0), Gid(1), Gid(2), Gid(3)], 0..=4),
        out_of_sight in any::<bool>(),
        vanished in any::<bool>(),
    ) {
        let policy = load_one("p", &policy_text(&rules)).map_err(|findings| TestCaseError::fail(findings.to_string()))?;
        let peer = match (out_of_sight, vanished) {
            (_, true) => Peer { vanished, out_of_sight: true, ..Peer::new(facts.uid, facts.gid, &[]) },
            (true, _) => Peer { out_of_sight, unit: None, cgroup: None, groups: &groups, ..facts },
            _ => Peer { groups: &groups, ..facts },
        };
        let conditions = policy.conditions();
        // The second time, everything is known.
        for target in targets().into_iter().chain(targets()) {
            for right in Right::ALL {
                let at = Moment::new(seconds, 0);
                let known = policy.outcome_with(&peer, &conditions, right, target, at);
                prop_assert_eq!(known, expected(&rules, &peer, right, target, seconds), "{} {:?}", right, target);
                prop_assert_eq!(known, policy.outcome(&peer, right, target, at), "{} {:?}", right, target);
            }
        }
    }

    #[test]
    fn of_slots_that_are_alike_every_verdict_is_the_same_and_none_is_a_resource(
        rules in rules(),
        facts in facts(),
        seconds in 0i64..7,
        groups in subsequence(vec![Gid(0), Gid(1), Gid(2), Gid(3)], 0..=2),
    ) {
        let policy = load_one("p", &policy_text(&rules)).map_err(|findings| TestCaseError::fail(findings.to_string()))?;
        let peer = Peer { groups: &groups, ..facts };
        for (tag, first) in TAGS.into_iter().chain([UNDECLARED]).flat_map(|tag| (0..INDICES + 2).map(move |index| (tag, index))) {
            let slot = |index| Slot { tag: Tag::new(tag).unwrap(), index: Index::new(index).unwrap() };
            let last = policy.alike_until(slot(first)).get();
            prop_assert!(last >= first);
            prop_assert!(first < INDICES + 1 || last == Index::MAX.get(), "nothing differs beyond {}", first);
            for index in (first..=last.min(INDICES + 2)).chain([last]) {
                for right in Right::ALL {
                    prop_assert_eq!(expected(&rules, &peer, right, Target::Slot(slot(index)), seconds), expected(&rules, &peer, right, Target::Slot(slot(first)), seconds), "{}/{} and {}: {}", tag, first, index, right);
                }
                prop_assert!(index == first || policy.resource_at(slot(index)).is_none(), "{}/{} and {}", tag, first, index);
            }
            prop_assert!(policy.resource_at(slot(first)).is_none() || last == first);
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
                prop_assert_eq!(one.outcome(&peer, right, target, at), other.outcome(&peer, right, target, at));
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
                prop_assert_eq!(one.outcome(&peer, right, target, at), spread.outcome(&peer, right, target, at));
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

#[test]
fn of_a_file_of_mistakes_the_first_hundred_are_told() {
    let findings =
        load_one("policy.toml", &"= \n".repeat(20_000)).expect_err("nothing in it is right");
    assert_eq!(findings.iter().count(), 100);
    assert!(findings.to_string().ends_with("more findings: correct these first"));
    assert!(findings.to_string().len() < 64 << 10);
}

#[test]
fn more_stars_than_can_be_matched_in_time_are_a_finding() {
    let rule = |number| {
        format!(
            "[[rules]]\nid = \"{number}\"\nallow = [\"get\"]\nslots = [\"web/*\"]\nlabel = \"{}\"\n",
            "*a".repeat(300)
        )
    };
    let text = |rules| {
        (0..rules).fold("version = 1\n[tags.web]\nid = 1\n".to_owned(), |text, number| {
            text + &rule(number)
        })
    };
    assert!(load_one("policy.toml", &text(33)).is_ok());
    let findings = load_one("policy.toml", &text(34)).expect_err("10200 stars");
    assert!(
        findings.to_string().contains("more than 10000 stars in the patterns of conditions"),
        "{findings}"
    );
}
