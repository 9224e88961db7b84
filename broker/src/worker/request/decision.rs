//! Whether the policy grants a request: to the process that connected and to the process that wrote
//! it.
//!
//! A connection can outlive the rights of its process (setuid(2)), and be handed to another
//! process. So a request is granted only if the policy grants it to both identities: the
//! connection's and the writer's.

use std::cell::Cell;
use std::os::fd::AsFd;
use std::rc::Rc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use fdbroker_policy::{Right, Target, Uid, Verdict};

use crate::deposit_record::Origin;
use crate::payer::Payer;
use crate::worker::identity::writer::{Other, Writer};
use crate::worker::identity::{Identity, Unreadable};
use crate::worker::limits::quota::BroughtCharge;
use crate::worker::policy::active::Rules;
use crate::worker::state::Worker;

/// Who asks.
pub(crate) struct Requester {
    connection: Rc<Identity>,
    payer: Payer,
    writer: Result<Option<Identity>, Unreadable>,
    /// The writer's process takes a place in the descriptor table.
    _charge: Option<BroughtCharge>,
    /// How long the answer is held back, since requests came faster than a rule allows.
    pause: Cell<Duration>,
    has_counted: Cell<bool>,
}

/// Reads the identity of a process that wrote on a connection and may not be the one that made it.
async fn look_up(
    worker: &Worker,
    (connection, payer): (&Identity, Payer),
    other: Other,
) -> Result<Identity, Unreadable> {
    let Other { sender, process } = other;
    let process = process.and_then(|process| process.as_fd().try_clone_to_owned().ok());
    let sees_units = connection.sees_units();
    match worker.lookups.read(payer, sender, process).await {
        Ok(seen) => Identity::of_sender(sender, seen, sees_units),
        Err(Unreadable::ENDED) if connection.has_numbers_of(&sender) => {
            Ok(Identity::vanished(sender, sees_units))
        }
        Err(unreadable) => Err(unreadable),
    }
}

/// What was decided, and by which rule.
#[must_use]
#[derive(PartialEq)]
pub(crate) struct Decision<'p> {
    pub(crate) granted: bool,
    pub(crate) rule: Option<&'p str>,
    /// Why, for the audit trail.
    pub(crate) reason: String,
}

impl Requester {
    /// The one who connected, and the one who wrote. Another process is looked up for that.
    pub(crate) async fn new(
        worker: &Worker,
        connection: &Rc<Identity>,
        payer: Payer,
        writer: Writer,
    ) -> Self {
        let charge = match writer {
            Writer::Other(_) => Some(worker.quotas.reader(payer).charge()),
            _ => None,
        };
        let writer = match writer {
            Writer::Own => Ok(None),
            Writer::Other(other) => look_up(worker, (connection, payer), other).await.map(Some),
            Writer::Several => Err(Unreadable::SEVERAL),
            Writer::Unknown => Err(Unreadable::NO_CREDENTIALS),
        };
        let connection = Rc::clone(connection);
        Self {
            connection,
            payer,
            writer,
            _charge: charge,
            pause: Cell::default(),
            has_counted: Cell::default(),
        }
    }

    /// On whose account its connection is.
    pub(crate) fn payer(&self) -> Payer {
        self.payer
    }

    /// The one who connected.
    pub(crate) fn connection(&self) -> &Identity {
        &self.connection
    }

    /// The one who wrote, where that is somebody else.
    pub(crate) fn other_writer(&self) -> Option<&Identity> {
        self.writer.as_ref().ok().and_then(Option::as_ref)
    }

    /// The process that asks: the one who wrote, or else the one who connected.
    pub(crate) fn asking(&self) -> &Identity {
        self.other_writer().unwrap_or(self.connection())
    }

    /// Its answer is held back for so long, at least.
    pub(crate) fn hold_back(&self, pause: Duration) {
        self.pause.set(self.pause.get().max(pause));
    }

    /// It has counted by the rates, and is only decided again.
    pub(crate) fn counts_no_more(&self) {
        self.has_counted.set(true);
    }

    /// Whether it counts by the rates.
    pub(crate) fn counts(&self) -> bool {
        !self.has_counted.get()
    }

    /// How long its answer is to be held back from now on; what is returned is waited for by the one that asks.
    pub(crate) fn take_pause(&self) -> Duration {
        self.pause.take()
    }

    /// The unit for the audit trail: of the one who connected, or of the one who has its pid now.
    pub(crate) fn unit(&self) -> &str {
        let connection = self.connection();
        let heir = self.other_writer().filter(|writer| writer.pid == connection.pid);
        heir.unwrap_or(connection).unit()
    }

    /// Where what it deposits comes from.
    pub(crate) fn origin(&self) -> Origin {
        let asking = self.asking();
        let since = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        Origin { since, pid: asking.pid, unit: asking.known_unit().map(Box::from) }
    }

    /// Whether who connected wrote it, and nobody else.
    pub(crate) fn wrote_itself(&self) -> bool {
        matches!(self.writer, Ok(None))
    }

    /// Whether this is `owner`, in both ways. Never the overflow user: all users whom our user
    /// namespace does not map look like it, see user_namespaces(7).
    pub(crate) fn is(&self, owner: Uid) -> bool {
        if matches!(owner, Uid::OVERFLOW | Uid::NONE) {
            return false;
        }
        let writer = self.other_writer().map_or(self.connection.uid, |writer| writer.uid);
        self.writer.is_ok() && self.connection.uid == owner && writer == owner
    }

    /// Decides; about what no policy knows, it is no.
    pub(crate) fn decide<'p>(
        &self,
        rules: &'p Rules,
        right: Right,
        target: Option<Target>,
    ) -> Decision<'p> {
        let Some(target) = target else {
            return Decision::refused(None, "no rule allows it".to_owned());
        };
        let connection = self.connection.decide(rules, right, target);
        let writer = match &self.writer {
            Err(unreadable) => return Decision::refused(None, unreadable.to_string()),
            Ok(None) => return Decision::of(connection, String::new()),
            Ok(Some(writer)) => writer,
        };
        if !connection.is_granted() {
            return Decision::of(connection, String::new());
        }
        let who =
            format!(" to the sender, uid {} gid {} pid {}", writer.uid, writer.gid, writer.pid);
        Decision::of(writer.decide(rules, right, target), who)
    }
}

impl<'p> Decision<'p> {
    fn of(verdict: Verdict<'p>, whom: String) -> Self {
        match verdict {
            Verdict::Granted { rule } => {
                Self { granted: true, rule: Some(rule), reason: String::new() }
            }
            Verdict::Refused { rule: Some(rule) } => {
                Self::refused(Some(rule), format!("a rule denies it{whom}"))
            }
            Verdict::Refused { rule: None } => {
                Self::refused(None, format!("no rule allows it{whom}"))
            }
            Verdict::Kept { rule } => {
                Self::refused(Some(rule), "nobody can change a resource's slot".to_owned())
            }
        }
    }

    pub(crate) fn refused(rule: Option<&'p str>, reason: String) -> Self {
        Self { granted: false, rule, reason }
    }
}
