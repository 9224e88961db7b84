//! How much each user may have of the broker, and how that is kept count of.

pub(crate) mod arrivals;
pub(crate) mod forgetful;
pub(crate) mod in_flight;
pub(crate) mod loop_time;
pub(crate) mod quota;
pub(crate) mod rate;
pub(crate) mod room_wait;
mod table;
pub(crate) mod users;
