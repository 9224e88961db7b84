//! Whether a worker still answers.
//!
//! Each beat asks. Whatever the worker sends counts as an answer, also what has been in the queue
//! for long. Beats count, not time: a supervisor that was stopped, or a machine that slept, has one
//! beat afterwards and asks again before it judges.

use std::time::Duration;

use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at};

/// How long a beat takes.
pub(crate) const BEAT: Duration = Duration::from_secs(2);
/// The beat after a sign that the worker's process has ended.
const SOON: Duration = Duration::from_millis(100);
/// How many beats a worker may leave unanswered.
const MAX_UNANSWERED: u32 = 5;

/// The heartbeat of one worker.
pub(crate) struct Pulse {
    beats: Interval,
    unanswered: u32,
    /// It was found ended at the last beat, and its link was still open.
    ended: bool,
}

impl Pulse {
    pub(crate) fn new() -> Self {
        let mut beats = interval_at(Instant::now() + BEAT, BEAT);
        beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self { beats, unanswered: 0, ended: false }
    }

    /// Waits for the next beat. Can be dropped and called again.
    pub(crate) async fn beat(&mut self) {
        self.beats.tick().await;
    }

    /// The worker has sent something.
    pub(crate) fn answered(&mut self) {
        self.unanswered = 0;
    }

    /// Judges a worker that serves, at a beat; it is to be asked again if this succeeds.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(crate) fn judge(&mut self, has_ended: bool) -> Result<(), String> {
        if has_ended && self.ended {
            return Err(
                "it has ended, but one of its threads is blocked in the kernel (state D) and \
                 keeps its descriptors open"
                    .to_owned(),
            );
        }
        if has_ended {
            // Mostly the end of its link is just about to be read.
            self.beats.reset_after(SOON);
        }
        self.ended = has_ended;
        if self.unanswered >= MAX_UNANSWERED {
            let time = BEAT * MAX_UNANSWERED;
            return Err(format!("it hangs: it has not answered for {} s", time.as_secs()));
        }
        self.unanswered += 1;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_worker_that_answers_no_beat_hangs() {
        let mut pulse = Pulse::new();
        let began = Instant::now();
        let problem = loop {
            pulse.beat().await;
            if let Err(problem) = pulse.judge(false) {
                break problem;
            }
        };
        assert_eq!(problem, "it hangs: it has not answered for 10 s");
        assert_eq!(began.elapsed().as_secs(), 12);
    }

    #[tokio::test(start_paused = true)]
    async fn a_supervisor_that_was_stopped_asks_before_it_judges() {
        let mut pulse = Pulse::new();
        pulse.beat().await;
        pulse.judge(false).unwrap();
        tokio::time::advance(Duration::from_secs(3600)).await;
        let woken = Instant::now();
        for _ in 0..4 {
            pulse.beat().await;
            pulse.judge(false).expect("it was given time to answer");
        }
        assert!(woken.elapsed() >= BEAT * 3, "beats were made up for");
    }

    #[tokio::test(start_paused = true)]
    async fn an_ended_worker_has_a_moment_for_its_link_to_end() {
        let mut pulse = Pulse::new();
        pulse.beat().await;
        pulse.judge(true).unwrap();
        let before = Instant::now();
        pulse.beat().await;
        assert!(pulse.judge(true).is_err());
        assert!(before.elapsed() < BEAT);
    }
}
