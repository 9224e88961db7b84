//! What a lease is: the supervisor that has it notes this, and tells it to the next one.

use super::Described;
use crate::Slot;
use crate::fields::{Body, Fields};

/// What somebody has on terms. Its times mean the same to every process of this kernel.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Lease {
    /// Its number.
    pub number: u64,
    /// The resource's name.
    pub resource: String,
    /// The slot of the resource.
    pub slot: Slot,
    /// The connection that was handed out.
    pub connection: Described,
    /// Who has it.
    pub uid: u32,
    /// The process that asked for it.
    pub pid: i32,
    /// When it began, in milliseconds since 1970.
    pub since: u64,
    /// When it ends at the latest, by the monotonic clock, in milliseconds.
    pub expires: Option<u64>,
}

impl Body {
    pub(super) fn lease(&mut self, lease: &Lease) {
        self.u64(lease.number).slot(lease.slot);
        self.u32(lease.uid).u32(lease.pid.unsigned_abs()).u64(lease.since);
        self.u32(u32::from(lease.expires.is_some())).u64(lease.expires.unwrap_or(0));
        self.described(Some(&lease.connection)).string(&lease.resource);
    }
}

impl Fields<'_> {
    pub(super) fn lease(&mut self) -> Option<Lease> {
        let (number, slot) = (self.u64()?, self.slot()?);
        let (uid, pid, since) = (self.u32()?, i32::try_from(self.u32()?).ok()?, self.u64()?);
        let (ends, expires) = (self.u32()? != 0, self.u64()?);
        let (connection, resource) = (self.described()??, self.string()?);
        let expires = ends.then_some(expires);
        Some(Lease { number, resource, slot, connection, uid, pid, since, expires })
    }
}
