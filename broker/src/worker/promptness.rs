//! Whether a peer asks again at once: then its next request is there as soon as the last one has been
//! answered, and to look costs less than to wait for the event loop's word.
//!
//! It is so where both share a processor, and the peer runs as soon as it has its answer. Where they do
//! not, each look is in vain.

/// What has been found of one peer of late.
#[derive(Default)]
pub(super) struct Promptness {
    /// The larger, the more of the last looks have found something.
    score: u8,
    /// How many looks have been left out.
    left_out: u8,
}

/// From this score on looks are worth it.
const WORTH: u8 = 4;
/// What is gained by a look that finds something; one that does not costs 1.
const GAIN: u8 = 2;
const HIGHEST: u8 = 3 * WORTH;
/// When none is worth it, one in so many is done all the same.
const EVERY: u8 = 16;

impl Promptness {
    /// Whether to look, now that the peer has been answered.
    pub(super) fn is_expected(&mut self) -> bool {
        self.left_out += 1;
        let due = self.score >= WORTH || self.left_out >= EVERY;
        if due {
            self.left_out = 0;
        }
        due
    }

    /// Whether a look has found something.
    pub(super) fn note(&mut self, found: bool) {
        self.score = match found {
            true => (self.score + GAIN).min(HIGHEST),
            false => self.score.saturating_sub(1),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::{EVERY, Promptness};

    /// How many of so many requests are looked for, of a peer that is prompt or not.
    fn looks(peer: &mut Promptness, requests: u32, prompt: impl Fn(u32) -> bool) -> u32 {
        let mut looks = 0;
        for request in 0..requests {
            if peer.is_expected() {
                looks += 1;
                peer.note(prompt(request));
            }
        }
        looks
    }

    #[test]
    fn a_prompt_peer_is_soon_looked_for_each_time() {
        let mut peer = Promptness::default();
        looks(&mut peer, 3 * u32::from(EVERY), |_| true);
        assert_eq!(looks(&mut peer, 100, |_| true), 100);
        assert_eq!(looks(&mut peer, 100, |request| request % 2 == 0), 100, "half is enough");
    }

    #[test]
    fn a_peer_that_takes_its_time_is_looked_for_now_and_then() {
        let mut peer = Promptness::default();
        looks(&mut peer, 3 * u32::from(EVERY), |_| true);
        looks(&mut peer, 100, |_| false);
        assert_eq!(looks(&mut peer, 10 * u32::from(EVERY), |_| false), 10);
    }
}
