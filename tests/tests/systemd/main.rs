//! The broker under the machine's own systemd, booted in namespaces, with the units that come with it.
//!
//! - [`applications`]: units of programs that take something from the broker
//! - [`broker`]: the service and its socket
//! - [`connections`]: a connection to a server, with the example drop-in
//! - [`ends`]: how a broker ends
//! - [`hardening`]: what the units leave to the broker
//! - [`leases`]: leases that outlive the broker
//! - [`listeners`]: Unix sockets in a directory that is made again at a restart
//! - [`many`]: what many deposits cost the next broker
//! - [`memory`]: memory that runs out
//! - [`mirror`]: deposits that outlive the broker
//! - [`owners`]: owners of tags that outlive the broker
//! - [`room`]: how much room the service manager has
//! - [`strict`]: deposits that are acknowledged once they outlive the broker
//! - [`units`]: a reload, a drop-in, the catalog of the journal
//! - [`upgrade`]: a server that is upgraded by `systemctl reload`

mod applications;
mod broker;
mod connections;
mod ends;
mod hardening;
mod killed;
mod leases;
mod listeners;
mod many;
mod memory;
mod mirror;
mod owners;
mod room;
mod strict;
mod units;
mod upgrade;
