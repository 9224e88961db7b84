//! Descriptors whose close(2) sleeps in the kernel for as long as an attacker likes: the user who
//! brought them waits for them, and nobody else.
//!
//! A program of its own: whose close is the last decides each test, and a process that starts others has
//! a duplicate of each descriptor for a moment, in the child. Here as few as possible are started.
//!
//! - [`account`]: on whose account it stays, also under the next worker
//! - [`answered`]: the answer that waits for it
//! - [`backlog`]: connections that nobody accepted, with descriptors in them
//! - [`in_flight`]: descriptors that peers let lie unread
//! - [`out_of_band`]: descriptors sent with MSG_OOB
//! - [`page`]: a page that never comes
//! - [`pipe`]: a pipe whose mutex is held
//! - [`stop`]: stopping the broker while it sleeps
//! - [`table`]: descriptor tables that fill up by it

mod account;
mod answered;
mod backlog;
mod in_flight;
mod out_of_band;
mod page;
mod pipe;
mod stop;
mod table;

use std::time::{Duration, Instant};

use fdbroker_tests::{Daemon, PATIENCE, Peer, fixtures, happens_within, process};

/// How often others ask, to show that they are served: enough to need the supervisor's answers.
const ROUNDS: usize = 100;

/// Serves others while something sleeps: the worker, and behind it the supervisor, whose answers are
/// needed for so many changes.
#[track_caller]
fn serves_others(daemon: &Daemon, bystander: &mut Peer, slot: (i16, i32)) {
    let start = Instant::now();
    for _ in 0..ROUNDS {
        bystander.is_served(slot);
    }
    daemon.connect().is_served(slot);
    assert!(start.elapsed() < PATIENCE, "others waited {:?}", start.elapsed());
    // Also the supervisor's loop.
    daemon.reload(&policy());
}

/// Everybody may do anything in tag 1, which accepts sockets within sockets too.
fn policy() -> String {
    fixtures::accepting(r#"["tcp", "file", "pipe", "unix", "epoll", "none"]"#)
}

/// Whether a process has this thread in the kernel's sleep that nothing ends, for a moment at least.
fn sleeps(process: u32) -> bool {
    fdbroker_tests::stuck::sleeping_thread(process);
    !happens_within(Duration::from_millis(50), || !process::runs(process))
}
