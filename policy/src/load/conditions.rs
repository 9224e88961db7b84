//! Reads the conditions of a rule: whom it concerns.

use super::accounts::{Accounts, Sort};
use super::bounds::list_fits;
use super::globs::{self, CGROUP, LABEL, UNIT};
use super::reader::{Section, Value};
use super::report::Report;
use crate::rule::{Who, sorted};
use crate::{Gid, Uid};

const ANYONE: &str = "anyone";

/// The keys of all conditions.
const CONDITIONS: [&str; 5] = ["user", "group", UNIT.key, CGROUP.key, LABEL.key];

/// Whom the rule concerns. A rule that would concern everybody must say so.
pub(super) fn read(
    section: Section<'_, '_>,
    accounts: &mut Accounts<'_>,
    report: &mut Report<'_>,
) -> Who {
    let users = ids(section, Sort::User, accounts, report);
    let groups = ids(section, Sort::Group, accounts, report);
    check_anyone(section, report);
    Who {
        users: users.map(|ids| sorted(ids.into_iter().map(Uid))),
        groups: groups.map(|ids| sorted(ids.into_iter().map(Gid))),
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

/// The numbers of one condition, which is one name or number or a list of them. `None` if it is not there.
fn ids(
    section: Section<'_, '_>,
    sort: Sort,
    accounts: &mut Accounts<'_>,
    report: &mut Report<'_>,
) -> Option<Vec<u32>> {
    let value = section.get(sort.noun())?;
    let Some(list) = value.get_ref().as_array() else {
        return Some(id(value, sort, accounts, report).into_iter().collect());
    };
    if list.is_empty() {
        let message = format!("this rule covers nobody: its `{}` is empty", sort.noun());
        report.add(&value.span(), message, format!("write {}", sort.expected().write));
    }
    if !list_fits(list.len(), sort.noun(), &value.span(), report) {
        return None;
    }
    Some(list.iter().filter_map(|value| id(value, sort, accounts, report)).collect())
}

fn id(
    value: &Value<'_>,
    sort: Sort,
    accounts: &mut Accounts<'_>,
    report: &mut Report<'_>,
) -> Option<u32> {
    let id = accounts.id(value, sort, report)?;
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
