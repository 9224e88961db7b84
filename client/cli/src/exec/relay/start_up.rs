//! How long a start-up may take: what a client says before bytes are copied, and what a server answers to it.

use std::io;
use std::time::Duration;

use tokio::time::timeout;

/// The longest time of one step.
const LIMIT: Duration = Duration::from_secs(60);

/// Waits for one step.
///
/// # Errors
/// TimedOut; as the step.
pub(super) async fn in_time<T>(step: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    timeout(LIMIT, step).await?
}
