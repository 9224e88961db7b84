//! Client of a privileged file-descriptor broker.
//!
//! A broker keeps *deposits* — a descriptor, a payload of up to 32 KiB, or both — in *slots*
//! written `tag/index`, and opens *resources* for callers that its policy allows. This crate
//! is the client of its protocol, versions 1 and 2. One that blocks:
//!
//! ```no_run
//! use std::os::fd::AsFd;
//!
//! let mut broker = fdbroker::Broker::connect()?;
//! let slot = "10/3".parse()?;
//! let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
//! broker.add(slot, Some(listener.as_fd()), b"what the next instance should know")?;
//!
//! let deposit = broker.get(slot)?;
//! let listener = std::net::TcpListener::from(deposit.descriptor.expect("it was deposited"));
//! broker.del(slot)?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! It trusts a broker that runs as root or as the caller itself, and no other unless told so
//! (see [`Trust`]). Every descriptor received is close-on-exec and owned; whatever a broken
//! answer brought is closed. When the broker is restarted, requests are repeated: see
//! [`Broker`] for what that means.
//!
//! [`Polled`] never waits, and has a descriptor to poll. With the feature `tokio`,
//! `fdbroker::tokio::Broker` is one whose requests are futures. All of them can take a tag over
//! from another process, and be told of who wants to take it: see [`Broker::claim`].
#![forbid(unsafe_code)]

pub mod adopt;
mod blocking;
mod core;
mod deposit;
#[doc(hidden)]
pub mod environment;
mod error;
#[cfg(fuzzing)]
#[doc(hidden)]
pub mod fuzzing;
mod polled;
mod request;
mod shown;
#[cfg(feature = "tokio")]
pub mod tokio;
mod transport;
mod unreceived;
pub mod upgrader;

pub use blocking::Broker;
pub use deposit::{Deposit, ManyDeposits, NewDeposit};
pub use error::{Attempt, Error, Feature, Operation};
pub use fdbroker_wire::claim::{Claimed, Event, Mode, State, What};
pub use fdbroker_wire::connection;
pub use fdbroker_wire::version2::{Entry as Listed, Found, Inspected, Kind, Route};
pub use fdbroker_wire::{Connection, Errno, Index, Info, MAX_PAYLOAD, NotANumber, Slot, Tag};
pub use polled::{Outcome, Polled, Ticket};
pub use transport::connector::{Connector, default_socket};
pub use transport::trust::Trust;
pub use upgrader::{UpgradeError, Upgrader};

/// The example of the README, so that it stays one that compiles.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;

/// The examples of the page about the library; those of every client, so that all have to be there.
#[cfg(all(doctest, feature = "tokio"))]
#[doc = include_str!("../../docs/library.md")]
struct Library;

/// Likewise.
#[cfg(all(doctest, feature = "tokio"))]
#[doc = include_str!("../../docs/upgrader.md")]
struct UpgraderPage;
