//! What follows when an answer has been sent, or could not be: what it takes leaves its slots, or stays.

use super::batch::Takes;
use super::{slots, takers};
use crate::worker::disconnected::Disconnected;
use crate::worker::limits::loop_time::Turn;
use crate::worker::state::Worker;

/// Deletes what has been given away.
///
/// # Errors
/// If the supervisor has gone.
pub(crate) async fn commit(takes: Takes, worker: &Worker, turn: &Turn) -> Result<(), Disconnected> {
    for taken in takes.reservations {
        turn.take().await;
        slots::take(worker, &takes.requester, &takes.participant, &taken).await?;
    }
    Ok(())
}

/// Leaves everything where it is, for everybody.
pub(crate) async fn call_off(takes: Takes, worker: &Worker) {
    // Without a supervisor there is nothing to be undone.
    let _ = takers::call_off(worker, takes.tag, &takes.reservations).await;
}
