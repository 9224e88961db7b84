//! Sends connections to the closer that it had no time for, and closes here what no closer takes.

use std::time::Duration;

use crate::fd::Depositor;
use crate::worker::state::Worker;
use crate::worker::supervisor_link::closer::{EndedConnection, Next};

/// The pause until the closer is asked again.
const PAUSE: Duration = Duration::from_millis(2);

/// Never ends.
pub(crate) async fn send_unsent(worker: &Worker) {
    loop {
        worker.closers.waits().await;
        loop {
            match worker.closers.send_next() {
                Next::Sent => {}
                Next::Later => tokio::time::sleep(PAUSE).await,
                Next::GivenUp(ended) => close_here(worker, ended),
                Next::Nothing => break,
            }
        }
    }
}

/// Closes it on its user's account. Until that is done, the connection and its unread descriptors
/// count as brought.
fn close_here(worker: &Worker, ended: EndedConnection) {
    let EndedConnection { payer, socket, charge } = ended;
    let brought = worker.quotas.shut_unread(payer);
    worker.close_queue.hold(Depositor::Brought(payer), socket).keep_until_closed((charge, brought));
}
