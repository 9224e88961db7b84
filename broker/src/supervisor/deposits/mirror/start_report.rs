//! What the log says of that which came back from the store, and of what did not.

use fdbroker_wire::Slot;

use super::journal::{Damage, Entries};
use super::journals::Unreadable;
use crate::log::Log;
use crate::supervisor::deposits::counted_slots::CountedSlots;

/// What the last broker had beyond its journal is known to nobody: nothing is said of how much that was.
pub(super) fn tell_restored(restored: usize, lost: &[Slot], log: &Log) {
    let said = format!(
        "deposits restored from the service manager's store: {restored}; lost, since their \
         descriptors are not there, are there twice, or cannot be duplicated: {}; deposits that only the last broker \
         had (here-only) are lost too, and no journal names them",
        CountedSlots(lost)
    );
    if lost.is_empty() { log.info(&said) } else { log.error(&said) }
}

/// What to say where the last broker's journal is not the one that is used, or not as a whole.
pub(super) fn tell_journals(
    number: u64,
    unreadable: &[Unreadable],
    entries: &Entries,
    log: &Log,
) -> Option<String> {
    for (_, problem) in unreadable.iter().filter(|(same, _)| *same == number) {
        log.warn(&format!(
            "the service manager's store has a second descriptor under the name of the journal of \
             the deposits, which {problem}; it is not used"
        ));
    }
    if let Some((_, problem)) = unreadable.iter().find(|(newer, _)| *newer > number) {
        return Some(format!(
            "the newest journal of the deposits {problem}; an older one is used: what was deposited \
             since is lost, and what was deleted since can come back"
        ));
    }
    let Damage { problem, lost, .. } = entries.damage.as_ref()?;
    Some(format!(
        "the journal of the deposits {problem}; what stands before that comes back; the {lost} bytes \
         from there on are lost: newer deposits, and what was deleted can come back"
    ))
}

/// Descriptors came back, and nothing says whose they are.
pub(super) fn tell_without_journal(discarded: usize, unreadable: &[Unreadable], log: &Log) {
    if let Some((_, problem)) = unreadable.first() {
        log.error(&format!(
            "the journal of the deposits {problem}; what the last broker had is lost; descriptors \
             that came back without it, and are closed: {discarded}"
        ));
    } else if discarded > 0 {
        log.error(&format!(
            "descriptors that came back from the service manager's store without the journal of \
             the deposits, and are closed: {discarded}; what the last broker had is lost: the \
             service manager keeps fewer than it did; raise FileDescriptorStoreMax= of the unit, \
             run systemctl daemon-reload, and deposit again"
        ));
    }
}
