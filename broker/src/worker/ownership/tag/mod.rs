//! One tag: who owns it, who claims it, and whose requests wait for their turn.
//!
//! The owner is the session that touched a serial tag first, or claimed one that nobody owned. One
//! claim at a time is current; the others queue. While the current one is granted, neither the
//! owner nor the claimant may change anything in the tag: so a claimant that ends before it is
//! ready leaves everything as it was.
//!
//! No I/O. Events go to the queues of the participants concerned, and are kept for the audit trail
//! until it takes them.

mod requests;
mod state;
mod transitions;

pub(crate) use requests::Acquisition;
pub(crate) use state::{OwnerId, OwnershipRefusal, TagOwnership};
