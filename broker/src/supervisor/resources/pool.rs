//! Opening resources on threads of their own: an open that hangs stops nobody else.

use std::fmt;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;

use fdbroker_policy::{Opening, Resource, Uid};
use fdbroker_types::quoted;
use fdbroker_wire::{Errno, Opened};
use tokio::sync::mpsc::UnboundedSender;

use super::failure::OpenFailure;
use super::openable::Openable;
use crate::fd::{CloseQueue, Depositor, PeerFd};
use crate::supervisor::deposits::unclosed::Unclosed;
use crate::supervisor::policy_error::PolicyError;

/// How many may wait for the same resource to open; one more is refused.
const MAX_OPENING: usize = 32;

/// An answer on its way to the worker, with the ticket of its question.
pub(crate) type OpenAnswer = (u32, Result<Arc<Opened<PeerFd>>, OpenFailure>);

/// Who asks for a resource.
pub(crate) struct Caller {
    /// What the answer carries.
    pub(crate) ticket: u32,
    /// On whose account the supervisor's copy is closed.
    pub(crate) uid: Uid,
    /// By which worker it asks, and where that is told when the copy has been closed.
    pub(crate) worker: u32,
    pub(crate) unclosed: Unclosed,
}

/// The policy's resources, ready to be opened.
#[derive(Clone)]
pub(crate) struct Opener {
    entries: Vec<Entry>,
    close_queue: CloseQueue,
}

/// What becomes of the resources when the policy changes.
pub(crate) struct Changes {
    kept: usize,
    gone: usize,
    new: usize,
    /// Those that have been opened, to be shared by all who may have them.
    pub(crate) opened: Vec<Resource>,
}

#[derive(Clone)]
struct Entry {
    openable: Arc<Openable>,
    /// Opened once, at start, where the policy says so.
    shared: Option<Arc<Opened<PeerFd>>>,
    opening: Arc<AtomicUsize>,
    close_queue: CloseQueue,
}

impl Opener {
    /// Takes the resources, and opens those that are opened at start, each within its
    /// `open_timeout`.
    pub(crate) fn new(
        resources: &[Resource],
        close_queue: CloseQueue,
    ) -> Result<Self, PolicyError> {
        let entries = resources.iter();
        let entries = entries.map(|resource| Entry::new(resource, &close_queue, in_time));
        Ok(Self { entries: entries.collect::<Result<_, _>>()?, close_queue })
    }

    /// Takes other resources: those that are the same as before stay as they are, the others are
    /// opened where they are opened at start. Says what changes.
    pub(crate) fn again(&self, resources: &[Resource]) -> Result<(Self, Changes), PolicyError> {
        let same = |resource: &Resource| {
            let is_same = |entry: &&Entry| entry.openable.is(resource) && entry.is_current();
            self.entries.iter().find(is_same)
        };
        let mut entries = Vec::with_capacity(resources.len());
        let (mut kept, mut opened) = (0, Vec::new());
        for resource in resources {
            entries.push(match same(resource) {
                Some(entry) => {
                    kept += 1;
                    entry.clone()
                }
                None => {
                    // A reload has a bound of its own.
                    let entry = Entry::new(resource, &self.close_queue, |it| it.open())?;
                    opened.extend(entry.shared.is_some().then(|| resource.clone()));
                    entry
                }
            });
        }
        let (new, gone) = (entries.len() - kept, self.entries.len().saturating_sub(kept));
        let close_queue = self.close_queue.clone();
        Ok((Self { entries, close_queue }, Changes { kept, gone, new, opened }))
    }

    /// Those that are open, shared by all who may have them.
    pub(crate) fn open_ones(&self) -> impl Iterator<Item = &Resource> {
        let open = self.entries.iter().filter(|entry| entry.shared.is_some());
        open.map(|entry| entry.openable.resource())
    }

    /// Opens resource number `position` of the policy for a caller, and sends the result to `answer`.
    pub(crate) fn open(&self, position: u32, caller: Caller, answer: &UnboundedSender<OpenAnswer>) {
        let entry = usize::try_from(position).ok().and_then(|position| self.entries.get(position));
        let now = match entry {
            None => Err(unknown(position)),
            Some(Entry { shared: Some(shared), .. }) => Ok(Arc::clone(shared)),
            Some(entry) => return entry.open_elsewhere(caller, answer.clone()),
        };
        // A closed channel means that the worker has gone, and its question with it.
        let _ = answer.send((caller.ticket, now));
    }
}

impl fmt::Display for Changes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kept, gone, new, .. } = self;
        write!(f, "resources kept: {kept}, removed: {gone}, new: {new}")
    }
}

impl Entry {
    fn new(
        resource: &Resource,
        close_queue: &CloseQueue,
        open: impl Fn(&Arc<Openable>) -> Result<Opened<OwnedFd>, OpenFailure>,
    ) -> Result<Self, PolicyError> {
        let openable = Arc::new(Openable::new(resource));
        let shared = match resource.opening {
            Opening::PerRequest => None,
            Opening::Startup => {
                let opened =
                    open(&openable).map_err(|failure| PolicyError::Resource(failure.text))?;
                Some(Arc::new(opened.map(|each| close_queue.hold(Depositor::Nobody, each))))
            }
        };
        Ok(Self { openable, shared, opening: Arc::default(), close_queue: close_queue.clone() })
    }

    /// Whether the next policy can keep it as it is. A device that was replaced is looked at again,
    /// unless it is open already.
    fn is_current(&self) -> bool {
        self.shared.is_some() || self.openable.is_current()
    }

    fn open_elsewhere(&self, caller: Caller, answer: UnboundedSender<OpenAnswer>) {
        let ticket = caller.ticket;
        if self.opening.fetch_add(1, Ordering::Relaxed) >= MAX_OPENING {
            self.opening.fetch_sub(1, Ordering::Relaxed);
            let _ = answer.send((ticket, Err(busy(self.openable.name()))));
            return;
        }
        let (openable, opening) = (Arc::clone(&self.openable), Arc::clone(&self.opening));
        let close_queue = self.close_queue.clone();
        tokio::task::spawn_blocking(move || {
            // Its last owner may be on the loop.
            let outcome = openable.open().map(|opened| Arc::new(caller.held(opened, &close_queue)));
            opening.fetch_sub(1, Ordering::Relaxed);
            let _ = answer.send((ticket, outcome));
        });
    }
}

impl Caller {
    /// Has the supervisor's copy closed on the caller's account: what is sent to a caller can make its
    /// close sleep.
    fn held(&self, opened: Opened<OwnedFd>, close_queue: &CloseQueue) -> Opened<PeerFd> {
        let notice = Arc::new(self.unclosed.opening(self.uid, self.worker));
        opened.map(|descriptor| {
            let mut descriptor = close_queue.hold(self.uid, descriptor);
            descriptor.keep_until_closed(Arc::clone(&notice));
            descriptor
        })
    }
}

/// Opens a resource on a thread, and waits no longer than its `open_timeout`. What opens later is
/// closed by the thread.
fn in_time(openable: &Arc<Openable>) -> Result<Opened<OwnedFd>, OpenFailure> {
    let (answer, opened) = mpsc::channel();
    let thread = std::thread::Builder::new().name("open".to_owned());
    let begun = thread.spawn({
        let openable = Arc::clone(openable);
        move || drop(answer.send(openable.open()))
    });
    let failed = |errno, why: &str| {
        let name = quoted(openable.name());
        Err(OpenFailure { errno, text: format!("resource {name}: {why}") })
    };
    if let Err(error) = begun {
        return failed(Errno::AGAIN, &format!("no thread can be started to open it: {error}"));
    }
    let after = openable.resource().open_timeout;
    opened.recv_timeout(after).unwrap_or_else(|_| {
        failed(Errno::TIMEDOUT, &format!("it did not open within {after:?} (`open_timeout`)"))
    })
}

fn busy(name: &str) -> OpenFailure {
    let text = format!(
        "resource {name}: {MAX_OPENING} callers already wait for it to open; its device does \
         not respond",
        name = quoted(name)
    );
    OpenFailure { errno: Errno::BUSY, text }
}

/// The answer to a question about another policy than the one in force.
pub(crate) fn stale() -> OpenFailure {
    OpenFailure { errno: Errno::STALE, text: "the policy has been replaced".to_owned() }
}

fn unknown(position: u32) -> OpenFailure {
    OpenFailure {
        errno: Errno::NOENT,
        text: format!(
            "the worker asked for resource number {position}, which the policy does not have"
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::Changes;

    #[test]
    fn one_is_said_as_one() {
        let said = |kept, gone, new| Changes { kept, gone, new, opened: Vec::new() }.to_string();
        assert_eq!(said(1, 1, 1), "resources kept: 1, removed: 1, new: 1");
        assert_eq!(said(2, 0, 3), "resources kept: 2, removed: 0, new: 3");
    }
}
