//! What lies in the slots, and what may.

pub(crate) mod deposit;
pub(crate) mod kind;
pub(crate) mod leaving;
pub(crate) mod pending_take;
pub(crate) mod slots;
