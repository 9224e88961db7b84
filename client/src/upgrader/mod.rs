//! Upgrades without downtime, and recovery from a crash: what one process of a program hands on to
//! the next, under names.
//!
//! An [`Upgrader`] claims a tag of the broker that is the program's own. It inherits what its
//! predecessor deposited there; the same call makes a socket that is missing:
//!
//! ```no_run
//! use std::net::TcpListener;
//!
//! use fdbroker::Upgrader;
//!
//! let upgrader = Upgrader::builder("10".parse()?).start()?;
//! let listener: TcpListener = upgrader.listen("http", "0.0.0.0:80")?;
//! // … whatever else it takes to serve …
//! upgrader.ready()?;
//! # let serve = |_: &TcpListener| {};
//! std::thread::scope(|scope| {
//!     scope.spawn(|| serve(&listener));
//!     // Another process of the program was started, and is ready.
//!     upgrader.upgrade_complete()
//! })?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! A tag is one program's: what another one has left there is taken by nobody else, see [`Builder::program`].
//!
//! The names are the keys. A socket that was inherited has to be bound where it is asked for, unless
//! [`Builder::any_address`] says otherwise.
//!
//! - **Live** ([`crate::Mode::Live`]): the predecessor serves until [`Upgrader::ready`]. Right for
//!   sockets that others come to.
//! - **Quiesced** ([`crate::Mode::Quiesced`]): the predecessor hears of it by
//!   [`Upgrader::next`], stops, stores its connections with their state, and says
//!   [`Upgrader::release`]; only then [`Builder::start`] returns in the new process.
//!
//! A new process that ends, fails or is not ready in time has changed nothing. A process that is
//! killed leaves everything to the next one, which may be started before or after that.

mod address;
mod bind_unix;
mod builder;
mod connection_state;
mod drain;
mod due;
mod error;
mod group;
mod group_order;
mod handle;
mod inherit;
mod inventory;
mod lifecycle;
mod named;
mod options;
pub(crate) mod payload;
mod program;
mod reachable;
pub(crate) mod shared;
mod snapshot;
mod socket_file;
mod socket_kind;
mod state_machine;
mod steering;
mod store;
mod surplus;
#[cfg(feature = "tokio")]
mod tokio_sockets;

mod watch;
mod whereabouts;

pub use address::Address;
pub use builder::Builder;
pub use connection_state::ConnectionState;
pub use drain::Drain;
pub use error::UpgradeError;
pub use handle::Upgrader;
pub use inherit::{Connecting, Inherit, Listening};
pub use options::{BindAddress, ConnectAddress, Options};
pub use payload::Role;
pub use socket_kind::SocketKind;
pub use state_machine::{Claimant, Happening};
pub use store::Stored;
pub use surplus::Surplus;
