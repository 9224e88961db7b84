//! How many threads open something at once: what does not respond must not take the threads of what does.
//!
//! There is a bound for each resource, and one for all that lead to servers, and for all others. Connections that are to be
//! ready, for which nobody waits, have a bound of their own.

use std::sync::Arc;

use fdbroker_policy::{Resource, Source};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// How many threads may open the same resource at once; others wait for a moment.
pub(super) const MAX_OPENING: usize = 32;
/// How many may open resources that lead to servers, and how many all others. Together they leave some of the
/// supervisor's threads for other work.
pub(super) const MAX_OF_KIND: usize = 112;

/// How many connections are made at once to be ready. With the two others they leave threads for other work.
pub(super) const MAX_MAKING: usize = 16;

/// The bounds that all resources share.
#[derive(Clone)]
pub(super) struct Lanes {
    to_servers: Arc<Semaphore>,
    others: Arc<Semaphore>,
    making: Arc<Semaphore>,
}

/// The bounds of one resource.
#[derive(Clone)]
pub(super) struct Lane {
    own: Arc<Semaphore>,
    of_kind: Arc<Semaphore>,
    making: Arc<Semaphore>,
}

/// Being one of those that open it. Ends when it is dropped.
pub(super) struct Permits {
    _own: OwnedSemaphorePermit,
    _of_kind: OwnedSemaphorePermit,
}

impl Default for Lanes {
    fn default() -> Self {
        let [to_servers, others] = [(); 2].map(|()| Arc::new(Semaphore::new(MAX_OF_KIND)));
        Self { to_servers, others, making: Arc::new(Semaphore::new(MAX_MAKING)) }
    }
}

impl Lanes {
    /// Those of a resource that is new.
    pub(super) fn of(&self, resource: &Resource) -> Lane {
        let of_kind = match resource.source {
            Source::Connect(_) => &self.to_servers,
            Source::Device { .. } | Source::File { .. } => &self.others,
        };
        let own = Arc::new(Semaphore::new(MAX_OPENING));
        Lane { own, of_kind: Arc::clone(of_kind), making: Arc::clone(&self.making) }
    }
}

impl Lane {
    /// Enters if there is room.
    pub(super) fn try_enter(&self) -> Option<Permits> {
        // In this order, as below.
        let own = Arc::clone(&self.own).try_acquire_owned().ok()?;
        let of_kind = Arc::clone(&self.of_kind).try_acquire_owned().ok()?;
        Some(Permits { _own: own, _of_kind: of_kind })
    }

    /// Waits until one more may be made that is to be ready. Can be dropped.
    pub(super) async fn make(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.making).acquire_owned().await.ok()
    }

    /// Enters as soon as there is room. Can be dropped.
    pub(super) async fn enter(&self) -> Option<Permits> {
        let own = Arc::clone(&self.own).acquire_owned().await.ok()?;
        let of_kind = Arc::clone(&self.of_kind).acquire_owned().await.ok()?;
        Some(Permits { _own: own, _of_kind: of_kind })
    }
}
