//! What the supervisor itself records, and the audit file that it and its worker append to.

use std::cell::RefCell;
use std::future::{pending, poll_fn};
use std::io;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::time::Duration;

use fdbroker_policy::{Audit as Setting, Gid, Policy, Resource, Uid};
use rustix::process::{getegid, geteuid, getpid};
use tokio::time::{Interval, MissedTickBehavior, interval};

use super::file::AuditFile;
use crate::audit::Audit;
use crate::log::{Kind, Log, Name, Record, Subject, Verdict};
use crate::payer::Payers;
use crate::supervisor::error::StartError;
use crate::supervisor::policy_error::PolicyError;

/// The supervisor's audit trail.
pub(crate) struct Records {
    pub(crate) audit: Rc<Audit>,
    file: Option<AuditFile>,
    /// When it is looked whether somebody has deleted the file. Kept, since to begin to wait for a time
    /// costs a system call.
    looks: RefCell<Option<Interval>>,
}

/// How often it is looked whether somebody has deleted the audit file.
const LOOK_EVERY: Duration = Duration::from_secs(1);

fn looks() -> Interval {
    let mut looks = interval(LOOK_EVERY);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    looks
}

impl Records {
    /// Records to the log, and to `file`.
    ///
    /// # Errors
    /// When the policy requires a file and there is none.
    pub(crate) fn new(
        log: Rc<Log>,
        file: Option<AuditFile>,
        policy: &Policy,
    ) -> Result<Self, StartError> {
        let shared =
            file.as_ref().map(AuditFile::share).transpose().map_err(StartError::AuditCopy)?;
        let records =
            Self { audit: Rc::new(Audit::new(log, shared)), file, looks: RefCell::default() };
        records.suffice(policy)?;
        records.follow(policy);
        Ok(records)
    }

    /// Heeds what a policy says of the trail.
    pub(crate) fn follow(&self, policy: &Policy) {
        self.audit.follow(policy, &Payers::default());
    }

    /// Whether a policy gets the audit trail that it requires.
    ///
    /// # Errors
    /// When it does not.
    pub(crate) fn suffice(&self, policy: &Policy) -> Result<(), PolicyError> {
        match policy.settings().audit {
            Setting::Required if self.file.is_none() => Err(PolicyError::NoAuditFile),
            _ => Ok(()),
        }
    }

    pub(crate) fn log(&self) -> &Rc<Log> {
        self.audit.log()
    }

    /// A descriptor of the audit file for a worker, where there is one.
    pub(crate) fn for_worker(&self) -> io::Result<Option<OwnedFd>> {
        self.audit.repair();
        self.file.as_ref().map(AuditFile::for_appending).transpose()
    }

    /// Waits until the audit file has been deleted; for ever, if there is none. Can be dropped and
    /// called again.
    pub(crate) async fn file_is_deleted(&self) {
        let Some(file) = &self.file else { return pending().await };
        loop {
            poll_fn(|context| self.looks.borrow_mut().get_or_insert_with(looks).poll_tick(context))
                .await;
            if file.is_deleted() {
                return;
            }
        }
    }

    /// Opens the audit file again, since it may have been moved away. Returns whether it is another
    /// one now.
    pub(crate) fn reopen(&mut self) -> bool {
        let Some(file) = &mut self.file else { return false };
        let reopened = file.reopen();
        match reopened.and_then(|another| another.then(|| file.share()).transpose()) {
            Ok(None) => false,
            Ok(Some(shared)) => {
                self.audit.go_on_in(shared);
                true
            }
            Err(error) => {
                let path = file.path().display();
                self.audit.log().error(&format!(
                    "--audit-file {path} cannot be reopened: {error}; records go to the old file"
                ));
                false
            }
        }
    }

    /// Records that a resource was opened, to be shared by all who may have it.
    pub(crate) fn opened(&self, resource: &Resource) {
        // It is open already; nobody has it yet.
        let _ = self.audit.record(&Record {
            kind: Kind::Open,
            right: "open",
            subject: Subject::Slot(resource.slot),
            name: Name::Plain(&resource.name),
            reason: "opened once, shared by all who may have it",
            ..own()
        });
    }

    /// Records that this broker took over from another one, or did not.
    pub(crate) fn took_over(&self, verdict: Verdict, reason: &str) {
        // Nobody is to be stopped by that any more.
        let _ = self.audit.record(&Record {
            kind: Kind::HandOver,
            right: "replace",
            verdict,
            reason,
            ..own()
        });
    }

    /// Records the result of a reload.
    pub(crate) fn reloaded(&self, verdict: Verdict, reason: &str) {
        // The old policy or the new one holds in any case.
        let _ = self.audit.record(&Record {
            kind: Kind::Reload,
            right: "reload",
            verdict,
            reason,
            ..own()
        });
    }
}

/// A record of something that this process did by itself.
fn own() -> Record<'static> {
    let (uid, gid) = (Uid(geteuid().as_raw()), Gid(getegid().as_raw()));
    Record::of(uid, gid, getpid().as_raw_nonzero().get(), "none")
}
