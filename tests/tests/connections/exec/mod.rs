//! Unmodified programs with sessions of the broker's, by `fdbroker exec`.
//!
//! - [`deposited`]: connections that a user has deposited, who may lie
//! - [`http_proxy`]: curl, by a proxy that asks for CONNECT
//! - [`mysql`]: mysql, and PyMySQL
//! - [`postgres`]: psql and pgbench; signals, the end, and what is left behind: nothing
//! - [`redis`]: redis-cli, redis-benchmark and redis-py
//! - [`relay`]: what holds for the relays of all protocols
//! - [`socks5`]: curl, by a proxy

mod caller;
mod deposited;
mod http_proxy;
mod mysql;
mod postgres;
mod redis;
mod relay;
mod socks5;

pub use caller::{Caller, PYTHON, has_python};
