//! The session whose requests block until they are answered.

mod broker;
mod connection;
mod events;
mod methods;

pub use broker::Broker;
