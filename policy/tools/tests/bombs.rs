//! Policies made to take long or much memory: what is told of them is cut.

#[path = "../../tests/support/mod.rs"]
mod support;

use fdbroker_policy::{Index, Moment, Policy, Slot, Tag, Target};
use fdbroker_policy_tools::{diff, grants};
use support::load_one;

const HEAD: &str = "version = 1\n[tags.web]\nid = 10\n";

/// The slot that the rules are about.
const WEB: Target =
    Target::Slot(Slot { tag: Tag::new(10).unwrap(), index: Index::new(1).unwrap() });

fn rule(keys: &str) -> String {
    format!("[[rules]]\nallow = [\"get\"]\nslots = [\"web/1\"]\n{keys}\n")
}

/// A policy in which every second rule denies to one group what the others allow to another.
fn groups(rules: usize, from: usize) -> Policy {
    let says = |at: usize| if at.is_multiple_of(2) { "allow" } else { "deny" };
    let rule = |at: usize| rule(&format!("group = {}", from + at * 2)).replace("allow", says(at));
    let text = format!("{HEAD}{}", (0..rules).map(rule).collect::<String>());
    load_one("policy.toml", &text).expect("loads")
}

#[test]
fn who_holds_a_right_of_thousands_of_rules_is_told_in_part() {
    let policy = groups(5000, 0);
    let found = grants(&policy, WEB, Moment::new(0, 0));
    assert_eq!(found.len(), 2500);
    assert!(!found[0].is_cut && found[0].except.len() == 2500);
    assert!(found[2499].is_cut);
    let told: usize = found.iter().map(|grant| grant.except.len()).sum();
    assert!(told < 500_000, "{told}");
}

#[test]
fn two_policies_of_thousands_of_rules_are_compared_in_part() {
    let differences = diff(&groups(3000, 0), &groups(3000, 1), Moment::new(0, 0));
    assert!(differences.is_cut);
}
