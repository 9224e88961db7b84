//! Reads the terms on which a caller has what was opened for it: `holders`, `wait`, `ttl`, `revocable`.

use crate::LeaseTerms;
use crate::load::amount::{duration, rate};
use crate::load::reader::Section;
use crate::load::report::Report;

const HOLDERS: &str = "holders";
const WAIT: &str = "wait";
const TTL: &str = "ttl";
const REVOCABLE: &str = "revocable";

/// The keys of a lease.
pub(super) const KEYS: [&str; 4] = [HOLDERS, WAIT, TTL, REVOCABLE];

/// Returns the terms, if any key asks for a lease.
pub(super) fn read(section: Section<'_, '_>, report: &mut Report<'_>) -> Option<LeaseTerms> {
    let (holders, ttl) = (rate(section, HOLDERS, report), duration(section, TTL, report));
    let wait = duration(section, WAIT, report);
    let revocable = section.boolean(REVOCABLE, report).unwrap_or_default();
    if wait.is_some() && holders.is_none() && section.get(HOLDERS).is_none() {
        let span = section.key_span(WAIT).unwrap_or_else(|| section.name.clone());
        report.add(&span, "`wait` has no meaning without `holders`", "add `holders`, or remove it");
    }
    let wait = wait.unwrap_or(LeaseTerms::DEFAULT_WAIT);
    let asked = holders.is_some() || ttl.is_some() || revocable;
    asked.then_some(LeaseTerms { holders, wait, ttl })
}
