//! Opening resources on threads of their own: an open that hangs stops nobody else.

use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use fdbroker_policy::{Opening, Resource};
use fdbroker_wire::Errno;
use tokio::sync::mpsc::UnboundedSender;

use super::StartError;
use super::resource::{OpenFailure, Openable};
use crate::log::Log;

/// How many may wait for the same resource to open; one more is refused.
const MAX_OPENING: usize = 32;

/// An answer on its way to the worker.
pub(super) type Opened = (u32, Result<Arc<OwnedFd>, OpenFailure>);

/// The policy's resources, ready to be opened.
pub(super) struct Opener(Vec<Entry>);

struct Entry {
    openable: Arc<Openable>,
    /// Opened once, at start, where the policy says so.
    shared: Option<Arc<OwnedFd>>,
    opening: Arc<AtomicUsize>,
}

impl Opener {
    /// Takes the resources, and opens those that are opened at start.
    pub(super) fn new(resources: &[Resource], log: &Rc<Log>) -> Result<Self, StartError> {
        let mut entries = Vec::with_capacity(resources.len());
        for resource in resources {
            let openable = Arc::new(Openable::new(resource));
            let shared = match resource.opening {
                Opening::PerRequest => None,
                Opening::Startup => Some(Arc::new(at_start(&openable, log)?)),
            };
            entries.push(Entry { openable, shared, opening: Arc::default() });
        }
        Ok(Self(entries))
    }

    /// Opens resource number `position` of the policy and sends what came of it to `answer`.
    pub(super) fn open(&self, position: u32, ticket: u32, answer: &UnboundedSender<Opened>) {
        let entry = usize::try_from(position).ok().and_then(|position| self.0.get(position));
        let now = match entry {
            None => Err(unknown(position)),
            Some(Entry { shared: Some(shared), .. }) => Ok(Arc::clone(shared)),
            Some(entry) => return entry.open_elsewhere(ticket, answer.clone()),
        };
        // A closed channel means that the worker has gone, and its question with it.
        let _ = answer.send((ticket, now));
    }
}

impl Entry {
    fn open_elsewhere(&self, ticket: u32, answer: UnboundedSender<Opened>) {
        if self.opening.fetch_add(1, Ordering::Relaxed) >= MAX_OPENING {
            self.opening.fetch_sub(1, Ordering::Relaxed);
            let _ = answer.send((ticket, Err(busy(self.openable.name()))));
            return;
        }
        let (openable, opening) = (Arc::clone(&self.openable), Arc::clone(&self.opening));
        tokio::task::spawn_blocking(move || {
            let outcome = openable.open().map(Arc::new);
            opening.fetch_sub(1, Ordering::Relaxed);
            let _ = answer.send((ticket, outcome));
        });
    }
}

fn at_start(openable: &Openable, log: &Log) -> Result<OwnedFd, StartError> {
    let opened = openable.open().map_err(|failure| StartError::Resource(failure.text))?;
    log.info(&format!("resource {:?} is open, shared by all who may have it", openable.name()));
    Ok(opened)
}

fn busy(name: &str) -> OpenFailure {
    let text = format!(
        "resource {name:?}: {MAX_OPENING} callers wait for it to open already; its device does not answer"
    );
    OpenFailure { errno: Errno::BUSY, text }
}

fn unknown(position: u32) -> OpenFailure {
    OpenFailure {
        errno: Errno::NOENT,
        text: format!(
            "the worker asked for resource number {position}, which the policy does not have"
        ),
    }
}
