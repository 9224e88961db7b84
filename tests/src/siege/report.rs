//! The results, as a table; and whether they are good enough.

use std::fmt;
use std::time::Duration;

use super::Results;

/// What the well-behaved saw.
#[derive(Clone, Debug)]
pub struct Seen {
    /// On connections that were there.
    pub answers: Times,
    /// On new connections: their first answer, with the connect(2) before it.
    pub joined: Times,
    /// Of the bare server: so long takes what is not the broker's.
    pub bare: Times,
    /// How many requests went wrong.
    pub errors: usize,
    /// The first of them.
    pub first_error: Option<String>,
}

/// How long answers took.
#[derive(Clone, Copy, Debug)]
pub struct Times {
    /// How many there were.
    pub number: usize,
    /// Half of them took no longer.
    pub p50: Duration,
    /// Of a hundred, 99 took no longer.
    pub p99: Duration,
    /// The longest.
    pub max: Duration,
}

/// What supervisor and worker use.
#[derive(Clone, Copy, Debug)]
pub struct Usage {
    /// Resident memory, in bytes.
    pub memory: [u64; 2],
    /// Open descriptors.
    pub descriptors: [usize; 2],
}

/// Everything.
#[derive(Clone, Debug)]
pub struct Report {
    /// Beside users who do nothing wrong.
    pub alone: Seen,
    /// Beside attackers.
    pub attacked: Seen,
    /// Used before the attack.
    pub before: Usage,
    /// Used after it.
    pub after: Usage,
}

/// By how much memory may have grown: by a quarter, and what an allocator keeps.
const KEPT: u64 = 16 << 20;

impl Times {
    fn of(mut took: Vec<u32>) -> Self {
        took.sort_unstable();
        let at = |part: usize| {
            let rank = (took.len() * part / 100).min(took.len().saturating_sub(1));
            Duration::from_micros(took.get(rank).copied().unwrap_or(u32::MAX).into())
        };
        Self { number: took.len(), p50: at(50), p99: at(99), max: at(100) }
    }
}

impl Seen {
    /// Of what all of them saw together.
    pub(super) fn of(results: Results) -> Self {
        Self {
            answers: Times::of(results.took),
            joined: Times::of(results.joined),
            bare: Times::of(results.bare),
            errors: results.errors,
            first_error: results.first_error,
        }
    }
}

/// Whether memory has grown by more than may stay.
pub(super) fn has_grown(before: u64, after: u64) -> bool {
    after > before + before / 4 + KEPT
}

impl Report {
    /// Returns each bar that was missed, where p99 may be `times` what it was alone, or what a bare server takes
    /// beside the same attackers. No bar is set for p99 if `times` is `None`.
    pub fn missed(&self, times: Option<u32>) -> Vec<String> {
        let mut missed = Vec::new();
        for (name, seen) in [("alone", &self.alone), ("attacked", &self.attacked)] {
            let nothing = seen.answers.number == 0 || seen.joined.number == 0;
            if seen.errors > 0 || nothing {
                let first = seen.first_error.as_deref().unwrap_or("there was no answer at all");
                missed.push(format!("{name}: {} errors, the first: {first}", seen.errors));
            }
        }
        let kinds = [
            ("answers", self.alone.answers, self.attacked.answers),
            ("new connections", self.alone.joined, self.attacked.joined),
        ];
        for (name, alone, attacked) in kinds {
            let bar = alone.p99.max(self.attacked.bare.p99);
            if let Some(times) = times.filter(|times| attacked.p99 > bar * *times) {
                missed.push(format!(
                    "{name}: p99 is more than {times} times what it was alone, and what a bare server took"
                ));
            }
        }
        for (at, name) in ["supervisor", "worker"].into_iter().enumerate() {
            let (before, after) = (self.before.descriptors[at], self.after.descriptors[at]);
            if after > before {
                missed.push(format!("{name}: {after} descriptors after it, {before} before"));
            }
            let (before, after) = (self.before.memory[at], self.after.memory[at]);
            if has_grown(before, after) {
                missed.push(format!("{name}: {after} bytes of memory after it, {before} before"));
            }
        }
        missed
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [number, p50, p99, max] = ["number", "p50 ms", "p99 ms", "max ms"];
        writeln!(f, "{:25} {number:>9} {p50:>9} {p99:>9} {max:>9} {:>7}", "", "errors")?;
        for (name, seen) in [("alone", &self.alone), ("attacked", &self.attacked)] {
            let (bare, kinds) = (
                ("a bare server", seen.bare),
                [("answers", seen.answers), ("new connections", seen.joined)],
            );
            let kinds = kinds.into_iter().chain([bare]);
            for (kind, times) in kinds {
                let [p50, p99, max] =
                    [times.p50, times.p99, times.max].map(|time| time.as_secs_f64() * 1000.0);
                let (what, number, errors) = (format!("{name}: {kind}"), times.number, seen.errors);
                writeln!(f, "{what:25} {number:>9} {p50:>9.2} {p99:>9.2} {max:>9.2} {errors:>7}")?;
            }
        }
        writeln!(f)?;
        writeln!(
            f,
            "{:9} {:>18} {:>18} {:>13} {:>13}",
            "", "supervisor, KiB", "worker, KiB", "supervisor fd", "worker fd"
        )?;
        for (name, usage) in [("before", self.before), ("after", self.after)] {
            let [supervisor, worker] = usage.memory.map(|bytes| bytes / 1024);
            let [own, others] = usage.descriptors;
            writeln!(f, "{name:9} {supervisor:>18} {worker:>18} {own:>13} {others:>13}")?;
        }
        Ok(())
    }
}
