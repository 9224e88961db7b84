//! A control group path that its owner made long costs nobody time, and gets nothing by it.

#[path = "../../tests/support/mod.rs"]
mod support;

use fdbroker_policy::{Gid, Moment, Peer, Policy, Right, Target, Uid, Verdict};
use fdbroker_policy_tools::explain;
use support::load_one;

fn policy(rules: &str) -> Policy {
    load_one("p", &format!("version = 1\n[tags.web]\nid = 1\n{rules}")).expect("loads")
}

fn rule(id: usize, verb: &str, condition: &str) -> String {
    format!("[[rules]]\nid = \"{id}\"\n{verb} = [\"get\"]\nslots = [\"web/*\"]\n{condition}\n")
}

/// What the broker and `explain` say to a peer in a control group.
fn verdict<'p>(policy: &'p Policy, path: &str) -> Verdict<'p> {
    let peer =
        Peer { unit: Some("vpn.service"), cgroup: Some(path), ..Peer::new(Uid(7), Gid(7), &[]) };
    let target = Target::Slot(policy.resolve("web/0").expect("a slot"));
    let at = Moment::new(0, 0);
    let known = policy.outcome_with(&peer, &policy.conditions(), Right::Get, target, at);
    assert_eq!(known, policy.outcome(&peer, Right::Get, target, at));
    assert_eq!(known, explain(policy, &peer, Right::Get, target, at).verdict);
    known
}

#[test]
fn a_path_that_is_too_long_is_denied_and_not_allowed() {
    let anyone = rule(1, "allow", "anyone = true");
    let long = format!("/a/{}", "b/".repeat(600));
    let short = "/a/b";
    let denied = policy(&format!("{anyone}{}", rule(0, "deny", "cgroup = \"/elsewhere/**\"")));
    assert_eq!(verdict(&denied, &long), Verdict::Refused { rule: Some("0") });
    assert_eq!(verdict(&denied, short), Verdict::Granted { rule: "1" });
    for condition in ["cgroup = \"/a/**\"", "unit = \"vpn.service\""] {
        let allowed = policy(&rule(0, "allow", condition));
        assert_eq!(verdict(&allowed, &long), Verdict::Refused { rule: None }, "{condition}");
        assert_eq!(verdict(&allowed, short), Verdict::Granted { rule: "0" }, "{condition}");
    }
}
