//! How much of the broker each user may use: connections, deposits, bytes.
//!
//! A user is charged before the broker holds anything, and until the charge is dropped. For a
//! descriptor that is when its close(2) has ended: what is slow to close stays on its owner's
//! account.

mod brought;
mod charge;
mod connections;
mod deposits;
mod exceeded;
mod holding;
mod quotas;

pub(crate) use charge::{
    BroughtCharge, ConnectionCharge, DepositCharge, LateCharge, OpeningCharge, Reader,
};
pub(crate) use exceeded::Exceeded;
pub(crate) use holding::Holding;
pub(crate) use quotas::Quotas;
