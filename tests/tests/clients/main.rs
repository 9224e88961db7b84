//! The clients against a real daemon: the library's three, the command, C and Python.
//!
//! - [`capi`]: libescrow, the library for C
//! - [`claims`]: claims with the library
//! - [`command`]: the command `fdbroker`
//! - [`connection`]: the payload of a connection, read by each
//! - [`escrow`]: clients that are not ours
//! - [`on_tokio`]: the client on tokio
//! - [`polled`]: the client that never waits
//! - [`python`]: the client for Python

mod capi;
mod claims;
mod command;
mod connection;
mod escrow;
mod on_tokio;
mod polled;
mod python;
