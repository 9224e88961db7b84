//! The slots: their deposits, and which deposits are accepted.

pub(crate) mod deposit;
pub(crate) mod own_sockets;
pub(crate) mod pending_closes;
pub(crate) mod pending_take;
pub(crate) mod slots;
