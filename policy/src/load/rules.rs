//! Reads the tables `[[rules]]`.

use super::accounts::Accounts;
use super::amount::rate;
use super::bounds::{Count, LONGEST_ID, RULES, STARS};
use super::conditions;
use super::declared::{Declared, Once};
use super::reader::{Expected, Section};
use super::report::Report;
use super::slots;
use super::suggest::suggest;
use super::times;
use crate::pattern::Pattern;
use crate::rights::Rights;
use crate::rule::Rule;
use crate::{Rates, Right};

const KEYS: [&str; 14] = [
    "id",
    "allow",
    "deny",
    "slots",
    "user",
    "group",
    "unit",
    "cgroup",
    "label",
    "anyone",
    "valid_from",
    "valid_until",
    "requests_per_second",
    "records_per_second",
];

const ID: Expected =
    Expected { key: "id", write: "a sentence in quotes that says what the rule is for" };
const ALLOW: Expected =
    Expected { key: "allow", write: "a list of rights in quotes, such as [\"get\"]" };
const DENY: Expected =
    Expected { key: "deny", write: "a list of rights in quotes, such as [\"*\"]" };

/// The word that stands for every right to a slot.
const ALL: &str = "*";

/// Reads the rules of a file, one after the other.
pub(super) struct Rules<'d, 'n> {
    declared: &'d Declared,
    accounts: &'d mut Accounts<'n>,
    ids: Once<String>,
    count: Count,
    stars: Count,
    read: Vec<Rule>,
}

/// The rights of one list.
#[derive(Default)]
struct Listed {
    rights: Rights,
    /// The rights to a whole tag that the list names in so many words.
    of_tags: Rights,
    /// Whether there is a word in it that is no right.
    names_unknown: bool,
}

impl<'d, 'n> Rules<'d, 'n> {
    pub(super) fn new(declared: &'d Declared, accounts: &'d mut Accounts<'n>) -> Self {
        let (count, stars) = (Count::of(RULES), Count::of(STARS));
        Self { declared, accounts, ids: Once::new(), count, stars, read: Vec::new() }
    }

    pub(super) fn read(&mut self, section: Section<'_, '_>, report: &mut Report<'_>) {
        if !self.count.admits(section.name, report) {
            return;
        }
        section.refuse_unknown_keys(&KEYS, report);
        let id = self.id(section, report);
        let (allow, deny) = (rights(section, ALLOW, report), rights(section, DENY, report));
        if section.get(ALLOW.key).is_none() && section.get(DENY.key).is_none() {
            let remedy = "add a line such as `allow = [\"get\"]` or `deny = [\"*\"]`";
            report.add_missing(
                section.name,
                "this rule covers nothing: it neither allows nor denies",
                remedy,
            );
        }
        let slots = self.slots(section, &allow, &deny, report);
        check_tag_right(section, &allow, &deny, slots.as_deref(), report);
        // A list with a mistake may deny something.
        let denies = section.get(DENY.key).is_some();
        let who = conditions::read(section, denies, self.accounts, report);
        let stars = who.globs().map(|glob| glob.stars()).sum();
        self.stars.admits_many(stars, section.name, report);
        let slots = slots.unwrap_or_default().into_boxed_slice();
        let valid = times::validity(section, report);
        let rates = Rates {
            requests_per_second: rate(section, "requests_per_second", report),
            records_per_second: rate(section, "records_per_second", report),
        };
        let (allow, deny) = (allow.rights, deny.rights);
        self.read.push(Rule { id, allow, deny, slots, who, valid, rates });
    }

    /// What the rule covers. One that is only about the broker has no slots.
    fn slots(
        &self,
        section: Section<'_, '_>,
        allow: &Listed,
        deny: &Listed,
        report: &mut Report<'_>,
    ) -> Option<Vec<Pattern>> {
        let rights = allow.rights.and(deny.rights);
        let given = section.key_span(slots::KEY);
        if rights.common(Rights::of_slots()).is_empty() {
            let unknown = allow.names_unknown || deny.names_unknown;
            match given {
                // What is not known may be a right to slots, and may be none.
                None if unknown || !rights.is_empty() => return None,
                Some(span) if !unknown && let Some(right) = rights.iter().next() => {
                    let message = format!("the right `{right}` is for the broker, not for slots");
                    let remedy = "remove the line `slots`, or name a right to slots";
                    report.add(&span, &message, remedy);
                    return None;
                }
                _ => {}
            }
        }
        if given.is_none() && section.misspells(slots::KEY, &KEYS) {
            // The finding on the unknown key is the one to correct.
            return None;
        }
        slots::read(section, self.declared, report)
    }

    pub(super) fn finish(self) -> Vec<Rule> {
        self.read
    }

    fn id(&mut self, section: Section<'_, '_>, report: &mut Report<'_>) -> String {
        let Some((id, span)) = section.string(ID, report) else {
            return report.name_by_line("rule", section.name);
        };
        if id.trim().is_empty() {
            report.add(
                &span,
                "the `id` is empty",
                "say what the rule is for, or leave the line out",
            );
        } else if id.contains(char::is_control) {
            let message = "the `id` contains a control character";
            report.add(&span, message, "write it on one line, without tabs: audit records name it");
        } else if id.len() > LONGEST_ID {
            let remedy = format!("write at most {LONGEST_ID} bytes: audit records name it");
            report.add(&span, "the `id` is too long", remedy);
        } else if let Some(first) = self.ids.give(id.to_owned(), report.mark(&span)) {
            let message = format!("the id \"{id}\" is given twice");
            report.add_twice(
                &span,
                &first,
                message,
                "give each rule an id of its own: audit records name it",
            );
        }
        id.to_owned()
    }
}

fn rights(section: Section<'_, '_>, expected: Expected, report: &mut Report<'_>) -> Listed {
    let Some(words) = section.strings(expected, report) else { return Listed::default() };
    if let Some(value) = section.get(expected.key)
        && value.get_ref().as_array().is_some_and(|list| list.is_empty())
    {
        let message = format!("this rule covers nothing: its `{}` is empty", expected.key);
        report.add(
            &value.span(),
            message,
            format!("write {}, or leave the line out", expected.write),
        );
    }
    words.into_iter().fold(Listed::default(), |listed, (word, span)| match word.parse::<Right>() {
        Ok(right) => listed.with(right),
        Err(_) if word == ALL => listed.with_all(),
        Err(_) => {
            let known = Right::ALL.into_iter().map(Right::name).chain([ALL]);
            report.add(
                &span,
                format!("there is no right \"{word}\""),
                suggest(word, known, "rights"),
            );
            Listed { names_unknown: true, ..listed }
        }
    })
}

impl Listed {
    fn with(self, right: Right) -> Self {
        let of_tags = if right.is_of_tag() { self.of_tags.with(right) } else { self.of_tags };
        Self { rights: self.rights.with(right), of_tags, ..self }
    }

    fn with_all(self) -> Self {
        Self { rights: self.rights.and(Rights::of_slots()), ..self }
    }
}

/// A right to a whole tag cannot be granted for a part of it: a policy that says so means something
/// else.
fn check_tag_right(
    section: Section<'_, '_>,
    allow: &Listed,
    deny: &Listed,
    slots: Option<&[Pattern]>,
    report: &mut Report<'_>,
) {
    let Some(slots) = slots else { return };
    if slots.iter().any(|pattern| pattern.covers_a_whole_tag()) {
        return;
    }
    for (listed, key) in [(allow, ALLOW.key), (deny, DENY.key)] {
        let Some(value) = section.get(key) else { continue };
        for right in Right::ALL.into_iter().filter(|right| listed.of_tags.contains(*right)) {
            let message =
                format!("the right `{right}` is for whole tags, and these slots cover none");
            let remedy =
                format!("add a pattern such as \"web/*\" to the slots, or remove `{right}`");
            report.add(&value.span(), message, remedy);
        }
    }
}
