//! What all sessions and background loops of a worker share.
//!
//! The files below this one know nothing of it; those above are given all of it.

use std::cell::RefCell;
use std::rc::Rc;

use fdbroker_wire::Setup;
use tokio::sync::mpsc::UnboundedSender;

use super::identity::GroupSets;
use super::identity::lookup::Lookups;
use super::limits::arrivals::Arrivals;
use super::limits::in_flight::InFlight;
use super::limits::loop_time::LoopTime;
use super::limits::quota::Quotas;
use super::limits::rate::Rates;
use super::ownership::registry::OwnershipRegistry;
use super::policy::active::ActivePolicy;
use super::sessions::Sessions;
use super::store::own_sockets::OwnSockets;
use super::store::pending_take::PendingTakes;
use super::store::slots::Slots;
use super::supervisor_link::closer::CloserLinks;
use super::supervisor_link::connections::Connections;
use super::supervisor_link::heartbeat::Heartbeat;
use super::supervisor_link::write::SupervisorLink;
use crate::audit::Audit;
use crate::fd::{CloseQueue, PeerFd};
use crate::log::Log;
use crate::memory::Freed;

/// What all sessions share. One thread: borrows never outlive a step of the event loop.
pub(crate) struct Worker {
    /// A number that differs between any two starts of the broker.
    pub(crate) instance: i64,
    /// How much of the worker's sandbox is in force.
    pub(crate) sandbox: &'static str,
    /// Control groups are seen from where the service manager sees them.
    pub(crate) sees_units: bool,
    pub(crate) policy: ActivePolicy,
    pub(crate) audit: Audit,
    pub(crate) slots: RefCell<Slots>,
    pub(crate) quotas: Quotas,
    pub(crate) loop_time: Rc<LoopTime>,
    pub(crate) sessions: Sessions,
    pub(crate) lookups: Lookups,
    pub(crate) rates: Rates,
    pub(crate) arrivals: Arrivals,
    pub(crate) groups: GroupSets,
    pub(crate) ownership: OwnershipRegistry,
    pub(crate) in_flight: InFlight,
    pub(crate) link: SupervisorLink,
    pub(crate) heartbeat: Heartbeat,
    pub(crate) closers: CloserLinks,
    pub(crate) own_sockets: OwnSockets,
    pub(crate) close_queue: CloseQueue,
    /// Where every session reads to, before it decodes.
    pub(crate) chunk: RefCell<Box<[u8]>>,
    /// Policies to be put in force.
    pub(crate) coming: UnboundedSender<Setup>,
    /// Listening sockets to be used instead of the one before.
    pub(crate) listeners: UnboundedSender<PeerFd>,
    pub(crate) taking: PendingTakes,
    pub(crate) connections: Connections,
    /// Connections and deposits that have ended.
    pub(crate) freed: Freed,
    /// What the status says of what only the supervisor knows, in lines of `key=value`.
    pub(crate) health: RefCell<String>,
}

impl Worker {
    /// For what is no record.
    pub(crate) fn log(&self) -> &Rc<Log> {
        self.audit.log()
    }
}
