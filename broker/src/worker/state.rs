//! What all sessions and background loops of a worker share.
//!
//! The files below this one know nothing of it; those above are given all of it.

use std::cell::RefCell;
use std::rc::Rc;

use fdbroker_wire::Setup;
use tokio::sync::mpsc::UnboundedSender;

use super::closer::Closer;
use super::connections::Connections;
use super::heartbeat::Heartbeat;
use super::identity::GroupSets;
use super::in_force::InForce;
use super::kind::Guard;
use super::limits::in_flight::InFlight;
use super::limits::loop_time::LoopTime;
use super::limits::quota::Quotas;
use super::limits::rate::Rates;
use super::lookup::Lookups;
use super::sessions::Sessions;
use super::slots::Slots;
use super::taking::Taking;
use super::turns::Turns;
use super::vault::Vault;
use crate::audit::Audit;
use crate::fd::{CloseQueue, PeerFd};
use crate::log::Log;
use crate::memory::Freed;

/// What all sessions share. One thread: borrows never outlive a step of the event loop.
pub(crate) struct Worker {
    /// A number that differs between any two starts of the broker.
    pub(super) instance: i64,
    /// Control groups are seen from where the service manager sees them.
    pub(super) sees_units: bool,
    pub(super) in_force: InForce,
    pub(super) audit: Audit,
    pub(super) slots: RefCell<Slots>,
    pub(super) quotas: Quotas,
    pub(super) loop_time: Rc<LoopTime>,
    pub(super) sessions: Sessions,
    pub(super) lookups: Lookups,
    pub(super) rates: Rates,
    pub(super) groups: GroupSets,
    pub(super) turns: Turns,
    pub(super) in_flight: InFlight,
    pub(super) vault: Vault,
    pub(super) heartbeat: Heartbeat,
    pub(super) closer: Closer,
    pub(super) guard: Guard,
    pub(super) close_queue: CloseQueue,
    /// Where every session reads to, before it decodes.
    pub(super) chunk: RefCell<Box<[u8]>>,
    /// Policies to be put in force.
    pub(super) coming: UnboundedSender<Setup>,
    /// Listening sockets to be used instead of the one before.
    pub(super) listeners: UnboundedSender<PeerFd>,
    pub(super) taking: Taking,
    pub(super) connections: Connections,
    /// Connections and deposits that have ended.
    pub(super) freed: Freed,
    /// What the status says of what only the supervisor knows, in lines of `key=value`.
    pub(super) health: RefCell<String>,
}

impl Worker {
    /// For what is no record.
    pub(super) fn log(&self) -> &Rc<Log> {
        self.audit.log()
    }
}
