//! The clients against a real daemon: the library's three, the command, C and Python.
//!
//! - [`capi`]: libescrow, the library for C
//! - [`claims`]: claims with the library
//! - [`command`]: the command `fdbroker`
//! - [`escrow`]: clients that are not ours
//! - [`on_tokio`]: the client on tokio
//! - [`polled`]: the client that never waits
//! - [`python`]: the client for Python

mod capi;
mod claims;
mod command;
mod escrow;
mod on_tokio;
mod polled;
mod python;
