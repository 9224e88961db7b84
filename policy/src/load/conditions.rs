//! Reads the conditions of a rule: whom it concerns.

use super::accounts::{Accounts, Meant, Sort};
use super::bounds::list_fits;
use super::globs::{self, CGROUP, LABEL, UNIT};
use super::reader::{Section, Value};
use super::report::Report;
use crate::rule::{Who, sorted};
use crate::{Gid, Uid};

const ANYONE: &str = "anyone";

/// The keys of all conditions.
const CONDITIONS: [&str; 5] = ["user", "group", UNIT.key, CGROUP.key, LABEL.key];

/// The users or groups of a condition.
#[derive(Default)]
struct Named {
    ids: Vec<u32>,
    /// Whether one could not be looked up.
    lacks_some: bool,
}

/// Whom the rule concerns, which `denies` something or does not. A rule that would concern everybody must say so.
pub(super) fn read(
    section: Section<'_, '_>,
    denies: bool,
    accounts: &mut Accounts<'_>,
    report: &mut Report<'_>,
) -> Who {
    let users = named(section, denies, Sort::User, accounts, report);
    let groups = named(section, denies, Sort::Group, accounts, report);
    check_anyone(section, report);
    Who {
        unknown_users: users.as_ref().is_some_and(|users| users.lacks_some),
        unknown_groups: groups.as_ref().is_some_and(|groups| groups.lacks_some),
        users: users.map(|users| sorted(users.ids.into_iter().map(Uid))),
        groups: groups.map(|groups| sorted(groups.ids.into_iter().map(Gid))),
        units: globs::read(section, UNIT, report).map(sorted),
        cgroups: globs::read(section, CGROUP, report).map(sorted),
        labels: globs::read(section, LABEL, report).map(sorted),
    }
}

fn check_anyone(section: Section<'_, '_>, report: &mut Report<'_>) {
    let anyone = section.boolean(ANYONE, report);
    let Some(value) = section.get(ANYONE) else {
        if !has_condition(section) {
            let remedy = "add a line `user =`, `group =` or `unit =`, or `anyone = true` if everybody is meant";
            report.add_missing(section.name, "this rule does not say whom it concerns", remedy);
        }
        return;
    };
    match anyone {
        Some(true) if has_condition(section) => {
            let remedy = "remove `anyone` to keep the condition, or remove the condition if everybody is meant";
            report.add(&value.span(), "`anyone` cannot be combined with a condition", remedy);
        }
        Some(false) if !has_condition(section) => {
            report.add(
                &value.span(),
                "this rule concerns nobody",
                "write `user =` or `group =` instead, or `anyone = true`",
            );
        }
        _ => {}
    }
}

fn has_condition(section: Section<'_, '_>) -> bool {
    CONDITIONS.into_iter().any(|key| section.get(key).is_some())
}

/// Those of one condition, which is one name or number or a list of them. `None` if it is not there.
fn named(
    section: Section<'_, '_>,
    denies: bool,
    sort: Sort,
    accounts: &mut Accounts<'_>,
    report: &mut Report<'_>,
) -> Option<Named> {
    let value = section.get(sort.noun())?;
    let one = std::slice::from_ref(value);
    let list = value.get_ref().as_array().map_or(one, |list| &**list);
    if list.is_empty() {
        let message = format!("this rule covers nobody: its `{}` is empty", sort.noun());
        report.add(&value.span(), message, format!("write {}", sort.expected().write));
    }
    if !list_fits(list.len(), sort.noun(), &value.span(), report) {
        return None;
    }
    let mut named = Named::default();
    for value in list {
        match accounts.meant(value, sort, report) {
            Some(Meant::Id(id)) => named.ids.extend(if_it_can_be_named(id, value, sort, report)),
            Some(Meant::Absent) => absent(value, denies, sort, accounts, report),
            Some(Meant::Unknown(reason)) => {
                named.lacks_some = true;
                unknown(value, &reason, denies, sort, accounts, report);
            }
            None => {}
        }
    }
    Some(named)
}

/// A rule that only allows loses nobody by an account that is not there; from one that denies, somebody was to be kept out.
fn absent(
    value: &Value<'_>,
    denies: bool,
    sort: Sort,
    accounts: &mut Accounts<'_>,
    report: &mut Report<'_>,
) {
    let name = value.get_ref().as_str().unwrap_or_default();
    let (message, remedy) = (sort.absent(name), sort.remedy(name));
    if denies {
        return report.add(&value.span(), message, remedy);
    }
    accounts.lack();
    report.warn(&value.span(), format!("{message}: this rule allows nothing by that name"), remedy);
}

fn unknown(
    value: &Value<'_>,
    reason: &str,
    denies: bool,
    sort: Sort,
    accounts: &mut Accounts<'_>,
    report: &mut Report<'_>,
) {
    let name = value.get_ref().as_str().unwrap_or_default();
    let until = match denies {
        true => "until it is known, this rule denies as if it named everybody",
        false => "until it is known, this rule allows nothing by that name",
    };
    accounts.lack();
    let message = format!("{}; {until}", sort.unknown(name, reason));
    let remedy =
        format!("repair the lookup: the broker tries again; or write the {}'s number", sort.noun());
    report.warn(&value.span(), message, remedy);
}

fn if_it_can_be_named(
    id: u32,
    value: &Value<'_>,
    sort: Sort,
    report: &mut Report<'_>,
) -> Option<u32> {
    if id != Uid::OVERFLOW.0 {
        return Some(id);
    }
    let message = format!(
        "{} {id} cannot be named: it stands for every id that is unknown here",
        sort.noun()
    );
    let remedy =
        "the kernel shows this number for everybody from another user namespace; remove it";
    report.add(&value.span(), message, remedy);
    None
}
