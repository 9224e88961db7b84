//! Long runs: many users, many slots, random requests.
//!
//! A program of its own: two of its tests raise its limit of descriptors, which each daemon that it starts
//! inherits.
//!
//! The siege takes the whole machine and looks at what it leaves: it runs alone
//! ([`fdbroker_tests::turns`]).
//!
//! - [`fairness`]: no user keeps the broker from serving another
//! - [`model`]: the broker beside a model of it
//! - [`scale`]: many slots, descriptors and peers at once
//! - [`siege`]: many users, a quarter of them hostile

mod fairness;
mod model;
mod scale;
mod siege;
