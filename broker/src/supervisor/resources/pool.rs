//! Opening resources on threads of their own: an open that hangs stops nobody else.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};

use fdbroker_policy::Resource;
use fdbroker_types::quoted;
use fdbroker_wire::{Errno, Opened};
use tokio::sync::mpsc::UnboundedSender;

use super::caller::Caller;
use super::entry::{OpenAnswer, ResourceEntry};
use super::failure::OpenFailure;
use super::lanes::Lanes;
use super::openable::Openable;
use super::withdrawals::{Withdrawable, Withdrawals};
use crate::fd::CloseQueue;
use crate::payer::Payer;
use crate::supervisor::leases::holders::{HolderPlace, Holders};
use crate::supervisor::leases::{LeaseNumber, Numbers};
use crate::supervisor::news::Told;
use crate::supervisor::policy_error::PolicyError;
use crate::supervisor::workers::helper::Helpers;

/// The policy's resources, ready to be opened.
#[derive(Clone)]
pub(crate) struct Opener {
    entries: Vec<ResourceEntry>,
    /// Of resources that the policy no longer has, and that are still held: they may come back.
    former: Arc<Mutex<BTreeMap<String, Holders>>>,
    helpers: Helpers,
    /// For the leases of all resources.
    numbers: Numbers,
    lanes: Lanes,
    withdrawals: Withdrawals,
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

impl Opener {
    /// Takes the resources; none is open yet.
    pub(crate) fn new(resources: &[Resource], helpers: Helpers, close_queue: CloseQueue) -> Self {
        let (numbers, lanes) = (Numbers::default(), Lanes::default());
        let entry = |resource| {
            let openable = Openable::new(resource, &helpers);
            ResourceEntry::new(openable, numbers.clone(), lanes.of(resource), &close_queue, None)
        };
        let entries = resources.iter().map(entry).collect();
        let withdrawals = Withdrawals::default();
        let former = Arc::default();
        Self { entries, former, helpers, numbers, lanes, withdrawals, close_queue }
    }

    /// Opens those that are opened at start, each within its `open_timeout`. Returns what failed.
    pub(crate) fn open_at_start(&self) -> Vec<String> {
        let open =
            |entry: &ResourceEntry| entry.open_once(in_time).err().map(|failure| failure.text);
        self.entries.iter().filter_map(open).collect()
    }

    /// Takes other resources: those that are the same as before stay as they are, the others are
    /// opened where they are opened at start. Says what changes.
    pub(crate) fn again(&self, resources: &[Resource]) -> Result<(Self, Changes), PolicyError> {
        let same = |resource: &Resource| {
            let is_same =
                |entry: &&ResourceEntry| entry.openable.is(resource) && entry.is_current();
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
                    let (numbers, lane) = (self.numbers.clone(), self.lanes.of(resource));
                    let former = self.holders(&resource.name);
                    let former = former.as_ref();
                    let entry =
                        ResourceEntry::new(openable, numbers, lane, &self.close_queue, former);
                    let tried = entry.open_once(|it| it.open_for_nobody());
                    tried.map_err(|failure| PolicyError::Resource(failure.text))?;
                    opened.extend(entry.is_open().then(|| resource.clone()));
                    entry
                }
            });
        }
        let (new, gone) = (entries.len() - kept, self.entries.len().saturating_sub(kept));
        self.remember_without(&entries);
        let opener = Self { entries, ..self.clone() };
        Ok((opener, Changes { kept, gone, new, opened }))
    }

    /// Those who hold a resource, or held it when the policy still had it.
    fn holders(&self, name: &str) -> Option<Holders> {
        let now = self.of_name(name).map(ResourceEntry::holders).cloned();
        now.or_else(|| self.former().get(name).cloned())
    }

    /// Remembers the holders of resources that are not among these. Those that nobody holds by now are forgotten.
    fn remember_without(&self, entries: &[ResourceEntry]) {
        let names: BTreeSet<&str> = entries.iter().map(|entry| entry.openable.name()).collect();
        let gone = self.entries.iter().filter(|entry| !names.contains(entry.openable.name()));
        let gone = gone.map(|entry| (entry.openable.name().to_owned(), entry.holders().clone()));
        let mut former = self.former();
        former.retain(|name, holders| holders.are_there() && !names.contains(name.as_str()));
        former.extend(gone);
    }

    fn former(&self) -> MutexGuard<'_, BTreeMap<String, Holders>> {
        // A panic while it is locked leaves it whole.
        self.former.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What makes the connections.
    pub(crate) fn helpers(&self) -> &Helpers {
        &self.helpers
    }

    /// Those that are open, shared by all who may have them.
    pub(crate) fn open_ones(&self) -> impl Iterator<Item = &Resource> {
        let open = self.entries.iter().filter(|entry| entry.is_open());
        open.map(|entry| entry.openable.resource())
    }

    /// The highest number that a lease has had.
    pub(crate) fn last_lease(&self) -> LeaseNumber {
        self.numbers.last()
    }

    /// No lease has this number, or a lower one, from now on.
    pub(crate) fn skip_leases(&self, last: LeaseNumber) {
        self.numbers.skip(last);
    }

    /// Takes a place among the holders of a resource, for a lease of a predecessor's, whose number is not used
    /// again. There may be no such resource any more: it may come back.
    pub(crate) fn hold(&self, name: &str, number: LeaseNumber, payer: Payer) -> HolderPlace {
        self.numbers.skip(number);
        match self.of_name(name) {
            Some(entry) => entry.place_again(payer),
            None => {
                let mut former = self.former();
                let holders = former.entry(name.to_owned());
                holders.or_insert_with(|| Holders::new(usize::MAX)).take_again(payer)
            }
        }
    }

    fn of_name(&self, name: &str) -> Option<&ResourceEntry> {
        self.entries.iter().find(|entry| entry.openable.name() == name)
    }

    /// The names of those that are opened once and have failed.
    pub(crate) fn failed_ones(&self) -> impl Iterator<Item = &str> {
        self.entries.iter().filter(|entry| entry.has_failed()).map(|entry| entry.openable.name())
    }

    /// The paths where something may appear that is to be opened.
    pub(crate) fn watched_paths(&self) -> Vec<PathBuf> {
        self.entries.iter().filter_map(ResourceEntry::watched_path).collect()
    }

    /// Has threads open what has failed, and devices that have taken the place of others.
    pub(crate) fn look_again(&self, told: &Told) {
        for entry in self.entries.iter().filter(|it| it.watched_path().is_some()) {
            let (entry, told) = (entry.clone(), told.clone());
            tokio::task::spawn_blocking(move || {
                if entry.look_again() {
                    told.opened(entry.openable.resource().clone());
                }
            });
        }
    }

    /// Has what is to be ready kept ready. On the event loop.
    pub(crate) fn keep_ready(&self, told: &Told) {
        self.entries.iter().for_each(|entry| entry.keep_ready(told));
    }

    /// A question of this worker, until what is returned is dropped.
    pub(crate) fn question(&self, worker: u32, ticket: u32) -> Withdrawable {
        self.withdrawals.enter((worker, ticket))
    }

    /// A caller of this worker has left. It waits no longer, and no connection is made for it.
    pub(crate) fn withdraw(&self, worker: u32, ticket: u32) {
        self.withdrawals.withdraw((worker, ticket));
    }

    /// Opens resource number `position` of the policy for a caller, and sends the result to `answer`.
    pub(crate) fn open(&self, position: u32, caller: Caller, answer: &UnboundedSender<OpenAnswer>) {
        let entry = usize::try_from(position).ok().and_then(|position| self.entries.get(position));
        match entry {
            Some(entry) => entry.open(caller, answer.clone()),
            // A closed channel means that the worker has gone, and its question with it.
            None => drop(answer.send(unknown(caller.ticket, position))),
        }
    }
}

impl fmt::Display for Changes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kept, gone, new, .. } = self;
        write!(f, "resources kept: {kept}, removed: {gone}, new: {new}")
    }
}

/// Opens a resource on a thread, and waits no longer than its `open_timeout`. What opens later is
/// closed by the thread.
fn in_time(openable: &Arc<Openable>) -> Result<Opened<OwnedFd>, OpenFailure> {
    let (answer, opened) = mpsc::channel();
    let thread = std::thread::Builder::new().name("open".to_owned());
    let begun = thread.spawn({
        let openable = Arc::clone(openable);
        move || drop(answer.send(openable.open_for_nobody()))
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

/// The answer to a question about another policy than the one in force. It is asked again, and no news.
pub(crate) fn stale(ticket: u32) -> OpenAnswer {
    OpenAnswer { ticket, outcome: Err(OpenFailure::stale()), said: None, lease: None }
}

fn unknown(ticket: u32, position: u32) -> OpenAnswer {
    let text =
        format!("the worker asked for resource number {position}, which the policy does not have");
    let said = Some(text.clone());
    let failure = OpenFailure { errno: Errno::NOENT, text };
    OpenAnswer { ticket, outcome: Err(failure), said, lease: None }
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
