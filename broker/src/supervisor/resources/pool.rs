//! Opening resources on threads of their own: an open that hangs stops nobody else.

use std::fmt;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::time::Duration;

use fdbroker_policy::{Opening, Resource, Uid};
use fdbroker_types::quoted;
use fdbroker_wire::{Errno, Opened};
use tokio::sync::mpsc::UnboundedSender;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use super::failure::OpenFailure;
use super::openable::Openable;
use crate::fd::{CloseQueue, Depositor, PeerFd};
use crate::spell::Spell;
use crate::supervisor::deposits::unclosed::Unclosed;
use crate::supervisor::policy_error::PolicyError;
use crate::supervisor::workers::helper::Helpers;

/// How many threads may open the same resource at once; others wait for a moment.
const MAX_OPENING: usize = 32;
/// How long they wait. A resource that opens takes far less.
const HANGS: Duration = Duration::from_secs(1);
/// How many may wait for that. Each user has a few at most.
const MAX_WAITING: usize = 4096;

/// An answer on its way to the worker.
pub(crate) struct OpenAnswer {
    /// The question's.
    pub(crate) ticket: u32,
    pub(crate) outcome: Result<Arc<Opened<PeerFd>>, OpenFailure>,
    /// What the log is to say: that it fails, or that it does not fail any more.
    pub(crate) said: Option<String>,
}

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
    helpers: Helpers,
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
    opening: Arc<Semaphore>,
    waiting: Arc<AtomicUsize>,
    /// Failures that were said.
    failures: Arc<Mutex<Spell>>,
    close_queue: CloseQueue,
}

impl Opener {
    /// Takes the resources, and opens those that are opened at start, each within its
    /// `open_timeout`.
    pub(crate) fn new(
        resources: &[Resource],
        helpers: Helpers,
        close_queue: CloseQueue,
    ) -> Result<Self, PolicyError> {
        let entry = |resource| {
            let openable = Openable::new(resource, &helpers);
            Entry::new(openable, &close_queue, in_time)
        };
        let entries = resources.iter().map(entry).collect::<Result<_, _>>()?;
        Ok(Self { entries, helpers, close_queue })
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
                    let openable = Openable::new(resource, &self.helpers);
                    let entry = Entry::new(openable, &self.close_queue, |it| it.open())?;
                    opened.extend(entry.shared.is_some().then(|| resource.clone()));
                    entry
                }
            });
        }
        let (new, gone) = (entries.len() - kept, self.entries.len().saturating_sub(kept));
        let (helpers, close_queue) = (self.helpers.clone(), self.close_queue.clone());
        Ok((Self { entries, helpers, close_queue }, Changes { kept, gone, new, opened }))
    }

    /// Those that are open, shared by all who may have them.
    pub(crate) fn open_ones(&self) -> impl Iterator<Item = &Resource> {
        let open = self.entries.iter().filter(|entry| entry.shared.is_some());
        open.map(|entry| entry.openable.resource())
    }

    /// Opens resource number `position` of the policy for a caller, and sends the result to `answer`.
    pub(crate) fn open(&self, position: u32, caller: Caller, answer: &UnboundedSender<OpenAnswer>) {
        let entry = usize::try_from(position).ok().and_then(|position| self.entries.get(position));
        let outcome = match entry {
            None => Err(unknown(position)),
            Some(Entry { shared: Some(shared), .. }) => Ok(Arc::clone(shared)),
            Some(entry) => return entry.open_elsewhere(caller, answer.clone()),
        };
        // A closed channel means that the worker has gone, and its question with it.
        let said = outcome.as_ref().err().map(|failure| failure.text.clone());
        let _ = answer.send(OpenAnswer { ticket: caller.ticket, outcome, said });
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
        openable: Openable,
        close_queue: &CloseQueue,
        open: impl Fn(&Arc<Openable>) -> Result<Opened<OwnedFd>, OpenFailure>,
    ) -> Result<Self, PolicyError> {
        let openable = Arc::new(openable);
        let shared = match openable.resource().opening {
            Opening::PerRequest => None,
            Opening::Startup => {
                let opened =
                    open(&openable).map_err(|failure| PolicyError::Resource(failure.text))?;
                Some(Arc::new(opened.map(|each| close_queue.hold(Depositor::Nobody, each))))
            }
        };
        let opening = Arc::new(Semaphore::new(MAX_OPENING));
        let (waiting, failures) = (Arc::default(), Arc::default());
        Ok(Self { openable, shared, opening, waiting, failures, close_queue: close_queue.clone() })
    }

    /// Whether the next policy can keep it as it is. A device that was replaced is looked at again,
    /// unless it is open already.
    fn is_current(&self) -> bool {
        self.shared.is_some() || self.openable.is_current()
    }

    /// Opens it on a thread, at once where there are few that do. Where there are many, it waits for
    /// one of them to end: all of them hang if none does.
    fn open_elsewhere(&self, caller: Caller, answer: UnboundedSender<OpenAnswer>) {
        let entry = self.clone();
        if let Ok(permit) = Arc::clone(&self.opening).try_acquire_owned() {
            return entry.open_on_thread(permit, caller, answer);
        }
        if self.waiting.fetch_add(1, Ordering::Relaxed) >= MAX_WAITING {
            self.waiting.fetch_sub(1, Ordering::Relaxed);
            return entry.refuse(&caller, &answer);
        }
        tokio::spawn(async move {
            let permit = timeout(HANGS, Arc::clone(&entry.opening).acquire_owned()).await;
            entry.waiting.fetch_sub(1, Ordering::Relaxed);
            match permit {
                Ok(Ok(permit)) => entry.open_on_thread(permit, caller, answer),
                _ => entry.refuse(&caller, &answer),
            }
        });
    }

    fn open_on_thread(
        self,
        permit: OwnedSemaphorePermit,
        caller: Caller,
        answer: UnboundedSender<OpenAnswer>,
    ) {
        tokio::task::spawn_blocking(move || {
            let outcome = self.openable.open();
            let outcome = outcome.map(|opened| Arc::new(caller.held(opened, &self.close_queue)));
            drop(permit);
            let _ = answer.send(self.answer(caller.ticket, outcome));
        });
    }

    fn refuse(&self, caller: &Caller, answer: &UnboundedSender<OpenAnswer>) {
        let _ = answer.send(self.answer(caller.ticket, Err(busy(self.openable.name()))));
    }

    /// Returns an answer, with what the log says of it: of many failures the first, and their number
    /// once it opens again.
    fn answer(&self, ticket: u32, outcome: Result<Arc<Opened<PeerFd>>, OpenFailure>) -> OpenAnswer {
        // A panic while it is locked leaves it whole.
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        let said = match &outcome {
            Err(failure) => failures.failed().then(|| failure.text.clone()),
            Ok(_) => failures.succeeded().map(|count| {
                let name = quoted(self.openable.name());
                format!("resource {name} can be opened again; failed attempts before that: {count}")
            }),
        };
        OpenAnswer { ticket, outcome, said }
    }
}

impl Caller {
    /// Has the supervisor's copy closed on the caller's account: what is sent to a caller can make its
    /// close sleep.
    fn held(&self, opened: Opened<OwnedFd>, close_queue: &CloseQueue) -> Opened<PeerFd> {
        let notice = Arc::new(self.unclosed.opening(self.uid, self.worker));
        opened.map(|descriptor| {
            let mut descriptor = close_queue.hold(Depositor::Opened(self.uid), descriptor);
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
        "resource {name}: {MAX_OPENING} callers already wait for it to open; its device or \
         server does not respond",
        name = quoted(name)
    );
    OpenFailure { errno: Errno::BUSY, text }
}

/// The answer to a question about another policy than the one in force. It is asked again, and no news.
pub(crate) fn stale(ticket: u32) -> OpenAnswer {
    let failure =
        OpenFailure { errno: Errno::STALE, text: "the policy has been replaced".to_owned() };
    OpenAnswer { ticket, outcome: Err(failure), said: None }
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
