//! Questions of the worker: when does a change of a slot outlive the broker?

use std::time::Duration;

use fdbroker_wire::{Errno, Slot};
use tokio::time::Instant;

/// How long the service manager may take to have read a change.
const LONGEST: Duration = Duration::from_secs(10);

/// An answer.
pub(crate) type Told = Result<String, (Errno, String)>;

/// Those without an answer.
#[derive(Default)]
pub(super) struct Waiting(Vec<Question>);

struct Question {
    ticket: u32,
    slot: Slot,
    until: Instant,
}

impl Waiting {
    pub(super) fn add(&mut self, ticket: u32, slot: Slot) {
        self.0.push(Question { ticket, slot, until: Instant::now() + LONGEST });
    }

    /// Takes those that have an answer.
    pub(super) fn answers(
        &mut self,
        outlives: impl Fn(Slot) -> Result<bool, (Errno, &'static str)>,
    ) -> Vec<(u32, Told)> {
        let (now, mut answers) = (Instant::now(), Vec::new());
        self.0.retain(|Question { ticket, slot, until }| {
            let answer = match outlives(*slot) {
                Ok(true) => Ok(String::new()),
                Ok(false) if now < *until => return true,
                Ok(false) => Err((Errno::TIMEDOUT, late())),
                Err((errno, why)) => Err((errno, why.to_owned())),
            };
            answers.push((*ticket, answer));
            false
        });
        answers
    }
}

fn late() -> String {
    format!("the service manager did not take the change in {} s", LONGEST.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn each_question_is_answered_once_and_in_time() {
        let slot = |index| Slot::new(1, index).unwrap();
        let mut waiting = Waiting::default();
        for index in 0..3_i32 {
            waiting.add(10 + index.unsigned_abs(), slot(index));
        }
        let outlives = |asked: Slot| match asked.index.get() {
            0 => Ok(true),
            1 => Err((Errno::OPNOTSUPP, "no")),
            _ => Ok(false),
        };
        let refused = Err((Errno::OPNOTSUPP, "no".to_owned()));
        assert_eq!(waiting.answers(outlives), [(10, Ok(String::new())), (11, refused)]);
        assert_eq!(waiting.answers(outlives), []);
        tokio::time::advance(LONGEST).await;
        assert_eq!(waiting.answers(outlives), [(12, Err((Errno::TIMEDOUT, late())))]);
        assert_eq!(waiting.answers(|_| Ok(true)), []);
    }
}
