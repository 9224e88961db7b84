//! The end of a process that was sent everything, and did not take over: it must not keep duplicates of deposits.

use std::time::Duration;

use rustix::process::{Signal, pidfd_send_signal};
use tokio::time::{sleep, timeout};

use super::process::{BrokerProcess, STEP};

/// How long it may take to end by itself, once its connection is closed: so it can say why it failed.
const GRACE: Duration = Duration::from_secs(1);
/// How long it may take to be gone after SIGKILL.
const AFTER_KILL: Duration = Duration::from_secs(2);

/// Waits until a process has ended by itself, or ends it; returns which of the two.
///
/// # Errors
/// Why it goes on.
pub(crate) async fn end(process: &BrokerProcess) -> Result<&'static str, String> {
    if timeout(GRACE, ends(process)).await.is_ok() {
        return Ok("it has ended");
    }
    let Some(pidfd) = process.pidfd() else { return Err(UNCERTAIN.to_owned()) };
    pidfd_send_signal(pidfd, Signal::KILL).map_err(|error| error.to_string())?;
    let ended = timeout(AFTER_KILL, ends(process)).await;
    ended.map(|()| "it hung, and was killed").map_err(|_| SLEEPS.to_owned())
}

const UNCERTAIN: &str = "it is not certain which process it is, before Linux 6.5";
const SLEEPS: &str = "it does not die of SIGKILL, since the kernel keeps one of its threads";

/// Waits until it has ended, or its main thread has.
async fn ends(process: &BrokerProcess) {
    while !process.has_ended() {
        sleep(STEP).await;
    }
}
