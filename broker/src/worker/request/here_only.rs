//! Which deposits are lost when the broker ends, although a service manager keeps others: the supervisor knows.

use std::collections::BTreeSet;

use fdbroker_wire::{Control, Slot};

use crate::worker::state::Worker;

/// Those among these slots, which are in ascending order. Without a supervisor there are none to tell, and this worker
/// ends.
pub(crate) async fn among(worker: &Worker, slots: &[Slot]) -> BTreeSet<Slot> {
    let (Some(&first), Some(&last)) = (slots.first(), slots.last()) else {
        return BTreeSet::new();
    };
    let asked = worker.link.ask(|ticket| Control::HereOnly { ticket, first, last }).await;
    let Ok(Ok(told)) = asked else { return BTreeSet::new() };
    told.split(' ').filter_map(|slot| slot.parse().ok()).collect()
}
