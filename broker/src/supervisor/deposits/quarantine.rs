//! Which deposit kills each worker.
//!
//! A worker that panics says, with its last message, on which slot it was at work. If three die on
//! the same one within a minute, the deposit there is set aside: the next worker is not given it.

use std::time::Duration;

use fdbroker_wire::Slot;
use tokio::time::Instant;

/// How many workers have to die on the same slot, and within which time.
const DEATHS: u32 = 3;
const WITHIN: Duration = Duration::from_secs(60);

/// On what workers have died.
#[derive(Default)]
pub(crate) struct Quarantine {
    /// What the worker that dies now has named.
    named: Option<Slot>,
    /// The slot that the last dead workers named, how many in a row, and since when.
    last: Option<(Slot, u32, Instant)>,
}

impl Quarantine {
    /// The worker has named a slot, and is about to die.
    pub(crate) fn name(&mut self, slot: Slot) {
        self.named = Some(slot);
    }

    /// A worker has died. Returns the slot that has killed enough of them.
    pub(crate) fn after_death(&mut self) -> Option<Slot> {
        let Some(slot) = self.named.take() else {
            self.last = None;
            return None;
        };
        let (count, since) = match self.last {
            Some((last, count, since)) if last == slot && since.elapsed() < WITHIN => {
                (count + 1, since)
            }
            _ => (1, Instant::now()),
        };
        self.last = (count < DEATHS).then_some((slot, count, since));
        (count >= DEATHS).then_some(slot)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn die(quarantine: &mut Quarantine, slot: Slot) -> Option<Slot> {
        quarantine.name(slot);
        quarantine.after_death()
    }

    #[tokio::test(start_paused = true)]
    async fn three_workers_that_die_on_one_slot_convict_it() {
        let (mut quarantine, slot) = (Quarantine::default(), Slot::new(1, 5).unwrap());
        assert_eq!(die(&mut quarantine, slot), None);
        assert_eq!(die(&mut quarantine, slot), None);
        assert_eq!(die(&mut quarantine, slot), Some(slot));
        assert_eq!(die(&mut quarantine, slot), None, "it starts over");
    }

    #[tokio::test(start_paused = true)]
    async fn a_death_for_another_reason_or_long_after_clears_it() {
        let (mut quarantine, slot) = (Quarantine::default(), Slot::new(1, 5).unwrap());
        for _ in 0..2 {
            assert_eq!(die(&mut quarantine, slot), None);
        }
        assert_eq!(quarantine.after_death(), None);
        for _ in 0..2 {
            assert_eq!(die(&mut quarantine, slot), None);
        }
        tokio::time::advance(WITHIN).await;
        assert_eq!(die(&mut quarantine, slot), None);
    }
}
