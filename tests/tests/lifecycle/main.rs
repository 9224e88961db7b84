//! What befalls the daemon's two processes, from signals to a worker that cannot die: the broker
//! goes on, and the deposits stay.

mod hanging;
mod listener;
mod quarantine;
mod signals;
mod stuck;
mod takes;

use fdbroker_tests::{Daemon, sample, wait_until};

/// A daemon where anyone may do anything, and ask for the status.
fn daemon() -> Daemon {
    const OPERATORS: &str = "[[rules]]\nid = \"operators\"\nallow = [\"operate\"]\nanyone = true\n";
    Daemon::with_policy(&format!("{}{OPERATORS}", sample::OPEN)).start()
}

/// Whether the status has a line.
fn status_has(daemon: &Daemon, line: &str) -> bool {
    daemon.says(&["status"]).lines().any(|said| said == line)
}

/// Waits until the log has a text.
#[track_caller]
fn logs(daemon: &Daemon, text: &str) {
    wait_until(text, || daemon.log().text().contains(text));
}
