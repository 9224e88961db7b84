//! A service with many connections that have traffic all the time, its clients, and a client of the broker that
//! measures how long it waits.
//!
//! The service deposits its connections, and takes them back after its own restart. Each byte has a number, and each
//! end looks at each byte: so none is lost, doubled or exchanged unseen. Each of them is a process of its own,
//! [`program::Program`], and does what it is told on its standard input.
//!
//! - [`numbered`]: the bytes
//! - [`stream`]: one end of a connection
//! - [`pump`]: many of them
//! - [`service`], [`clients`], [`asker`], [`echo`]: the processes
//! - [`orders`]: what they are told, and what they answer
//! - [`program`]: such a process, as a test has it

pub mod asker;
pub mod clients;
pub mod echo;
pub mod numbered;
pub mod orders;
pub mod program;
pub mod pump;
pub mod service;
pub mod stream;
