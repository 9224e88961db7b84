//! Bounds what a policy may come to in all, so that no slip makes the broker slow for everybody.

use super::report::Report;
use crate::policy::Parts;

/// How many rules there may be.
const RULES: usize = 131_072;
/// How many resources there may be.
const RESOURCES: usize = 131_072;
/// How many stars the patterns of all conditions may have: a peer's unit, control group and label are matched with all
/// of them at worst, once for each connection.
const STARS: usize = 10_000;

/// Reports what there is too much of.
pub(super) fn check(parts: &Parts, report: &mut Report<'_>) {
    let stars = parts.rules.iter().flat_map(|rule| rule.who.globs()).map(|glob| glob.stars()).sum();
    let amounts = [
        (parts.rules.len(), RULES, "rules"),
        (parts.resources.len(), RESOURCES, "resources"),
        (stars, STARS, "stars in the patterns of conditions"),
    ];
    for (found, most, what) in amounts {
        if found > most {
            report.add_about_all(
                format!("there are {found} {what}, and there may be {most}"),
                "put what is alike into one rule, or one pattern",
            );
        }
    }
}
