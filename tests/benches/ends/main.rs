//! What the end of a broker costs its clients, and a start with much that comes back.
//!
//! `cargo bench -p fdbroker-tests --bench ends` measures:
//! - [`deaths`]: from kill -9 of the worker to the first answer, with many descriptors
//! - [`replaced`]: how long a client waits while another broker takes over (`--replace`)
//! - [`starts`]: from exec(2) to the first answer, and peak memory, with and without deposits in the service manager's
//!   store
//!
//! `--deaths`, `--replaced` and `--starts` each ask for a part alone. `--quick`, and `cargo test`, only make sure that
//! it runs.

mod deaths;
mod replaced;
mod starts;

use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::time::Duration;

use fdbroker::{Broker, Index, NewDeposit, Slot, Tag};
use fdbroker_tests::{fixtures, sys};

/// How much is measured.
#[derive(Clone, Copy)]
struct Effort {
    /// How often each.
    times: usize,
    /// Deposits of a worker that dies.
    of_worker: i32,
    /// Deposits that are taken over.
    replaced: [i32; 2],
    /// Deposits that come back.
    stored: i32,
    /// One in so many of those has a payload only: half of the store is one user's at most.
    without: i32,
}

const FULL: Effort =
    Effort { times: 50, of_worker: 7_000, replaced: [1_000, 7_000], stored: 10_000, without: 5 };
const QUICK: Effort =
    Effort { times: 2, of_worker: 100, replaced: [10, 100], stored: 100, without: 5 };

const TAG: Tag = Tag::new(1).unwrap();
const FIRST: Slot = Slot::new(1, 0).unwrap();

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let has = |wanted: &str| arguments.iter().any(|argument| argument == wanted);
    let effort = if has("--quick") || !has("--bench") { QUICK } else { FULL };
    let parts = [
        ("--deaths", deaths::measure as fn(&Effort)),
        ("--replaced", replaced::measure),
        ("--starts", starts::measure),
    ];
    let all = !parts.iter().any(|(part, _)| has(part));
    sys::raise_descriptors();
    for (part, measure) in parts {
        if all || has(part) {
            measure(&effort);
        }
    }
}

/// The policy of each broker.
fn policy() -> String {
    let accepts = fixtures::accepting(r#"["unix-datagram", "none"]"#);
    format!("{accepts}\n[[rules]]\nid = \"operators\"\nallow = [\"operate\"]\nanyone = true\n")
}

/// Deposits so many sockets with this payload; one in `without` is a payload only.
fn deposit(socket: &Path, deposits: i32, payload: &[u8], without: i32) {
    let mut broker = Broker::connect_to(socket).expect("the broker serves");
    for first in (0..deposits).step_by(200) {
        let numbers = first..deposits.min(first + 200);
        let one = |number: i32| {
            let has_socket = without == 0 || number % without != 0;
            (number, has_socket.then(|| OwnedFd::from(UnixDatagram::unbound().unwrap())))
        };
        let sockets: Vec<_> = numbers.map(one).collect();
        let deposits: Vec<NewDeposit<'_>> = sockets
            .iter()
            .map(|(number, socket)| NewDeposit {
                index: Index::new(*number).unwrap(),
                descriptor: socket.as_ref().map(AsFd::as_fd),
                payload,
            })
            .collect();
        let added = broker.add_many(TAG, &deposits).expect("the broker takes them");
        added.into_iter().for_each(|added| added.expect("the broker takes each"));
    }
}

/// One line: the median and the longest.
fn print(name: &str, mut times: Vec<Duration>, aim: Option<Duration>) {
    times.sort();
    let milliseconds = |part: usize| times[(times.len() - 1) * part / 2].as_secs_f64() * 1e3;
    let aim = aim.map(|aim| match times[times.len() - 1] < aim {
        true => format!("   aim {aim:?}, reached"),
        false => format!("   aim {aim:?}, missed"),
    });
    let (p50, max) = (milliseconds(1), milliseconds(2));
    println!("{name:<56} {p50:>8.1} {max:>8.1}{}", aim.unwrap_or_default());
}

fn head(what: &str, times: usize) {
    println!("\n{:<56} {:>8} {:>8}", format!("{what}, {times} times, ms"), "p50", "max");
}
