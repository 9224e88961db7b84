//! Names users to the supervisor of whom very many connections come to nothing.

use fdbroker_wire::Control;

use crate::worker::state::Worker;

/// Never ends.
pub(crate) async fn tell_of_floods(worker: &Worker) {
    loop {
        let uid = worker.arrivals.next_flood().await;
        // It fails when the supervisor has gone; then this worker ends too.
        let _ = worker.link.lock().await.control(Control::Flood { uid: uid.0 }).await;
    }
}
