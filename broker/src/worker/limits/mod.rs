//! How much each user may have of the broker, and how that is kept count of.

pub(in crate::worker) mod forgetful;
pub(in crate::worker) mod in_flight;
pub(in crate::worker) mod loop_time;
pub(in crate::worker) mod quota;
pub(in crate::worker) mod rate;
mod table;
pub(in crate::worker) mod users;
