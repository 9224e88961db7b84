//! Reads moments: when a rule counts, and when a test is made.

use super::reader::{Expected, Section, wrong_type};
use super::report::Report;
use crate::{Moment, Validity};

const FROM: Expected = Expected { key: "valid_from", write: MOMENT };
const UNTIL: Expected = Expected { key: "valid_until", write: MOMENT };

pub(super) const MOMENT: &str =
    "a date and time with its offset, without quotes, such as 2026-12-31T23:00:00+01:00";

/// When a rule counts.
pub(super) fn validity(section: Section<'_, '_>, report: &mut Report<'_>) -> Validity {
    let from = moment(section, FROM, report);
    let until = moment(section, UNTIL, report);
    if let (Some(from), Some(until)) = (from, until)
        && from >= until
        && let Some(value) = section.get(UNTIL.key)
    {
        let message = "this rule never applies: `valid_until` is not after `valid_from`";
        report.add(&value.span(), message, "exchange them, or remove the rule");
    }
    Validity { from, until }
}

/// A moment, unless there is a finding about it.
pub(super) fn moment(
    section: Section<'_, '_>,
    expected: Expected,
    report: &mut Report<'_>,
) -> Option<Moment> {
    let value = section.get(expected.key)?;
    let Some(datetime) = value.get_ref().as_datetime() else {
        wrong_type(value, expected, report);
        return None;
    };
    // Without an offset, which says nothing without a place, it is none.
    let moment: Option<Moment> = datetime.to_string().parse().ok();
    if moment.is_none() {
        let message = format!("`{}` means a different moment in each time zone", expected.key);
        report.add(&value.span(), message, format!("write {}", expected.write));
    }
    moment
}
