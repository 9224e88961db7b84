//! A descriptor table that stays full of what users brought: then this worker ends, and another one
//! begins with an empty table.
//!
//! While it is full, the worker reads from nobody, and cuts off a waiting peer after a second. So
//! it is no loss for others if the worker ends after as long. A moment's crowd, which is closed as
//! soon as there is time for it, ends nothing. The supervisor decides how soon the next worker
//! starts: the more workers have ended soon after each other, the longer the pause.

use std::time::Duration;

use crate::worker::state::Worker;

/// How often it is looked whether the table is still full, and with which pause: a second.
const LOOKS: u32 = 20;
const PAUSE: Duration = Duration::from_millis(50);

/// Waits until the table has been full for a second; returns what is to be said of it.
pub(crate) async fn stays_full(worker: &Worker) -> String {
    loop {
        worker.quotas.crowded().await;
        if stays(worker).await {
            return told(worker);
        }
    }
}

async fn stays(worker: &Worker) -> bool {
    for _ in 0..LOOKS {
        if !worker.quotas.is_full() {
            return false;
        }
        tokio::time::sleep(PAUSE).await;
    }
    worker.quotas.is_full()
}

fn told(worker: &Worker) -> String {
    let most = worker.quotas.foremost().map(|payer| format!(" (most of them: user {payer})"));
    format!(
        "the descriptor table stays full of descriptors that users sent{}; end those users' \
         processes that are blocked in the kernel, or raise LimitNOFILE=",
        most.unwrap_or_default()
    )
}
