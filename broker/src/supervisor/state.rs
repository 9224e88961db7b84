//! What the supervisor has: each of its tasks works on this, in a file of its own.

use std::io;
use std::rc::Rc;
use std::sync::Arc;

use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use super::audit::records::Records;
use super::deposits::Deposits;
use super::deposits::mirror::resume::Stored;
use super::deposits::quarantine::Quarantine;
use super::deposits::unclosed::Unclosed;
use super::leases::Leases;
use super::listener::Listener;
use super::news::{News, Told};
use super::notify::Readiness;
use super::policy::keeper::Keeper;
use super::policy::last_good::LastGood;
use super::policy::reload::Reloads;
use super::policy::reload_notes::{Awaited, ReloadNotes};
use super::policy::retry::Retry;
use super::policy::source::PolicySource;
use super::replace::door::Door;
use super::replace::predecessor::Predecessor;
use super::replace::succession::Succession;
use super::resources::pool::Opener;
use super::watches::Watches;
use super::workers::closers::Closers;
use super::workers::connections::ConnectionCopies;
use super::workers::process::LeftBehind;
use super::workers::restarts::Restarts;
use super::workers::spawner::Spawner;
use crate::fd::CloseQueue;
use crate::log::Log;

/// The supervisor, ready to run.
pub(crate) struct Supervisor {
    pub(crate) spawner: Arc<Spawner>,
    pub(crate) log: Rc<Log>,
    pub(crate) records: Records,
    pub(crate) reloads: Reloads,
    pub(crate) readiness: Readiness,
    pub(crate) source: PolicySource,
    /// Keeps what is in force as the last good policy.
    pub(crate) keeper: Keeper,
    pub(crate) watches: Watches,
    /// When names are looked up again.
    pub(crate) retry: Retry,
    pub(crate) listener: Listener,
    /// Where this broker is asked to hand over.
    pub(crate) door: Door,
    /// The broker that this one is to take over from.
    pub(crate) predecessor: Option<Predecessor>,
    /// What was taken over and is not this broker's yet.
    pub(crate) succession: Option<Succession>,
    /// What is read now was said by a worker that is to serve nobody any more.
    pub(crate) reads_last_words: bool,
    pub(crate) opener: Opener,
    /// What happens to resources while nobody asks for them.
    pub(crate) told: Told,
    pub(crate) leases: Leases,
    pub(crate) news: UnboundedReceiver<News>,
    /// The audit file has been opened again since the worker was given it, which does not serve yet.
    pub(crate) has_other_trail: bool,
    /// The policy that was read and that no worker has put in force yet.
    pub(crate) awaited: Option<Awaited>,
    /// Notes what became of reloads.
    pub(crate) reload_notes: ReloadNotes,
    pub(crate) deposits: Deposits,
    /// What an earlier supervisor left with the service manager, until it is resumed.
    pub(crate) stored: Stored,
    pub(crate) connections: ConnectionCopies,
    pub(crate) quarantine: Quarantine,
    pub(crate) left_behind: LeftBehind,
    pub(crate) closers: Closers,
    pub(crate) restarts: Restarts,
    /// What the worker was last told to say in the status.
    pub(crate) health: String,
    /// What has still to be closed, and what has been.
    pub(crate) unclosed: Unclosed,
    pub(crate) close_queue: CloseQueue,
}

impl Supervisor {
    pub(crate) fn new(
        spawner: Arc<Spawner>,
        records: Records,
        readiness: Readiness,
        source: PolicySource,
        listener: Listener,
        opener: Opener,
        close_queue: CloseQueue,
    ) -> io::Result<Self> {
        let unclosed = Unclosed::default();
        let (told, news) = unbounded_channel();
        let deposits = Deposits::new(unclosed.clone());
        let (tells, audit) = (Told(told.clone()), Rc::clone(&records.audit));
        let leases = Leases::new(tells, audit, close_queue.clone())?;
        Ok(Self {
            spawner,
            log: Rc::clone(records.log()),
            records,
            reloads: Reloads::new(),
            readiness,
            source,
            keeper: Keeper::new(None, Told(told.clone())),
            watches: Watches::default(),
            retry: Retry::default(),
            listener,
            door: Door::default(),
            predecessor: None,
            succession: None,
            reads_last_words: false,
            opener,
            leases,
            told: Told(told),
            news,
            has_other_trail: false,
            awaited: None,
            reload_notes: ReloadNotes::default(),
            deposits,
            stored: Stored::default(),
            connections: ConnectionCopies::new(unclosed.clone()),
            quarantine: Quarantine::default(),
            left_behind: LeftBehind::default(),
            closers: Closers::default(),
            restarts: Restarts::default(),
            health: String::new(),
            unclosed,
            close_queue,
        })
    }

    /// Keeps what is in force as the last good policy in `place`.
    pub(crate) fn keep_policy_in(&mut self, place: Option<LastGood>) {
        self.keeper = Keeper::new(place, self.told.clone());
    }
}
