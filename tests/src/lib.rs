//! The harness of the integration tests: a real daemon, peers that keep to no rule, other users.
//!
//! Every test starts a daemon of its own ([`Daemon`]) in a directory of its own. It talks to it
//! with bytes that it makes itself ([`Peer`]). If another user has to do so, a helper process that
//! has become that user does ([`HelperProcess`]). Nothing here waits by hoping: [`wait_until`] looks for a
//! condition and gives up after [`PATIENCE`], which only a hang can reach.
//!
//! Where the broker is to run under a service manager, the machine's own is booted in namespaces
//! ([`systemd::ServiceManager`]).
//!
//! What needs root or a feature of the kernel is skipped aloud, with [`skip`].

pub mod answer;
pub mod authority;
pub mod binaries;
pub mod builder;
pub mod claims;
pub mod command;
pub mod daemon;
pub mod directory;
pub mod example;
pub mod fixtures;
mod fuse;
pub mod helper_process;
pub mod helper_protocol;
pub mod hostile;
pub mod ids;
pub mod keeper;
pub mod load;
pub mod log;
mod mail;
pub mod mariadb;
pub mod model;
pub mod newcomer;
pub mod package;
pub mod peer;
pub mod port;
pub mod postgres;
pub mod process;
pub mod proxy;
mod redis;
pub mod request;
pub mod siege;
mod silent;
pub mod skipped;
mod small_disk;
pub mod socket;
mod sshd;
mod started;
pub mod starting;
pub mod stuck;
pub mod sys;
pub mod systemd;
pub mod traffic;
pub mod turns;
pub mod unflushed;
pub mod upgraded_process;
pub mod upgrades;
mod virtual_machine;
pub mod waiting;

pub use answer::Answer;
pub use authority::{Authority, Signed};
pub use builder::{Builder, WORKER};
pub use command::Said;
pub use daemon::Daemon;
pub use directory::Directory;
pub use example::Example;
pub use helper_process::HelperProcess;
pub use ids::{Ids, is_root};
pub use log::{Line, Log};
pub use mail::{Encryption, MailServer};
pub use mariadb::MariaDb;
pub use peer::Peer;
pub use postgres::Postgres;
pub use process::Descriptors;
pub use proxy::Proxy;
pub use redis::Redis;
pub use request::Place;
pub use silent::SilentFiles;
pub use skipped::{needs_root, skip};
pub use small_disk::SmallDisk;
pub use sshd::Sshd;
pub use virtual_machine::VirtualMachine;
pub use waiting::{PATIENCE, happens_within, wait_for, wait_until};
