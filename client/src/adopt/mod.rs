//! Connections that the broker has made, for clients that expect to log in themselves.
//!
//! The start-up that such a client waits for is over. What the server said then comes out of the payload.

pub mod postgres;
