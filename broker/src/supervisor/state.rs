//! What the supervisor has: each of its tasks works on this, in a file of its own.

use std::rc::Rc;

use super::closers::Closers;
use super::connections::Connections;
use super::deposits::Deposits;
use super::listener::Listener;
use super::opener::Opener;
use super::policy_source::PolicySource;
use super::quarantine::Quarantine;
use super::readiness::Readiness;
use super::records::Records;
use super::reload::Reloads;
use super::restarts::Restarts;
use super::unclosed::Unclosed;
use super::worker_process::LeftBehind;
use crate::fd::CloseQueue;
use crate::log::{Format, Log};

/// The supervisor, ready to run.
pub(super) struct Supervisor {
    pub(super) format: Format,
    pub(super) log: Rc<Log>,
    pub(super) records: Records,
    pub(super) reloads: Reloads,
    pub(super) readiness: Readiness,
    pub(super) source: PolicySource,
    pub(super) listener: Listener,
    pub(super) opener: Opener,
    /// What the worker was given at its start.
    pub(super) given: Given,
    /// The policy of which the service manager is to hear that it is in force.
    pub(super) awaited: Option<u32>,
    pub(super) deposits: Deposits,
    pub(super) connections: Connections,
    pub(super) quarantine: Quarantine,
    pub(super) left_behind: LeftBehind,
    pub(super) closers: Closers,
    pub(super) restarts: Restarts,
    /// What the worker was last told to say in the status.
    pub(super) health: String,
    /// What has still to be closed, and what has been.
    pub(super) unclosed: Unclosed,
    pub(super) close_queue: CloseQueue,
}

/// What a worker was given at its start, and what has become of it before it came to serve: until
/// then it is told nothing but what it asked for.
#[derive(Default)]
pub(super) struct Given {
    pub(super) generation: u32,
    /// The audit file has been opened anew.
    pub(super) other_trail: bool,
}

impl Supervisor {
    pub(super) fn new(
        format: Format,
        records: Records,
        readiness: Readiness,
        source: PolicySource,
        listener: Listener,
        opener: Opener,
        close_queue: CloseQueue,
    ) -> Self {
        let unclosed = Unclosed::default();
        let deposits = Deposits::new(unclosed.clone());
        Self {
            format,
            log: Rc::clone(records.log()),
            records,
            reloads: Reloads::new(),
            readiness,
            source,
            listener,
            opener,
            given: Given::default(),
            awaited: None,
            deposits,
            connections: Connections::new(unclosed.clone()),
            quarantine: Quarantine::default(),
            left_behind: LeftBehind::default(),
            closers: Closers::default(),
            restarts: Restarts::default(),
            health: String::new(),
            unclosed,
            close_queue,
        }
    }
}
