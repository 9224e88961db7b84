//! What follows when the supervisor has read its policy again.

use fdbroker_wire::{Control, Setup};
use tokio::sync::mpsc::UnboundedReceiver;

use crate::worker::policy::active::Rules;
use crate::worker::request::orphans;
use crate::worker::state::Worker;

/// Puts each policy that the supervisor sends in force.
///
/// # Errors
/// When one does not read as it did at the supervisor: another worker must begin with it then.
pub(crate) async fn apply_policies(
    worker: &Worker,
    mut coming: UnboundedReceiver<Setup>,
) -> Result<(), String> {
    while let Some(setup) = coming.recv().await {
        // A large policy takes its time, in which others are served under the old one.
        let read = tokio::task::spawn_blocking(|| Rules::read(setup)).await;
        let rules = read.map_err(|error| error.to_string())??;
        let generation = rules.generation;
        worker.quotas.limit(rules.policy.settings());
        worker.audit.follow(&rules.policy, &rules.payers);
        worker.policy.swap(rules);
        worker.log().info(&format!("policy {generation} is in force"));
        orphans::tell(worker).await;
        // It fails when the supervisor has gone; then this worker ends too.
        let _ = worker.link.lock().await.control(Control::InForce { generation }).await;
    }
    Ok(())
}
