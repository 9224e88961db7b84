//! `explain`, `who` and `diff` against `decide`, for random policies and peers, and what they say of a policy that is known.

mod differences;

#[path = "../../../tests/support/random.rs"]
mod random;
#[path = "../../../tests/support/mod.rs"]
mod support;

use fdbroker_policy::{Gid, Index, Moment, Peer, Policy, Right, Slot, Tag, Target, Uid, Verdict};
use fdbroker_policy_tools::{
    Change, Differences, Effect, Exception, Grant, Reason, Subjects, diff, explain, grants,
};
use proptest::prelude::*;
use proptest::sample::subsequence;
use random::{facts, policy_text, rules, targets};
use support::load_one;

fn loaded(rules: &[random::Rule]) -> Result<Policy, TestCaseError> {
    load_one("p", &policy_text(rules)).map_err(|findings| TestCaseError::fail(findings.to_string()))
}

/// Whether the list of holders says that a peer has a right.
fn holds(holders: &[Grant<'_>], peer: &Peer<'_>, right: Right, target: Target) -> bool {
    let on = |exception: &Exception<'_>| match right {
        Right::Tag | Right::Claim | Right::Inspect | Right::Operate => true,
        _ => exception.on.iter().any(|extent| extent.contains(target)),
    };
    let excepted = |holder: &Grant<'_>| {
        holder.except.iter().any(|it| it.rights.contains(&right) && on(it) && it.who.includes(peer))
    };
    let held = |holder: &Grant<'_>| match right {
        Right::Tag | Right::Claim | Right::Inspect | Right::Operate => true,
        _ => holder.on.iter().any(|extent| extent.contains(target)),
    };
    let mut fitting = holders.iter().filter(|it| it.rights.contains(&right) && held(it));
    fitting.any(|holder| holder.who.includes(peer) && !excepted(holder))
}

/// A change about this right to this target that concerns this peer.
fn covering<'c>(
    changes: &'c [Change],
    peer: &Peer<'_>,
    right: Right,
    target: Target,
    gains: bool,
) -> Option<&'c Change> {
    changes.iter().find(|change| {
        change.gains == gains
            && change.rights.contains(&right)
            && change.on.iter().any(|extent| extent.contains(target))
            && change.who.includes(peer)
            && !change.unless.iter().any(|unless| unless.who.includes(peer))
    })
}

/// Of each list one, in every combination; of an empty one nothing.
fn combined<T: Clone>(lists: &[Vec<T>]) -> Vec<Vec<T>> {
    lists.iter().fold(vec![Vec::new()], |found, list| {
        let with = |begin: &Vec<T>| -> Vec<Vec<T>> {
            list.iter().map(|last| [&begin[..], std::slice::from_ref(last)].concat()).collect()
        };
        found.iter().flat_map(with).collect()
    })
}

/// The texts that stand for these patterns, or none at all.
fn samples(patterns: &[String]) -> Vec<Option<String>> {
    if patterns.is_empty() {
        return vec![None];
    }
    patterns.iter().map(|it| Some(it.replace("**", "*").replace('*', "strange"))).collect()
}

/// Asks about everybody who meets these conditions and no others.
fn for_each_simplest(who: &Subjects, mut ask: impl FnMut(&Peer<'_>)) {
    let users = if who.users.is_empty() { vec![Uid(4242)] } else { who.users.clone() };
    for uid in users {
        for groups in combined(&who.groups) {
            for unit in samples(&who.units) {
                for cgroup in samples(&who.cgroups) {
                    for label in samples(&who.labels) {
                        ask(&Peer {
                            unit: unit.as_deref(),
                            cgroup: cgroup.as_deref(),
                            label: label.as_deref(),
                            ..Peer::new(uid, Gid::NONE, &groups)
                        });
                    }
                }
            }
        }
    }
}

/// Rules of a policy and of one that came of it: some are gone, some are new, the others are as they were.
fn before_and_after() -> impl Strategy<Value = (Vec<random::Rule>, Vec<random::Rule>)> {
    let change = prop::collection::vec(0u8..4, 12);
    (rules(), rules(), change).prop_map(|(old, other, change)| {
        let place = |rule: &random::Rule| rule.id.rsplit(' ').next().map_or(0, |it| it.len() * 3);
        let mut new: Vec<_> = old
            .iter()
            .zip(&change)
            .filter(|(_, it)| **it != 0)
            .map(|(rule, _)| rule.clone())
            .collect();
        let more = other.into_iter().zip(change.iter().rev()).filter(|(_, it)| **it == 1);
        new.extend(more.map(|(rule, _)| random::Rule {
            id: format!("new {} {}", rule.id, place(&rule)),
            ..rule
        }));
        (old, new)
    })
}

/// A policy of a few rules about one slot, each with conditions of one or two kinds.
fn few_rules() -> impl Strategy<Value = String> {
    let conditions = vec![
        "user = 0",
        "user = [1, 2]",
        "group = 0",
        "group = [1, 2]",
        "unit = \"vpn.service\"",
        "unit = \"app*\"",
        "unit = \"*.service\"",
        "cgroup = \"/a/**\"",
        "cgroup = \"/**/c\"",
        "label = \"*\"",
    ];
    let rule = (any::<bool>(), prop::sample::subsequence(conditions, 1..=2));
    prop::collection::vec(rule, 1..6).prop_map(|rules| {
        let mut text = "version = 1\n[tags.web]\nid = 1\n".to_owned();
        for (allow, mut conditions) in rules {
            // A key stands in a table once.
            conditions.dedup_by_key(|condition| condition.split(' ').next());
            let says = if allow { "allow" } else { "deny" };
            text += "[[rules]]\nslots = [\"web/*\"]\n";
            text += &format!("{says} = [\"get\"]\n{}\n", conditions.join("\n"));
        }
        text
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn an_explanation_agrees_with_the_verdict(
        rules in rules(),
        facts in facts(),
        seconds in 0i64..7,
        groups in subsequence(vec![Gid(0), Gid(1), Gid(2), Gid(3)], 0..=2),
    ) {
        let policy = loaded(&rules)?;
        let (peer, at) = (Peer { groups: &groups, ..facts }, Moment::new(seconds, 0));
        for target in targets() {
            for right in Right::ALL {
                let explanation = explain(&policy, &peer, right, target, at);
                let verdict = policy.outcome(&peer, right, target, at);
                prop_assert_eq!(explanation.verdict, verdict);
                let deciding: Vec<_> = explanation.rules.iter().filter(|it| it.effect == Effect::Decides).map(|it| it.rule).collect();
                prop_assert_eq!(deciding, Vec::from_iter(verdict.rule()));
                for considered in &explanation.rules {
                    let fits = match (&considered.effect, verdict) {
                        (Effect::Decides, _) | (Effect::AlsoAllows, Verdict::Granted { .. }) => true,
                        (Effect::AlsoDenies | Effect::Overruled, Verdict::Refused { rule }) => rule.is_some(),
                        (Effect::Overruled, Verdict::Kept { .. }) => explanation.is_kept,
                        (Effect::DoesNotCount(reasons), _) => !reasons.is_empty(),
                        _ => false,
                    };
                    prop_assert!(fits, "{:?}: {:?}", verdict, considered);
                }
            }
        }
    }

    #[test]
    fn who_names_exactly_those_that_are_granted_it(
        rules in rules(),
        facts in facts(),
        seconds in 0i64..7,
        groups in subsequence(vec![Gid(0), Gid(1), Gid(2), Gid(3)], 0..=2),
    ) {
        let policy = loaded(&rules)?;
        let (peer, at) = (Peer { groups: &groups, ..facts }, Moment::new(seconds, 0));
        for target in targets() {
            let holders = grants(&policy, target, at);
            for right in Right::ALL {
                // Of a tag, `who` also names those who hold a part of it.
                if matches!(target, Target::Tag(_)) && !right.is_of_tag() {
                    continue;
                }
                let granted = policy.outcome(&peer, right, target, at).is_granted();
                prop_assert_eq!(holds(&holders, &peer, right, target), granted, "{} {:?} {:?}", right, target, holders);
            }
            if let Target::Tag(tag) = target {
                for index in (0..13).chain([Index::MAX.get()]).filter_map(Index::new) {
                    let slot = Target::Slot(Slot { tag, index });
                    let granted = policy.outcome(&peer, Right::Get, slot, at).is_granted();
                    prop_assert_eq!(holds(&holders, &peer, Right::Get, slot), granted, "{:?} {:?}", slot, holders);
                }
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_difference_is_covered_by_a_change_and_each_change_is_a_difference(
        (old, new) in before_and_after(),
        peers in prop::collection::vec((facts(), subsequence(vec![Gid(0), Gid(1), Gid(2), Gid(3)], 0..=4)), 20),
        seconds in 0i64..7,
    ) {
        let (old, new, at) = (loaded(&old)?, loaded(&new)?, Moment::new(seconds, 0));
        let changes = diff(&old, &new, at).changes;
        let decide = |peer: &Peer<'_>, right, target| {
            [&old, &new].map(|policy| policy.outcome(peer, right, target, at).is_granted())
        };
        for (facts, groups) in &peers {
            let peer = Peer { groups, ..*facts };
            for target in targets() {
                for right in Right::ALL {
                    // Of a tag as a whole only the right to it is compared.
                    if matches!(target, Target::Tag(_)) != right.is_of_tag() {
                        continue;
                    }
                    let [before, after] = decide(&peer, right, target);
                    if before != after {
                        let change = covering(&changes, &peer, right, target, after);
                        prop_assert!(change.is_some(), "{:?} {} {:?}: {:?}", peer, right, target, changes);
                    }
                }
            }
        }
        // Of a vague one it is only said that it may concern somebody.
        for change in changes.iter().filter(|change| !change.is_vague) {
            let mut wrong = None;
            let on = targets().into_iter().filter(|target| change.on.iter().any(|it| it.contains(*target)));
            for target in on {
                for right in &change.rights {
                    for_each_simplest(&change.who, |peer| {
                        if decide(peer, *right, target) != [!change.gains, change.gains] {
                            wrong = Some(format!("{peer:?} {right} {target:?}"));
                        }
                    });
                }
            }
            prop_assert_eq!(wrong, None, "{:?}", change);
        }
    }

    #[test]
    fn whoever_gains_or_loses_among_many_rules_is_in_a_line_and_not_spared_in_it(
        (old, new) in (few_rules(), few_rules()),
        peers in prop::collection::vec((facts(), subsequence(vec![Gid(0), Gid(1), Gid(2), Gid(3)], 0..=4)), 60),
    ) {
        let (old, new) = (load_one("old", &old).expect("loads"), load_one("new", &new).expect("loads"));
        let slot = Target::Slot(Slot { tag: Tag::new(1).expect("a tag"), index: Index::MIN });
        for [old, new] in [[&old, &new], [&new, &old]] {
            let changes = diff(old, new, Moment::new(0, 0)).changes;
            for (facts, groups) in &peers {
                let peer = Peer { groups, ..*facts };
                let [before, after] = [old, new]
                    .map(|policy| policy.outcome(&peer, Right::Get, slot, Moment::new(0, 0)).is_granted());
                let change = covering(&changes, &peer, Right::Get, slot, after);
                prop_assert!(before == after || change.is_some(), "{:?}: {:#?}", peer, changes);
            }
        }
    }

    #[test]
    fn a_policy_does_not_differ_from_itself(rules in rules()) {
        let policy = loaded(&rules)?;
        prop_assert_eq!(diff(&policy, &policy, Moment::new(3, 0)), Differences::default());
    }
}

const POLICY: &str = r#"version = 1
[tags.web]
id = 10
[[rules]]
id = "admins"
allow = ["*", "operate"]
slots = ["*"]
group = "www-data"
[[rules]]
id = "not the first ten"
deny = ["get"]
slots = ["web/0-9"]
unit = ["vpn.service", "app@*.service"]
[[rules]]
id = "vpn, next year"
allow = ["get"]
slots = ["web/5"]
user = "vpn"
valid_from = 2030-01-01T00:00:00Z
"#;

fn slot(index: i32) -> Target {
    let index = Index::new(index).expect("an index");
    Target::Slot(Slot { tag: Tag::new(10).expect("a tag"), index })
}

/// A policy of rules about the right `get` to slots of the tag web.
fn about_web(rules: &[(&str, &str)]) -> String {
    let rule = |(verb, condition): &(&str, &str)| {
        format!("[[rules]]\n{verb} = [\"get\"]\nslots = [\"web/*\"]\n{condition}\n")
    };
    let rules: String = rules.iter().map(rule).collect();
    format!("version = 1\n[tags.web]\nid = 10\n{rules}")
}

#[test]
fn an_explanation_says_of_each_rule_why_it_does_not_count() {
    let policy = load_one("p", POLICY).unwrap();
    let peer = Peer { unit: Some("app@1.service"), ..Peer::new(Uid(501), Gid(100), &[Gid(33)]) };
    let explanation = explain(&policy, &peer, Right::Get, slot(5), Moment::new(0, 0));
    assert_eq!(explanation.verdict, Verdict::Refused { rule: Some("not the first ten") });
    let effects: Vec<_> = explanation.rules.iter().map(|it| (it.rule, &it.effect)).collect();
    let not_yet =
        Effect::DoesNotCount(vec![Reason::NotYet("2030-01-01T00:00:00Z".parse().unwrap())]);
    assert_eq!(
        effects,
        [
            ("not the first ten", &Effect::Decides),
            ("admins", &Effect::Overruled),
            ("vpn, next year", &not_yet),
        ]
    );
    let peer = Peer::new(Uid(7), Gid(100), &[]);
    let explanation =
        explain(&policy, &peer, Right::Get, slot(5), "2031-01-01T00:00:00Z".parse().unwrap());
    let effects: Vec<_> = explanation.rules.into_iter().map(|it| it.effect).collect();
    let group = Reason::Group { wanted: &[Gid(33)], are: vec![Gid(100)] };
    let unit = Reason::Text { key: "unit", wanted: vec!["app@*.service", "vpn.service"], is: None };
    let user = Reason::User { wanted: &[Uid(501)], is: Uid(7) };
    assert_eq!(effects, [group, unit, user].map(|reason| Effect::DoesNotCount(vec![reason])));
}

#[test]
fn other_rights_and_parts_of_a_tag_are_told() {
    let policy = load_one("p", POLICY).unwrap();
    let peer = Peer::new(Uid(7), Gid(33), &[]);
    let tag = Target::Tag(Tag::new(10).unwrap());
    let explanation = explain(&policy, &peer, Right::Tag, tag, Moment::new(0, 0));
    assert_eq!(explanation.verdict, Verdict::Granted { rule: "admins" });
    let Effect::DoesNotCount(reasons) = &explanation.rules[1].effect else { panic!("it counts") };
    let other = Reason::OtherRights { allows: Vec::new(), denies: vec![Right::Get] };
    assert_eq!(reasons[..2], [other, Reason::PartOfTag]);
    assert!(!explain(&policy, &peer, Right::Operate, tag, Moment::new(0, 0)).can_be_asked);
}

#[test]
fn who_lists_rules_with_what_others_take_from_them() {
    let policy = load_one("p", POLICY).unwrap();
    let holders = grants(&policy, slot(5), Moment::new(0, 0));
    assert_eq!(holders.len(), 1, "{holders:?}");
    assert_eq!((holders[0].rule, &holders[0].who.groups), ("admins", &vec![vec![Gid(33)]]));
    let of_slots = Right::ALL.into_iter().filter(|right| !right.is_of_broker());
    assert_eq!(holders[0].rights.len(), of_slots.count());
    assert_eq!(
        (holders[0].except[0].rule, &holders[0].except[0].rights),
        ("not the first ten", &vec![Right::Get])
    );
    let holders = grants(&policy, Target::Broker, Moment::new(0, 0));
    assert_eq!((holders.len(), &holders[0].rights), (1, &vec![Right::Operate]));
    assert!(holders[0].except.is_empty());
}

#[test]
fn what_a_rule_takes_from_everybody_nobody_holds() {
    let closed = format!(
        "{POLICY}[[rules]]\nid = \"closed\"\ndeny = [\"*\"]\nslots = [\"web/*\"]\nanyone = true\n"
    );
    let policy = load_one("p", &closed).unwrap();
    assert!(grants(&policy, slot(5), Moment::new(0, 0)).is_empty());
}

#[test]
fn nobody_changes_what_lies_in_a_resources_slot() {
    let text = about_web(&[]).replace(
        "id = 10\n",
        "id = 10\n[resources.tun]\nslot = \"web/3\"\nfile = \"/f\"\n[[rules]]\nid = \"all\"\nallow = [\"*\"]\nslots = [\"web/*\"]\nuser = 7\n",
    );
    let policy = load_one("p", &text).unwrap();
    let (peer, at) = (Peer::new(Uid(7), Gid(70), &[]), Moment::new(0, 0));
    for right in [Right::Add, Right::Del, Right::Replace] {
        let explanation = explain(&policy, &peer, right, slot(3), at);
        assert_eq!(explanation.verdict, Verdict::Kept { rule: "all" });
        assert!(explanation.is_kept);
        assert_eq!(explanation.rules[0].effect, Effect::Overruled);
        assert!(!holds(&grants(&policy, slot(3), at), &peer, right, slot(3)));
        let whole = grants(&policy, Target::Tag(Tag::new(10).unwrap()), at);
        let held: Vec<_> = (2..5).map(|at| holds(&whole, &peer, right, slot(at))).collect();
        assert_eq!(held, [true, false, true]);
    }
    assert!(explain(&policy, &peer, Right::Get, slot(3), at).verdict.is_granted());
    let test = "[[tests]]\nuser = 7\nright = \"add\"\nslot = \"tun\"\nexpect = \"granted\"\n";
    let findings = load_one("p", &format!("{text}{test}")).unwrap_err().to_string();
    assert!(findings.contains("refused, since nobody can change a resource's slot"), "{findings}");
    // Without the resource they gain it.
    let without = text.replace("[resources.tun]\nslot = \"web/3\"\nfile = \"/f\"\n", "");
    let changes = diff(&policy, &load_one("p", &without).unwrap(), at).changes;
    assert!(covering(&changes, &peer, Right::Add, slot(3), true).is_some(), "{changes:?}");
}

#[test]
fn a_test_with_a_control_group_is_of_its_unit() {
    let rules = about_web(&[("allow", "unit = \"a.service\"")]);
    let test = |lines: &str| {
        format!(
            "{rules}[[tests]]\nuser = 7\nright = \"get\"\nslot = \"web/0\"\nexpect = \"granted\"\n{lines}\n"
        )
    };
    let findings = |lines: &str| load_one("p", &test(lines)).err().map(|it| it.to_string());
    assert_eq!(findings("cgroup = \"/system.slice/a.service\""), None);
    assert_eq!(findings("cgroup = \"/system.slice/a.service/x\"\nunit = \"a.service\""), None);
    assert!(
        findings("cgroup = \"/system.slice/b.service\"").is_some_and(|it| it.contains("fails"))
    );
    for cgroup in ["/system.slice/b.service", "/docker/a.service"] {
        let lines = format!("cgroup = \"{cgroup}\"\nunit = \"a.service\"");
        let said = findings(&lines).expect("a finding");
        assert!(said.contains("no process is both in the unit \"a.service\""), "{said}");
    }
}
