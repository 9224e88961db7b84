//! Who owns a tag: claims, events and serial tags, spoken with bytes.
//!
//! - [`events`]: events on a connection, between answers
//! - [`restart`]: the worker dies in the middle of a hand-over
//! - [`serial`]: tags marked serial
//! - [`takeover`]: who may take a tag over, in which order, and how that ends

mod events;
mod restart;
mod serial;
mod takeover;
