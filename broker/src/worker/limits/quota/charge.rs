//! One user's account, and the charges on it. A charge is given back when it is dropped.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use tokio::sync::oneshot;

use super::holding::Holding;
use crate::worker::limits::table::{Counted, Counter};

/// While so many deposits of a user are late, nobody waits for others. Each would take a second.
const MANY: u32 = 8;

#[derive(Default)]
pub(super) struct Account {
    pub(super) connections: Counter,
    pub(super) slots: AtomicU32,
    pub(super) bytes: AtomicU64,
    pub(super) descriptors: AtomicU32,
    pub(super) brought: AtomicU32,
    pub(super) opening: Counter,
    /// Deposits that left their slots and that somebody waited for in vain.
    pub(super) late: AtomicU32,
    /// The deposited descriptors of all users, the same for every account.
    pub(super) all_descriptors: Counter,
    /// What all users brought, likewise.
    pub(super) all_brought: Counter,
}

impl Account {
    /// What is charged to it.
    pub(super) fn holding(&self) -> Holding {
        Holding {
            connections: self.connections.load(Ordering::Relaxed),
            deposits: self.slots.load(Ordering::Relaxed),
            bytes: self.bytes.load(Ordering::Relaxed),
            descriptors: self.descriptors.load(Ordering::Relaxed),
            opening: self.opening.load(Ordering::Relaxed),
        }
    }

    /// Charges a descriptor that the user brought.
    pub(super) fn brings(self: &Arc<Self>) -> BroughtCharge {
        self.brought.fetch_add(1, Ordering::Relaxed);
        self.all_brought.fetch_add(1, Ordering::Relaxed);
        BroughtCharge(Arc::clone(self))
    }

    /// Charges as many.
    pub(super) fn brings_many(self: &Arc<Self>, number: u32) -> Vec<BroughtCharge> {
        (0..number).map(|_| self.brings()).collect()
    }
}

/// A connection, on its user's account and on the broker's.
pub(crate) struct ConnectionCharge {
    pub(super) account: Arc<Account>,
    pub(super) _own: Counted,
    pub(super) _all: Counted,
}

impl ConnectionCharge {
    /// Charges a duplicate of the connection.
    pub(crate) fn duplicate(&self) -> BroughtCharge {
        self.account.brings()
    }
}

/// A deposit, on its owner's account.
pub(crate) struct DepositCharge {
    pub(super) account: Arc<Account>,
    pub(super) bytes: u64,
    pub(super) descriptors: u32,
    /// Dropped with it.
    pub(super) awaited: OnceLock<oneshot::Sender<()>>,
    /// Whether it was waited for in vain.
    pub(super) late: OnceLock<()>,
}

impl DepositCharge {
    /// Returns what ends when the charge is given back, with an error. Returns `None` while many charges
    /// of the account are late: there may be no thread left for it. Also if somebody waits already.
    pub(crate) fn given_back(&self) -> Option<oneshot::Receiver<()>> {
        if self.account.late.load(Ordering::Relaxed) >= MANY {
            return None;
        }
        let (sender, receiver) = oneshot::channel();
        self.awaited.set(sender).ok().map(|()| receiver)
    }

    /// It was waited for in vain.
    pub(crate) fn set_late(&self) {
        if self.late.set(()).is_ok() {
            self.account.late.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Drop for DepositCharge {
    fn drop(&mut self) {
        if self.late.get().is_some() {
            self.account.late.fetch_sub(1, Ordering::Relaxed);
        }
        self.account.slots.fetch_sub(1, Ordering::Relaxed);
        self.account.bytes.fetch_sub(self.bytes, Ordering::Relaxed);
        self.account.descriptors.fetch_sub(self.descriptors, Ordering::Relaxed);
        self.account.all_descriptors.fetch_sub(self.descriptors, Ordering::Relaxed);
    }
}

/// A descriptor that came from a user and is no deposit: not yet, or refused and not yet closed. Or one
/// that was opened for a user, until it has been sent and closed.
pub(crate) struct BroughtCharge(pub(super) Arc<Account>);

impl Drop for BroughtCharge {
    fn drop(&mut self) {
        self.0.brought.fetch_sub(1, Ordering::Relaxed);
        self.0.all_brought.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The account of the user whose connection is read from.
#[derive(Clone)]
pub(crate) struct Reader(pub(super) Arc<Account>);

impl Reader {
    /// Charges a descriptor that was brought, or that is open for as long as something is done for it.
    pub(crate) fn charge(&self) -> BroughtCharge {
        self.0.brings()
    }
}

/// A connection that waits, on its user's account.
pub(crate) struct LateCharge {
    pub(super) _late: Counted,
    pub(super) _brought: BroughtCharge,
}

/// A resource that is being opened for a user, and the entries of the table that it takes until then.
pub(crate) struct OpeningCharge {
    pub(super) account: Arc<Account>,
    pub(super) _opening: Counted,
    pub(super) _at_work: Vec<BroughtCharge>,
    pub(super) kept: u32,
}

impl OpeningCharge {
    /// Charges a descriptor that was opened: from now on it counts as what its user brought, until it is closed.
    pub(crate) fn opened(&self) -> BroughtCharge {
        self.account.brings()
    }

    /// Charges what the supervisor keeps of it, an entry each, until that is closed.
    pub(crate) fn kept(&self) -> Vec<BroughtCharge> {
        self.account.brings_many(self.kept)
    }
}
