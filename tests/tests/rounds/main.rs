//! The broker ends and comes back, in each way in turn, beside a service whose thousand connections have traffic all
//! the time: no connection breaks, no byte is lost, no deposit is missing, and no owner has changed.
//!
//! A program of its own: it measures how long a client of the broker waits, so nothing else of the suite runs
//! beside it, and its tests run one after the other. `FDBROKER_ROUNDS` says how often each way has its turn.
//!
//! - [`by_hand`]: a broker without a service manager, which is replaced
//! - [`course`]: a round, and what it took
//! - [`held`]: what others have deposited, own and hold
//! - [`installed`]: the package, under the machine's own systemd
//! - [`serving`]: the service and its clients, as a round sees them
//! - [`site`]: where all of them run

mod by_hand;
mod course;
mod held;
mod installed;
mod serving;
mod site;
