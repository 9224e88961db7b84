//! What came of it, as a table; and whether that is good enough.

use std::fmt;
use std::time::Duration;

use super::Results;

/// What the well-behaved saw.
#[derive(Clone, Debug)]
pub struct Seen {
    /// How many answers.
    pub answers: usize,
    /// Half of them took no longer.
    pub p50: Duration,
    /// Of a hundred, 99 took no longer.
    pub p99: Duration,
    /// The longest.
    pub max: Duration,
    /// How many requests went wrong.
    pub errors: usize,
    /// The first of them.
    pub first_error: Option<String>,
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

impl Seen {
    /// Of what all of them saw together.
    pub(super) fn of(mut results: Results) -> Self {
        results.took.sort_unstable();
        let took = &results.took;
        let at = |part: usize| {
            let rank = (took.len() * part / 100).min(took.len().saturating_sub(1));
            Duration::from_micros(took.get(rank).copied().unwrap_or(u32::MAX).into())
        };
        Self {
            answers: took.len(),
            p50: at(50),
            p99: at(99),
            max: at(100),
            errors: results.errors,
            first_error: results.first_error.clone(),
        }
    }
}

impl Report {
    /// Each bar that was missed, where p99 may be `times` what it was; none if that is not asked.
    pub fn missed(&self, times: Option<u32>) -> Vec<String> {
        let mut missed = Vec::new();
        for (name, seen) in [("alone", &self.alone), ("attacked", &self.attacked)] {
            if seen.errors > 0 || seen.answers == 0 {
                let first = seen.first_error.as_deref().unwrap_or("there was no answer at all");
                missed.push(format!("{name}: {} errors, the first: {first}", seen.errors));
            }
        }
        if let Some(times) = times.filter(|times| self.attacked.p99 > self.alone.p99 * *times) {
            missed.push(format!("p99 is more than {times} times what it was alone"));
        }
        for (at, name) in ["supervisor", "worker"].into_iter().enumerate() {
            let (before, after) = (self.before.descriptors[at], self.after.descriptors[at]);
            if after > before {
                missed.push(format!("{name}: {after} descriptors after it, {before} before"));
            }
            let (before, after) = (self.before.memory[at], self.after.memory[at]);
            if after > before + before / 4 + KEPT {
                missed.push(format!("{name}: {after} bytes of memory after it, {before} before"));
            }
        }
        missed
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{:9} {:>9} {:>9} {:>9} {:>9} {:>7}",
            "", "answers", "p50 ms", "p99 ms", "max ms", "errors"
        )?;
        for (name, seen) in [("alone", &self.alone), ("attacked", &self.attacked)] {
            let [p50, p99, max] =
                [seen.p50, seen.p99, seen.max].map(|time| time.as_secs_f64() * 1000.0);
            let (answers, errors) = (seen.answers, seen.errors);
            writeln!(f, "{name:9} {answers:>9} {p50:>9.2} {p99:>9.2} {max:>9.2} {errors:>7}")?;
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
