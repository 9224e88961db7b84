//! The broker written a second time, with nothing of the first: what each request must come to.
//!
//! From the documentation alone: docs/policy.md for who may do what, docs/protocol.md for what is
//! answered and who owns a tag. One thing after the other, everything in memory, the simplest way
//! that can be right. Where the two differ, one of them is wrong.

mod broker;
mod expected;
pub mod ownership;
mod policy;
mod random;
mod request;

pub use broker::{Broker, SessionOf};
pub use expected::{Expected, Held};
pub use policy::{INDICES, Policy, RESOURCE, TAGS, UNDECLARED, Who};
pub use random::Random;
pub use request::Request;
