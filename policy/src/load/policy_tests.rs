//! Reads the tables `[[tests]]`, and makes the tests once there is a policy.
//!
//! A test's user is in those groups that the test names, and in no other.

use std::collections::HashSet;

use super::accounts::{Accounts, Meant, Sort};
use super::bounds::{Count, LONGEST_ID, TESTS, TestWork, list_fits};
use super::declared::{Declared, Once};
use super::globs::{self, CGROUP, LABEL, UNIT};
use super::reader::{Expected, Section, string};
use super::report::{Mark, Report};
use super::slots;
use super::suggest::suggest;
use super::times;
use crate::pattern::Pattern;
use crate::rule::Rule;
use crate::{Gid, Moment, Peer, Policy, Right, Slot, Target, Uid, Verdict, unit_of_cgroup};

const KEYS: [&str; 11] =
    ["id", "user", "group", "unit", "cgroup", "label", "at", "right", "slot", "expect", "rule"];

const ID: Expected = Expected { key: "id", write: "a sentence in quotes that says what is tested" };
const AT: Expected = Expected { key: "at", write: times::MOMENT };
const RIGHT: Expected = Expected { key: "right", write: "one right in quotes, such as \"get\"" };
const SLOT: Expected =
    Expected { key: "slot", write: "one slot in quotes, such as \"tun\" or \"web/7\"" };
const EXPECT: Expected = Expected { key: "expect", write: "\"granted\" or \"refused\"" };
const RULE: Expected = Expected { key: "rule", write: "the id of the rule that must decide" };

const TOO_LONG: &str = "the `id` is too long";

/// What `expect` may say, and whether that is a grant.
const OUTCOMES: [(&str, bool); 2] = [("granted", true), ("refused", false)];

/// One test.
pub(super) struct PolicyTest {
    /// What a report calls it.
    name: String,
    uid: Uid,
    groups: Vec<Gid>,
    unit: Option<String>,
    cgroup: Option<String>,
    label: Option<String>,
    at: Option<Moment>,
    right: Right,
    target: Target,
    granted: bool,
    /// Where that is expected.
    expected: Mark,
    /// The rule that must decide, and where it is named.
    rule: Option<(String, Mark)>,
}

/// Reads the tests of all files, one after the other.
pub(super) struct PolicyTests<'d, 'n> {
    declared: &'d Declared,
    rules: &'d [Rule],
    ids_of_rules: HashSet<&'d str>,
    accounts: &'d mut Accounts<'n>,
    ids: Once<String>,
    count: Count,
    read: Vec<PolicyTest>,
}

impl<'d, 'n> PolicyTests<'d, 'n> {
    pub(super) fn new(
        declared: &'d Declared,
        rules: &'d [Rule],
        accounts: &'d mut Accounts<'n>,
    ) -> Self {
        let ids_of_rules = rules.iter().map(|rule| rule.id.as_str()).collect();
        let count = Count::of(TESTS);
        Self { declared, rules, ids_of_rules, accounts, ids: Once::new(), count, read: Vec::new() }
    }

    pub(super) fn read(&mut self, section: Section<'_, '_>, report: &mut Report<'_>) {
        if !self.count.admits(section.name, report) {
            return;
        }
        section.refuse_unknown_keys(&KEYS, report);
        let name = self.name(section, report);
        let uid = required(section, "user", Sort::User.expected().write, report)
            .and_then(|value| self.id(value, Sort::User, report));
        let groups = self.groups(section, report);
        let unit = fact(section, UNIT, report);
        let cgroup = fact(section, CGROUP, report);
        let label = fact(section, LABEL, report);
        let unit = of_cgroup(unit, cgroup.as_deref(), section, report);
        let at = times::moment(section, AT, report);
        let right = right(section, report);
        let target = right.and_then(|right| self.target(right, section, report));
        let granted = required(section, EXPECT.key, EXPECT.write, report)
            .and_then(|value| Some((section.word(EXPECT, &OUTCOMES, report)?, value.span())));
        let rule = self.rule(section, report);
        let (Some(uid), Some(groups), Some(right), Some(target), Some((granted, span))) =
            (uid, groups, right, target, granted)
        else {
            return;
        };
        let expected = report.mark(&span);
        let uid = Uid(uid);
        self.read.push(PolicyTest {
            name,
            uid,
            groups,
            unit,
            cgroup,
            label,
            at,
            right,
            target,
            granted,
            expected,
            rule,
        });
    }

    pub(super) fn finish(self) -> Vec<PolicyTest> {
        self.read
    }

    fn name(&mut self, section: Section<'_, '_>, report: &mut Report<'_>) -> String {
        let Some((id, span)) = section.string(ID, report) else { return "this test".to_owned() };
        if id.trim().is_empty() || id.contains(char::is_control) {
            let message = "the `id` is empty, or contains a control character";
            report.add(&span, message, "say on one line what is tested, or leave the line out");
        } else if id.len() > LONGEST_ID {
            report.add(&span, TOO_LONG, format!("write at most {LONGEST_ID} bytes"));
        } else if let Some(first) = self.ids.give(id.to_owned(), report.mark(&span)) {
            let message = format!("the id \"{id}\" is given twice");
            report.add_twice(&span, &first, message, "give each test an id of its own");
        }
        format!("the test \"{id}\"")
    }

    /// The number of a user or group. A test of somebody who is not there, or not known, cannot be made.
    fn id(
        &mut self,
        value: &super::reader::Value<'_>,
        sort: Sort,
        report: &mut Report<'_>,
    ) -> Option<u32> {
        let name = value.get_ref().as_str().unwrap_or_default();
        let (message, remedy) = match self.accounts.meant(value, sort, report)? {
            Meant::Id(id) => return Some(id),
            Meant::Absent => (sort.absent(name), sort.remedy(name)),
            Meant::Unknown(reason) => (sort.unknown(name, &reason), sort.remedy_of_lookup()),
        };
        report.warn(&value.span(), format!("{message}: this test is not made"), remedy);
        None
    }

    /// The groups of a test; `None` if one is not there, or not known.
    fn groups(&mut self, section: Section<'_, '_>, report: &mut Report<'_>) -> Option<Vec<Gid>> {
        let Some(value) = section.get("group") else { return Some(Vec::new()) };
        let one = std::slice::from_ref(value);
        let list = value.get_ref().as_array().map_or(one, |list| &**list);
        if !list_fits(list.len(), "group", &value.span(), report) {
            return None;
        }
        list.iter().map(|value| self.id(value, Sort::Group, report).map(Gid)).collect()
    }

    fn target(
        &self,
        right: Right,
        section: Section<'_, '_>,
        report: &mut Report<'_>,
    ) -> Option<Target> {
        if right.is_of_broker() {
            if let Some(span) = section.key_span(SLOT.key) {
                let message = format!("the right `{right}` is for the broker, not for slots");
                report.add(&span, message, "remove the line `slot`");
            }
            return Some(Target::Broker);
        }
        let value = required(section, SLOT.key, SLOT.write, report)?;
        let (text, span) = section.string(SLOT, report)?;
        match slots::pattern(text, &span, self.declared, report)? {
            Pattern::Range { tag, first, last } if first == last => {
                Some(Target::Slot(Slot { tag, index: first }))
            }
            Pattern::Range { tag, .. } if right.is_of_tag() && text.ends_with("/*") => {
                Some(Target::Tag(tag))
            }
            _ => {
                let remedy = format!(
                    "write {}; for the rights `tag` and `claim` also \"web/*\"",
                    SLOT.write
                );
                report.add(&value.span(), "a test asks for one slot", remedy);
                None
            }
        }
    }

    fn rule(&self, section: Section<'_, '_>, report: &mut Report<'_>) -> Option<(String, Mark)> {
        let (id, span) = section.string(RULE, report)?;
        if !self.ids_of_rules.contains(id) {
            let known = self.rules.iter().map(|rule| rule.id.as_str());
            let remedy = || suggest(id, known, "rules");
            report.add_undeclared(&span, format!("there is no rule \"{id}\""), remedy);
        }
        Some((id.to_owned(), report.mark(&span)))
    }
}

/// The value of a key that must be there.
fn required<'a, 't>(
    section: Section<'a, 't>,
    key: &str,
    write: &str,
    report: &mut Report<'_>,
) -> Option<&'a super::reader::Value<'t>> {
    let value = section.get(key);
    if value.is_none() {
        let message = format!("this test has no `{key}`");
        report.add_missing(section.name, message, format!("add a line `{key} =` with {write}"));
    }
    value
}

fn right(section: Section<'_, '_>, report: &mut Report<'_>) -> Option<Right> {
    required(section, RIGHT.key, RIGHT.write, report)?;
    section.word(RIGHT, &Right::ALL.map(|right| (right.name(), right)), report)
}

/// The unit of a peer with this control group, as the broker reads it. Another one is a finding.
fn of_cgroup(
    unit: Option<String>,
    cgroup: Option<&str>,
    section: Section<'_, '_>,
    report: &mut Report<'_>,
) -> Option<String> {
    let Some(cgroup) = cgroup else { return unit };
    let its = unit_of_cgroup(cgroup);
    if let (Some(unit), Some(value)) = (&unit, section.get(UNIT.key))
        && its != Some(unit.as_str())
    {
        let its = its.map_or("no unit".to_owned(), |its| format!("the unit \"{its}\""));
        let message = format!("no process is both in the unit \"{unit}\" and in this `cgroup`");
        let remedy =
            format!("that control group is of {its}: remove the line `unit`, or correct `cgroup`");
        report.add(&value.span(), message, remedy);
    }
    its.map(str::to_owned)
}

/// One text about the peer: no pattern.
fn fact(section: Section<'_, '_>, expected: Expected, report: &mut Report<'_>) -> Option<String> {
    let value = section.get(expected.key)?;
    let text = string(value, expected, report)?;
    match wrong_fact(text, expected.key) {
        Some((message, remedy)) => report.add(&value.span(), message, remedy),
        None => return Some(text.to_owned()),
    }
    None
}

fn wrong_fact(text: &str, key: &str) -> Option<globs::Wrong> {
    // A label may have a star of its own.
    if key != LABEL.key && text.contains('*') {
        let message = format!("`{key}` is a pattern, and a test is about one process");
        return Some((message, "write it without `*`".to_owned()));
    }
    globs::check(text, key)
}

/// Makes the tests. One that fails is a finding, and so is the first for which there is no more time. Where rules lack
/// names, less is granted than the policy means: then only a test that grants too much is a finding.
pub(super) fn run(
    tests: &[PolicyTest],
    policy: &Policy,
    lacks_names: bool,
    report: &mut Report<'_>,
) {
    let mut work = TestWork::new();
    for test in tests {
        if !test.run(policy, lacks_names, &mut work, report) {
            let remedy = "remove some, or give each a line `at =`";
            report.add_at(&test.expected, "the tests take too much work from here on", remedy);
            return;
        }
    }
}

impl PolicyTest {
    /// Makes the test; it is a finding where it fails. `false` if it is more work than there may be.
    fn run(
        &self,
        policy: &Policy,
        lacks_names: bool,
        work: &mut TestWork,
        report: &mut Report<'_>,
    ) -> bool {
        let moments = self.moments(policy);
        if !work.take(policy.rule_count(), moments.len() + 1) {
            return false;
        }
        let verdicts: Vec<_> = moments.iter().map(|at| self.verdict(policy, *at)).collect();
        let grants_too_much = !self.granted && verdicts.iter().any(Verdict::is_granted);
        let mut failures = verdicts.into_iter().filter_map(|verdict| self.failure(verdict));
        let Some((mark, what)) = failures.next() else { return true };
        if lacks_names && !grants_too_much {
            let message = format!("{} fails while names are missing: {what}", self.name);
            report.warn_at(mark, message, "see the warnings of the rules");
            return true;
        }
        if failures.count() + 1 < moments.len() {
            let message = format!("{} passes at some times and fails at others", self.name);
            report.add_at(mark, message, format!("add a line `at =` with {}", AT.write));
            return true;
        }
        let remedy = "correct the rules, or the test if it expects the wrong thing";
        report.add_at(mark, format!("{} fails: {what}", self.name), remedy);
        true
    }

    /// The time of the test. If it names none, as many as there can be verdicts.
    fn moments(&self, policy: &Policy) -> Vec<Moment> {
        match self.at {
            Some(at) => vec![at],
            None => policy.turning_points(&self.peer(), self.right, self.target),
        }
    }

    fn verdict<'p>(&self, policy: &'p Policy, at: Moment) -> Verdict<'p> {
        policy.outcome(&self.peer(), self.right, self.target, at)
    }

    fn peer(&self) -> Peer<'_> {
        Peer {
            out_of_sight: false,
            vanished: false,
            uid: self.uid,
            gid: Gid::NONE,
            groups: &self.groups,
            unit: self.unit.as_deref(),
            cgroup: self.cgroup.as_deref(),
            label: self.label.as_deref(),
        }
    }

    /// Where a verdict is not the expected one, and what it is.
    fn failure(&self, verdict: Verdict<'_>) -> Option<(&Mark, String)> {
        let outcome = if verdict.is_granted() { "granted" } else { "refused" };
        let by = match (verdict.rule(), verdict) {
            (Some(rule), _) => format!("by the rule \"{rule}\""),
            (None, Verdict::Kept { .. }) => "since nobody can change a resource's slot".to_owned(),
            (None, _) => "since no rule allows it".to_owned(),
        };
        if verdict.is_granted() != self.granted {
            return Some((&self.expected, format!("it is {outcome}, {by}")));
        }
        let (wanted, mark) = self.rule.as_ref()?;
        (verdict.rule() != Some(wanted))
            .then(|| (mark, format!("it is {outcome}, {by}, not by this rule")))
    }
}
