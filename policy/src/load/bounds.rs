//! How much a policy may hold: far more than anybody writes, and little enough that loading it takes neither long nor
//! much memory.

use super::report::{Report, Span};
use crate::Ready;

/// How many things of a kind a policy may have, all its files together.
#[derive(Clone, Copy)]
pub(super) struct Bound {
    /// What they are called, in the plural.
    noun: &'static str,
    most: usize,
    remedy: &'static str,
}

/// What is known of an identity takes two bytes for each.
pub(super) const RULES: Bound = Bound {
    noun: "rules",
    most: 20_000,
    remedy: "remove some: one rule can name many users, and cover many slots",
};
pub(super) const RESOURCES: Bound =
    Bound { noun: "resources", most: 131_072, remedy: "remove some" };
pub(super) const TESTS: Bound = Bound { noun: "tests", most: 20_000, remedy: "remove some" };
/// What a peer's unit, control group and label are matched with at worst, once for each connection.
pub(super) const STARS: Bound = Bound {
    noun: "stars in the patterns of conditions",
    most: 10_000,
    remedy: "put what is alike into one rule, or one pattern",
};
/// Each is a process, and callers need some too.
pub(super) const ENCRYPTED_READY: Bound = Bound {
    noun: "connections with `tls` that are kept ready",
    most: Ready::MOST_ENCRYPTED as usize,
    remedy: "make `ready` smaller: each of them is a process",
};

/// The most elements of one list.
const LONGEST_LIST: usize = 4096;

/// The longest id of a rule or test, and the longest name of a user or group, in bytes.
pub(super) const LONGEST_ID: usize = 256;

/// The most keys, values and tables, counted by the characters that bring them. Each is about 500 bytes of a parsed tree.
const MOST_MARKS: usize = 500_000;
const MARKS: &[u8] = b"=,[{.";

/// The most pieces that the parser cuts the texts into, counted by lines and by what separates them. Each is about 50 bytes.
const MOST_PIECES: usize = 3_000_000;
const PIECES: &[u8] = b"=,[]{}.\"' \t\r";

/// How many rules all tests together may look at, each time counted.
const MOST_WEIGHED: usize = 200_000_000;

/// How many of one kind there were so far.
pub(super) struct Count {
    bound: Bound,
    seen: usize,
}

/// What may still be done for tests.
pub(super) struct TestWork(usize);

impl Count {
    pub(super) const fn of(bound: Bound) -> Self {
        Self { bound, seen: 0 }
    }

    /// Counts one more. `false` if it is one too many: the first such is a finding.
    pub(super) fn admits(&mut self, span: &Span, report: &mut Report<'_>) -> bool {
        self.admits_many(1, span, report)
    }

    /// Counts so many more.
    pub(super) fn admits_many(
        &mut self,
        number: usize,
        span: &Span,
        report: &mut Report<'_>,
    ) -> bool {
        let Bound { noun, most, remedy } = self.bound;
        let fitted = self.seen <= most;
        self.seen = self.seen.saturating_add(number);
        let fits = self.seen <= most;
        if fitted && !fits {
            report.add(span, format!("the policy has more than {most} {noun}"), remedy);
        }
        fits
    }
}

impl TestWork {
    pub(super) const fn new() -> Self {
        Self(MOST_WEIGHED)
    }

    /// Takes what it costs to look at so many rules so many times. Returns `false` if that is more than is left.
    pub(super) fn take(&mut self, rules: usize, times: usize) -> bool {
        let left = self.0.checked_sub(rules.max(1).saturating_mul(times));
        self.0 = left.unwrap_or(0);
        left.is_some()
    }
}

/// Whether a list is short enough; else that is a finding.
pub(super) fn list_fits(length: usize, key: &str, span: &Span, report: &mut Report<'_>) -> bool {
    let fits = length <= LONGEST_LIST;
    if !fits {
        let message = format!("`{key}` has more than {LONGEST_LIST} elements");
        report.add(span, message, "make several rules of it, or name a group or a range");
    }
    fits
}

/// Where texts have more in them than a policy may have: the file, and the line in which it becomes too much.
///
/// Looks at characters, before anything is parsed: those in strings count too, those in lines of comment do not.
pub(super) fn overflow<'t>(texts: impl Iterator<Item = &'t str>) -> Option<(usize, Span)> {
    let (mut marks, mut pieces) = (0_usize, 0_usize);
    for (file, text) in texts.enumerate() {
        let mut begin = 0;
        for line in text.split_inclusive('\n') {
            pieces += 1;
            if !line.trim_start().starts_with('#') {
                marks += line.bytes().filter(|byte| MARKS.contains(byte)).count();
                pieces += line.bytes().filter(|byte| PIECES.contains(byte)).count();
            }
            if marks > MOST_MARKS || pieces > MOST_PIECES {
                return Some((file, begin..begin));
            }
            begin += line.len();
        }
    }
    None
}
