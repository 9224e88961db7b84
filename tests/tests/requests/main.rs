//! What peers ask for, and what is recorded of it.
//!
//! - [`inspection`]: all that one sees who may inspect the broker
//! - [`listing`]: names, listings and the status, of version 2 of the protocol
//! - [`many`]: many slots in one message
//! - [`operation`]: a worker without privileges, and a record of each decision
//! - [`runs`]: one record for neighbours of which the same came
//! - [`trail`]: the audit trail in a file

mod inspection;
mod listing;
mod many;
mod operation;
mod runs;
mod trail;
