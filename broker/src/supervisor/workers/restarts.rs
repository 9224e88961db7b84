//! How soon a worker is started again.
//!
//! At once, as a rule: clients wait. Workers that die soon after each other are held back. So a
//! cause that kills each of them does not keep a processor busy and the log full.

use std::time::Duration;

/// The longest pause before a worker is started again.
const MAX_PAUSE: Duration = Duration::from_secs(5);
const FIRST_PAUSE: Duration = Duration::from_millis(50);
/// The pause where somebody kills each worker from outside, the kernel for want of memory, say.
const KILLED_PAUSE: Duration = Duration::from_millis(100);
/// A worker that lives as long as this was no early death.
const LONG_LIFE: Duration = Duration::from_secs(10);
/// How many early deaths are taken for chance: of crashes, and of workers killed from outside.
const MAX_CRASHES: u32 = 3;
const MAX_KILLS: u32 = 20;
/// How many workers that cannot be reaped may be left behind before restarts slow down.
const MAX_LEFT_BEHIND: usize = 4;
/// The pause for each of them beyond that, and the longest. Each keeps its memory and its
/// descriptors, so they are not to pile up fast. But a user who makes them sleep must not be able
/// to keep all others waiting.
const PAUSE_EACH: Duration = Duration::from_secs(1);
const MAX_PAUSE_FOR_ALL: Duration = Duration::from_secs(3);

/// How a worker ended.
#[derive(Clone, Copy)]
pub(crate) struct Death {
    /// It came to serve before.
    pub(crate) served: bool,
    /// By SIGKILL, and not the supervisor's.
    pub(crate) killed: bool,
    /// How long it lived.
    pub(crate) lived: Duration,
}

impl Death {
    /// Of a worker that could not be started.
    pub(crate) const UNBORN: Self = Self { served: false, killed: false, lived: Duration::ZERO };
}

/// The deaths so far.
#[derive(Default)]
pub(crate) struct Restarts {
    pause: Duration,
    crashes: u32,
    kills: u32,
    total: u64,
}

impl Restarts {
    /// Returns the pause after a death, with `left_behind` workers that cannot be reaped.
    pub(crate) fn pause_after(&mut self, death: Death, left_behind: usize) -> Duration {
        self.total += 1;
        if death.served && death.lived >= LONG_LIFE {
            (self.crashes, self.kills) = (0, 0);
        } else if death.killed {
            self.kills = self.kills.saturating_add(1);
        } else {
            self.crashes = self.crashes.saturating_add(1);
        }
        let held_back = !death.served || (!death.killed && self.crashes > MAX_CRASHES);
        self.pause = if held_back { longer(self.pause) } else { Duration::ZERO };
        let killed = if self.kills > MAX_KILLS { KILLED_PAUSE } else { Duration::ZERO };
        self.pause.max(killed).max(pause_beside(left_behind))
    }

    /// What seemed to kill the workers is out of the way.
    pub(crate) fn forget(&mut self) {
        (self.pause, self.crashes, self.kills) = (Duration::ZERO, 0, 0);
    }

    /// How many workers have died.
    pub(crate) fn total(&self) -> u64 {
        self.total
    }
}

fn longer(pause: Duration) -> Duration {
    (pause * 2).clamp(FIRST_PAUSE, MAX_PAUSE)
}

fn pause_beside(left_behind: usize) -> Duration {
    let surplus = u32::try_from(left_behind.saturating_sub(MAX_LEFT_BEHIND)).unwrap_or(u32::MAX);
    PAUSE_EACH.saturating_mul(surplus).min(MAX_PAUSE_FOR_ALL)
}

#[cfg(test)]
mod tests {
    use super::*;

    const CRASH: Death = Death { served: true, killed: false, lived: Duration::from_secs(1) };

    #[test]
    fn workers_that_crash_one_after_the_other_are_held_back() {
        let mut restarts = Restarts::default();
        let pauses: Vec<_> = (0..12).map(|_| restarts.pause_after(CRASH, 0)).collect();
        assert_eq!(pauses[..3], [Duration::ZERO; 3]);
        assert_eq!(pauses[3], FIRST_PAUSE);
        assert_eq!(pauses[11], MAX_PAUSE);
        restarts.forget();
        assert_eq!(restarts.pause_after(CRASH, 0), Duration::ZERO);
    }

    #[test]
    fn a_crash_now_and_then_holds_nothing_back() {
        let mut restarts = Restarts::default();
        let seldom = Death { lived: LONG_LIFE, ..CRASH };
        assert!((0..100).all(|_| restarts.pause_after(seldom, 0).is_zero()));
    }

    #[test]
    fn workers_that_cannot_be_reaped_slow_restarts_down() {
        let mut restarts = Restarts::default();
        let killed = Death { killed: true, ..CRASH };
        assert_eq!(restarts.pause_after(killed, 4), Duration::ZERO);
        assert_eq!(restarts.pause_after(killed, 5), PAUSE_EACH);
        assert_eq!(restarts.pause_after(killed, 500), MAX_PAUSE_FOR_ALL);
    }

    #[test]
    fn a_worker_that_never_serves_is_held_back_from_the_first_time_on() {
        let mut restarts = Restarts::default();
        let death = Death { served: false, ..CRASH };
        assert_eq!(restarts.pause_after(death, 0), FIRST_PAUSE);
        assert_eq!(restarts.pause_after(death, 0), FIRST_PAUSE * 2);
    }
}
