//! What goes on beside the sessions.

pub(crate) mod closing;
pub(crate) mod floods;
pub(crate) mod full_table;
pub(crate) mod policies;
pub(crate) mod read;
