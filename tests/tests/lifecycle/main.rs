//! How the daemon starts and ends, and what befalls its two processes in between, from signals to a
//! worker that cannot die: the broker goes on, and the deposits stay.
//!
//! - [`absent`]: resources that are not there at start, and devices that come back
//! - [`hanging`], [`stuck`]: a worker that hangs, or that no signal ends
//! - [`last_good`]: a start with a policy that does not load
//! - [`listener`]: the listening socket
//! - [`names`]: names of the policy that nobody has, or that cannot be looked up
//! - [`quarantine`]: a worker that dies of what it is given
//! - [`replace`]: a new broker takes over from one that runs
//! - [`restart`]: kills of the worker under load
//! - [`signals`]: signals to both
//! - [`startup`]: how the daemon starts and ends, and what keeps it from starting
//! - [`takes`]: deposits that are being taken
//! - [`unwatched`]: a user without inotify instances

mod absent;
mod hanging;
mod last_good;
mod listener;
mod names;
mod quarantine;
mod replace;
mod restart;
mod signals;
mod startup;
mod stuck;
mod takes;
mod unwatched;

use fdbroker_tests::{Daemon, fixtures, wait_until};

/// A daemon where anyone may do anything, and ask for the status.
fn daemon() -> Daemon {
    const OPERATORS: &str = "[[rules]]\nid = \"operators\"\nallow = [\"operate\"]\nanyone = true\n";
    Daemon::with_policy(&format!("{}{OPERATORS}", fixtures::OPEN)).start()
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
