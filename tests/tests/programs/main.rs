//! Whole programs with a broker, each run as a reader would run it.
//!
//! - [`chat`], [`counter`], [`drain`], [`echo`], [`http`], [`udp`]: the programs of `examples/`
//! - [`demonstration`]: the README's demonstration
//! - [`servers`]: servers that others wrote

mod chat;
mod counter;
mod demonstration;
mod drain;
mod echo;
mod http;
mod servers;
mod udp;
