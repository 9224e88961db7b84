//! Reads what is opened ahead: `ready`, `max_age`.

use crate::Ready;
use crate::load::amount::{count, duration};
use crate::load::reader::Section;
use crate::load::report::Report;

pub(super) const READY: &str = "ready";
const MAX_AGE: &str = "max_age";

pub(super) const KEYS: [&str; 2] = [READY, MAX_AGE];

/// Returns how many are kept ready.
pub(super) fn read(section: Section<'_, '_>, report: &mut Report<'_>) -> Option<Ready> {
    let max_age = duration(section, MAX_AGE, report);
    let Some(span) = section.key_span(READY) else {
        if let Some(span) = section.key_span(MAX_AGE) {
            let message = "`max_age` has no meaning without `ready`";
            report.add(&span, message, "add `ready`, or remove it");
        }
        return None;
    };
    let number = count(section, READY, report)?;
    if number > Ready::MOST {
        let remedy = format!("at most {} connections of a resource can be kept", Ready::MOST);
        report.add(&span, format!("`ready` is {number}"), remedy);
        return None;
    }
    Some(Ready { number, max_age: max_age.unwrap_or(Ready::DEFAULT_MAX_AGE) })
}
