//! The audit trail: each request, who made it, what was decided by which rule, and the result.
//!
//! A record goes to the log, and to the file of `--audit-file` if there is one. The file is the
//! trail that must not lose records. If the policy requires it, a request that cannot be written to
//! it is not done, or not answered. Refusals that repeat are a few records with a count.

mod line;
mod repeats;
mod trail;

use std::cell::{Cell, RefCell};
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::time::{Duration, Instant};

use fdbroker_policy::{Audit as Setting, Policy};
use fdbroker_types::counted;
use tokio::sync::Notify;

use crate::log::{Entry, Log, Record, Verdict};
use crate::payer::Payers;
use repeats::{Rates, Repeats};
use trail::{Appended, Trail};

/// How often counts of what repeats are written.
const COUNTS_EVERY: Duration = Duration::from_secs(1);

/// Where this process records.
pub(crate) struct Audit {
    log: Rc<Log>,
    trail: RefCell<Option<Trail>>,
    required: Cell<bool>,
    repeats: RefCell<Repeats>,
    /// Told when something has been counted instead of recorded.
    counted: Notify,
}

/// The trail cannot be written, and is required.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct NotRecorded;

impl Audit {
    /// Records to `log`, and to `trail`.
    pub(crate) fn new(log: Rc<Log>, trail: Option<OwnedFd>) -> Self {
        Self {
            log,
            trail: RefCell::new(trail.map(Trail::new)),
            required: Cell::new(false),
            repeats: RefCell::new(Repeats::new(Instant::now())),
            counted: Notify::new(),
        }
    }

    /// The log, for what is no record.
    pub(crate) fn log(&self) -> &Rc<Log> {
        &self.log
    }

    /// Heeds what a policy says of the trail: whether what cannot be written to it may not be done,
    /// how many records of refusals there may be, and on whose account.
    pub(crate) fn follow(&self, policy: &Policy, payers: &Payers) {
        self.required.set(policy.settings().audit == Setting::Required);
        self.repeats.borrow_mut().limit(Rates::of(policy), payers.clone());
    }

    /// Goes on in another file: the old one has been moved away.
    pub(crate) fn go_on_in(&self, file: OwnedFd) {
        self.settle();
        match &mut *self.trail.borrow_mut() {
            Some(trail) => trail.go_on_in(file),
            none => *none = Some(Trail::new(file)),
        }
    }

    /// Ends the part of a line that a full disk or a dead process left in the file.
    pub(crate) fn repair(&self) {
        self.trail.borrow_mut().iter_mut().for_each(Trail::repair);
    }

    /// Returns how many records the file has not taken, if it did not take the last one. `None` if
    /// there is no file.
    pub(crate) fn failing(&self) -> Option<Option<u64>> {
        self.trail.borrow().as_ref().map(Trail::failing)
    }

    /// Records.
    ///
    /// # Errors
    /// When the trail is required and this is not in it: what it speaks of must not be done.
    pub(crate) fn record(&self, record: &Record<'_>) -> Result<(), NotRecorded> {
        let repeats = record.verdict != Verdict::Granted
            && self.repeats.borrow_mut().only_counts(record, Instant::now());
        if repeats {
            self.counted.notify_one();
            return Ok(());
        }
        self.write(record)
    }

    fn write(&self, record: &Record<'_>) -> Result<(), NotRecorded> {
        let appended = self.append(record);
        self.log.write(&Entry::audit(*record));
        if appended || !self.required.get() { Ok(()) } else { Err(NotRecorded) }
    }

    /// Whether the trail has it; where there is none, there is nothing to be had.
    fn append(&self, record: &Record<'_>) -> bool {
        let mut trail = self.trail.borrow_mut();
        let Some(trail) = trail.as_mut() else { return true };
        match trail.append(record) {
            Appended::Yes => true,
            Appended::Again { lost } => {
                let lost = counted(lost, "record");
                self.log.warn(&format!("the audit file can be written again; it lacks {lost}"));
                true
            }
            Appended::No { error: Some(error) } => {
                self.log.error(&format!(
                    "the audit file cannot be written: {error}; {}; free some space or repair the \
                     disk, or move the file away and send SIGHUP",
                    self.consequence()
                ));
                false
            }
            Appended::No { error: None } => false,
        }
    }

    fn consequence(&self) -> &'static str {
        if self.required.get() {
            "requests are refused until it can be written (audit = \"required\")"
        } else {
            "requests are served without a record in it (audit = \"best-effort\")"
        }
    }

    /// Writes the counts of what repeats, second by second. Never ends.
    pub(crate) async fn keep_counting(&self) {
        loop {
            while self.write_counts(Some(Instant::now())) {
                tokio::time::sleep(COUNTS_EVERY).await;
            }
            self.counted.notified().await;
        }
    }

    /// Writes every count that is left.
    pub(crate) fn settle(&self) {
        self.write_counts(None);
    }

    /// Writes the counts of what has repeated long enough by `now`; whether there are others.
    fn write_counts(&self, now: Option<Instant>) -> bool {
        let (counts, more) = self.repeats.borrow_mut().due(now);
        for record in counts {
            // Of refusals: nothing is done that would have to be stopped.
            let _ = self.write(&record.borrow());
        }
        more
    }
}
