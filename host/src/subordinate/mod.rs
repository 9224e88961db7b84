//! Subordinate ids: user ids that /etc/subuid assigns to a user, who needs no right to use them.
//!
//! What counts against a user has to count these ids too, or else one person is many users. An id counts as the
//! user that its range belongs to, except:
//! - ids below 1000, and ids that have an account in /etc/passwd or own a range, count as themselves;
//! - ranges of root or another system user are used by the programs of many (containers of a service), and the
//!   owner of a range need not exist. All ids of such a range count as one user, and as nobody else;
//! - so do ids that are in ranges of several owners.
//!
//! Bounded: the file's size, its lines, the ranges that come of them, and the time for looking names up.

mod accounts;
mod file;
mod line;
mod range;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use fdbroker_policy::{Names, Uid};
use fdbroker_types::quoted;

use self::accounts::Accounts;
use self::line::Line;
use self::range::OwnedRange;
pub use self::range::{CountedRange, SubordinateIds};

/// Where the system keeps subordinate ids.
pub const SUBUID: &str = "/etc/subuid";
const PASSWD: &str = "/etc/passwd";
/// The largest that either file may be.
const MOST_BYTES: u64 = 4 << 20;
/// How many lines may have a range.
const MOST_LINES: usize = 16_384;
/// How many ranges may come of them.
const MOST_RANGES: usize = 40_000;
/// How long names are looked up that /etc/passwd does not have.
const LOOKING_UP: Duration = Duration::from_secs(2);
/// Where subordinate ids can begin if nobody knows.
const FIRST_OF_UNKNOWN: u32 = 65_536;

/// Why it is not known which ids belong to whom.
#[derive(Debug)]
pub struct SubordinateError {
    path: PathBuf,
    problem: String,
}

/// Reads which ids belong to whom. Returns also what is odd about the file, to be logged. Without a file there
/// are no such ids.
///
/// # Errors
/// When the file cannot be read, or has more in it than is read.
pub fn subordinate_ids(
    path: &Path,
    names: &dyn Names,
) -> Result<(SubordinateIds, Vec<String>), SubordinateError> {
    let failed = |problem: String| SubordinateError { path: path.to_owned(), problem };
    let text = file::read(path, MOST_BYTES).map_err(|error| failed(error.to_string()))?;
    let mut reading = Reading::new(names);
    let text = text.unwrap_or_default();
    if text.lines().filter(|line| !Line::is_blank(line)).count() > MOST_LINES {
        return Err(failed(format!("it has more than {MOST_LINES} lines")));
    }
    (1..).zip(text.lines()).for_each(|(number, line)| reading.add(number, line));
    let (ids, odd) = reading.end();
    if ids.ranges().len() > MOST_RANGES {
        return Err(failed(format!("it has more than {MOST_RANGES} ranges")));
    }
    Ok((ids, odd.into_iter().map(|odd| format!("{}: {odd}", path.display())).collect()))
}

/// Returns what holds while it is not known which ids belong to whom: all ids from 65536 on that have no account
/// in /etc/passwd count as one user.
#[must_use]
pub fn unknown_subordinate_ids() -> SubordinateIds {
    let all = OwnedRange { first: FIRST_OF_UNKNOWN, last: u32::MAX - 1, owner: None };
    SubordinateIds::sorted(&[all], &accounts().ids).0
}

/// What cannot be read has no accounts: then names are looked up one by one.
fn accounts() -> Accounts {
    let text = file::read(Path::new(PASSWD), MOST_BYTES).ok().flatten();
    Accounts::parse(&text.unwrap_or_default())
}

/// The file, as far as it has been read.
struct Reading<'n> {
    names: &'n dyn Names,
    accounts: Accounts,
    found: BTreeMap<String, Option<u32>>,
    until: Instant,
    ranges: Vec<OwnedRange>,
    not_understood: Lines,
    without_owner: Lines,
}

/// Lines that have the same oddity.
#[derive(Default)]
struct Lines {
    number: usize,
    first: Option<usize>,
}

impl<'n> Reading<'n> {
    fn new(names: &'n dyn Names) -> Self {
        Self {
            names,
            accounts: accounts(),
            found: BTreeMap::new(),
            until: Instant::now() + LOOKING_UP,
            ranges: Vec::new(),
            not_understood: Lines::default(),
            without_owner: Lines::default(),
        }
    }

    fn add(&mut self, number: usize, text: &str) {
        if Line::is_blank(text) {
            return;
        }
        let Some(line) = Line::parse(text) else { return self.not_understood.add(number) };
        let owner = self.owner(line.owner);
        if owner.is_none() {
            self.without_owner.add(number);
        }
        self.ranges.extend(line.range(owner));
    }

    /// The uid of an owner, which can be written as a number.
    fn owner(&mut self, name: &str) -> Option<u32> {
        let local = self.accounts.uid_of(name).or_else(|| name.parse().ok());
        if local.is_some() {
            return local;
        }
        let (names, in_time) = (self.names, Instant::now() < self.until);
        let look_up = || if in_time { names.user(name).ok().flatten() } else { None };
        let found = self.found.entry(name.to_owned());
        *found.or_insert_with(|| look_up().map(|Uid(uid)| uid))
    }

    fn end(self) -> (SubordinateIds, Vec<String>) {
        let owners = self.ranges.iter().filter_map(|range| range.owner);
        let own: BTreeSet<_> = self.accounts.ids.iter().copied().chain(owners).collect();
        let (ids, overlap) = SubordinateIds::sorted(&self.ranges, &own);
        let not_understood = self.not_understood.told(
            "lines are not OWNER:FIRST:COUNT and are ignored",
            "the ids there count as users of their own; correct them",
        );
        let without_owner = self.without_owner.told(
            "owners do not exist or could not be looked up",
            "all ids of such a range count as one user; create the user or delete the line, and reload",
        );
        let overlap = overlap.map(|uid| {
            format!(
                "ranges of different owners overlap (first id: {uid}); ids that several owners share \
                 count as one user; give each owner ranges of its own"
            )
        });
        (ids, [not_understood, without_owner, overlap].into_iter().flatten().collect())
    }
}

impl Lines {
    fn add(&mut self, number: usize) {
        self.number += 1;
        self.first = self.first.or(Some(number));
    }

    fn told(&self, what: &str, then: &str) -> Option<String> {
        let number = self.number;
        self.first.map(|first| format!("{what} (lines: {number}, first: {first}); {then}"))
    }
}

impl fmt::Display for SubordinateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (path, problem) = (quoted(&self.path), &self.problem);
        write!(f, "cannot read which user ids belong to whom: {path}: {problem}")
    }
}

impl std::error::Error for SubordinateError {}

#[cfg(test)]
mod tests;
