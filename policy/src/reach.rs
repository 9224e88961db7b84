//! What a policy reaches at all, whoever asks: what is left of a slot when its rules have gone.

use crate::pattern::Pattern;
use crate::right::Rights;
use crate::{Moment, Peer, Policy, Right, Slot};

impl Policy {
    /// Whether some rule allows somebody something on a slot, at a moment or after it. A slot of a tag that is not
    /// declared is out of reach. The cost grows with the rules that cover the slot.
    #[must_use]
    pub fn reaches(&self, slot: Slot, at: Moment) -> bool {
        self.tag(slot.tag).is_some()
            && self.covering(slot).any(|rule| {
                let ended = rule.valid.until.is_some_and(|until| until <= at);
                rule.allow != Rights::NONE && !ended
            })
    }

    /// In how many tags some rule allows a peer something, at a moment. What is denied to it is not taken off. The cost
    /// grows with the number of rules.
    #[must_use]
    pub fn tags_for(&self, peer: &Peer<'_>, at: Moment) -> usize {
        let of_slots = |right: &Right| !right.is_of_broker();
        let rules = self.rules().iter().filter(|rule| {
            Right::ALL
                .iter()
                .filter(|right| of_slots(right))
                .any(|right| rule.allow.contains(*right))
        });
        let mut tags = std::collections::BTreeSet::new();
        for rule in rules.filter(|rule| rule.valid.holds_at(at) && rule.who.includes(peer)) {
            for pattern in &rule.slots {
                match pattern {
                    Pattern::Everything => return self.tags().count(),
                    Pattern::Range { tag, .. } => tags.insert(*tag),
                };
            }
        }
        tags.len()
    }
}
