//! `explain` and `who` against `decide`, for random policies and peers, and what they say of a policy that is known.

#[path = "support/random.rs"]
mod random;
mod support;

use fdbroker_policy::{
    Effect, Exception, Gid, Holder, Index, Moment, Peer, Policy, Reason, Right, Slot, Tag, Target,
    Uid, Verdict,
};
use proptest::prelude::*;
use proptest::sample::subsequence;
use random::{facts, policy_text, rules, targets};
use support::load_one;

fn loaded(rules: &[random::Rule]) -> Result<Policy, TestCaseError> {
    load_one("p", &policy_text(rules)).map_err(|findings| TestCaseError::fail(findings.to_string()))
}

/// Whether the list of holders says that a peer has a right.
fn holds(holders: &[Holder<'_>], peer: &Peer<'_>, right: Right, target: Target) -> bool {
    let on = |exception: &Exception<'_>| match right {
        Right::Tag | Right::Operate => true,
        _ => exception.on.iter().any(|extent| extent.contains(target)),
    };
    let excepted = |holder: &Holder<'_>| {
        holder.except.iter().any(|it| it.rights.contains(&right) && on(it) && it.who.includes(peer))
    };
    let held = |holder: &Holder<'_>| match right {
        Right::Tag | Right::Operate => true,
        _ => holder.on.iter().any(|extent| extent.contains(target)),
    };
    let mut fitting = holders.iter().filter(|it| it.rights.contains(&right) && held(it));
    fitting.any(|holder| holder.who.includes(peer) && !excepted(holder))
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
                let explanation = policy.explain(&peer, right, target, at);
                let verdict = policy.decide(&peer, right, target, at);
                prop_assert_eq!(explanation.verdict, verdict);
                let deciding: Vec<_> = explanation.rules.iter().filter(|it| it.effect == Effect::Decides).map(|it| it.rule).collect();
                let named = match verdict {
                    Verdict::Granted { rule } => Some(rule),
                    Verdict::Refused { rule } => rule,
                };
                prop_assert_eq!(deciding, Vec::from_iter(named));
                for considered in &explanation.rules {
                    let fits = match (&considered.effect, verdict) {
                        (Effect::Decides, _) | (Effect::AlsoAllows, Verdict::Granted { .. }) => true,
                        (Effect::AlsoDenies | Effect::Overruled, Verdict::Refused { rule }) => rule.is_some(),
                        (Effect::DoesNotCount(reasons), _) => !reasons.is_empty(),
                        _ => false,
                    };
                    prop_assert!(fits, "{:?}: {:?}", verdict, considered);
                }
            }
        }
    }

    #[test]
    fn who_names_exactly_those_that_decide_grants(
        rules in rules(),
        facts in facts(),
        seconds in 0i64..7,
        groups in subsequence(vec![Gid(0), Gid(1), Gid(2), Gid(3)], 0..=2),
    ) {
        let policy = loaded(&rules)?;
        let (peer, at) = (Peer { groups: &groups, ..facts }, Moment::new(seconds, 0));
        for target in targets() {
            let holders = policy.who(target, at);
            for right in Right::ALL {
                // Of a tag, `who` also names those who hold a part of it.
                if matches!(target, Target::Tag(_)) && right != Right::Tag {
                    continue;
                }
                let granted = policy.decide(&peer, right, target, at).is_granted();
                prop_assert_eq!(holds(&holders, &peer, right, target), granted, "{} {:?} {:?}", right, target, holders);
            }
            if let Target::Tag(tag) = target {
                for index in (0..13).chain([Index::MAX.get()]).filter_map(Index::new) {
                    let slot = Target::Slot(Slot { tag, index });
                    let granted = policy.decide(&peer, Right::Get, slot, at).is_granted();
                    prop_assert_eq!(holds(&holders, &peer, Right::Get, slot), granted, "{:?} {:?}", slot, holders);
                }
            }
        }
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

fn slot(index: u32) -> Target {
    let index = Index::new(index).expect("an index");
    Target::Slot(Slot { tag: Tag::new(10).expect("a tag"), index })
}

#[test]
fn an_explanation_says_of_each_rule_why_it_does_not_count() {
    let policy = load_one("p", POLICY).unwrap();
    let peer = Peer { unit: Some("app@1.service"), ..Peer::new(Uid(501), Gid(100), &[Gid(33)]) };
    let explanation = policy.explain(&peer, Right::Get, slot(5), Moment::new(0, 0));
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
        policy.explain(&peer, Right::Get, slot(5), "2031-01-01T00:00:00Z".parse().unwrap());
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
    let explanation = policy.explain(&peer, Right::Tag, tag, Moment::new(0, 0));
    assert_eq!(explanation.verdict, Verdict::Granted { rule: "admins" });
    let Effect::DoesNotCount(reasons) = &explanation.rules[1].effect else { panic!("it counts") };
    let other = Reason::OtherRights { allows: Vec::new(), denies: vec![Right::Get] };
    assert_eq!(reasons[..2], [other, Reason::PartOfTag]);
    assert!(!policy.explain(&peer, Right::Operate, tag, Moment::new(0, 0)).can_be_asked);
}

#[test]
fn who_lists_rules_with_what_others_take_from_them() {
    let policy = load_one("p", POLICY).unwrap();
    let holders = policy.who(slot(5), Moment::new(0, 0));
    assert_eq!(holders.len(), 1, "{holders:?}");
    assert_eq!((holders[0].rule, &holders[0].who.groups), ("admins", &vec![vec![Gid(33)]]));
    assert_eq!(holders[0].rights.len(), Right::ALL.len() - 1);
    assert_eq!(
        (holders[0].except[0].rule, &holders[0].except[0].rights),
        ("not the first ten", &vec![Right::Get])
    );
    let holders = policy.who(Target::Broker, Moment::new(0, 0));
    assert_eq!((holders.len(), &holders[0].rights), (1, &vec![Right::Operate]));
    assert!(holders[0].except.is_empty());
}

#[test]
fn what_a_rule_takes_from_everybody_nobody_holds() {
    let closed = format!(
        "{POLICY}[[rules]]\nid = \"closed\"\ndeny = [\"*\"]\nslots = [\"web/*\"]\nanyone = true\n"
    );
    let policy = load_one("p", &closed).unwrap();
    assert!(policy.who(slot(5), Moment::new(0, 0)).is_empty());
}
