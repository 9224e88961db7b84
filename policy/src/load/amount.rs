//! Reads limits: numbers, sizes and durations.

use std::num::NonZeroU32;
use std::ops::RangeInclusive;
use std::time::Duration;

use super::reader::{Expected, Section, Value, number, wrong_type};
use super::report::Report;
use fdbroker_types::decimal;

/// The units of a size, and how many bytes each is.
const SIZES: [(&str, u64); 4] = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("B", 1)];

/// The units of a duration, and how many milliseconds each is. `ms` must come before `s`, which is its end.
const DURATIONS: [(&str, u64); 4] = [("ms", 1), ("h", 3_600_000), ("m", 60_000), ("s", 1000)];

/// A count of at least 1.
pub(super) fn count(
    section: Section<'_, '_>,
    key: &'static str,
    report: &mut Report<'_>,
) -> Option<u32> {
    let value = section.get(key)?;
    let expected = Expected { key, write: "a whole number of at least 1" };
    let found = integer(value, expected, report)?;
    in_range(value, expected.key, u64::try_from(found).ok(), 1..=u64::from(u32::MAX), "", report)
        .and_then(|count| u32::try_from(count).ok())
}

/// A number from 0 to `last`.
pub(super) fn up_to(
    section: Section<'_, '_>,
    key: &'static str,
    last: u32,
    report: &mut Report<'_>,
) -> Option<u32> {
    let value = section.get(key)?;
    let found = integer(value, Expected { key, write: "a whole number" }, report)?;
    in_range(value, key, u64::try_from(found).ok(), 0..=u64::from(last), "", report)
        .and_then(|number| u32::try_from(number).ok())
}

/// So many in a second, at least 1.
pub(super) fn rate(
    section: Section<'_, '_>,
    key: &'static str,
    report: &mut Report<'_>,
) -> Option<NonZeroU32> {
    count(section, key, report).and_then(NonZeroU32::new)
}

/// A size of at least one byte.
pub(super) fn size(
    section: Section<'_, '_>,
    key: &'static str,
    report: &mut Report<'_>,
) -> Option<u64> {
    let value = section.get(key)?;
    let expected =
        Expected { key, write: "a size such as \"64MiB\": a whole number and B, KiB, MiB or GiB" };
    let bytes = match value.get_ref().as_str() {
        Some(text) => measured(text, &SIZES, value, expected, report)?,
        None => u64::try_from(integer(value, expected, report)?).ok(),
    };
    in_range(value, key, bytes, 1..=i64::MAX.unsigned_abs(), " bytes", report)
}

/// A duration from 100 milliseconds to an hour.
pub(super) fn duration(
    section: Section<'_, '_>,
    key: &'static str,
    report: &mut Report<'_>,
) -> Option<Duration> {
    let value = section.get(key)?;
    let expected =
        Expected { key, write: "a duration such as \"10s\": a whole number and ms, s, m or h" };
    let Some(text) = value.get_ref().as_str() else {
        wrong_type(value, expected, report);
        return None;
    };
    let milliseconds = measured(text, &DURATIONS, value, expected, report)?;
    in_range(value, key, milliseconds, 100..=3_600_000, " milliseconds", report)
        .map(Duration::from_millis)
}

fn integer(value: &Value<'_>, expected: Expected, report: &mut Report<'_>) -> Option<i128> {
    let Some(integer) = value.get_ref().as_integer() else {
        wrong_type(value, expected, report);
        return None;
    };
    // What is beyond 128 bits is out of every range.
    Some(number(integer).unwrap_or(i128::MAX))
}

/// A number and its unit. `Some(None)` is a number too large to hold.
fn measured(
    text: &str,
    units: &[(&str, u64)],
    value: &Value<'_>,
    expected: Expected,
    report: &mut Report<'_>,
) -> Option<Option<u64>> {
    let unit = units.iter().find_map(|(unit, factor)| Some((text.strip_suffix(unit)?, *factor)));
    match unit.filter(|(digits, _)| {
        !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())
    }) {
        Some((digits, factor)) => Some(decimal(digits).and_then(|count| count.checked_mul(factor))),
        None => {
            let message = format!("`{}` cannot be \"{text}\"", expected.key);
            report.add(&value.span(), message, format!("write {}", expected.write));
            None
        }
    }
}

fn in_range(
    value: &Value<'_>,
    key: &str,
    found: Option<u64>,
    range: RangeInclusive<u64>,
    unit: &str,
    report: &mut Report<'_>,
) -> Option<u64> {
    let found = found.filter(|found| range.contains(found));
    if found.is_none() {
        let (low, high) = (range.start(), range.end());
        let remedy = format!("write a value from {low} to {high}{unit}");
        report.add(&value.span(), format!("`{key}` is out of range"), remedy);
    }
    found
}
