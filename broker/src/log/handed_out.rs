//! What a record says of a connection: what was handed out, and how a lease of it has ended.

use fdbroker_policy::Uid;
use fdbroker_wire::{Described, Lease, Opened};
use jiff::Timestamp;

/// What tells a connection that was handed out from others. All but the lease's number is what the helper says, or the
/// server.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct HandedOut<'a> {
    /// The number of its lease, where it is had on terms.
    pub(crate) lease: Option<u64>,
    /// The address that answered.
    pub(crate) peer: Option<&'a str>,
    /// The number by which the server knows the session. Never what cancels a request.
    pub(crate) session: Option<u64>,
}

/// How a lease has ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct LeaseEnd {
    /// When it began.
    pub(crate) since: Timestamp,
    /// Why, in a word.
    pub(crate) ended: &'static str,
    /// Who said so, where somebody did.
    pub(crate) by: Option<Uid>,
}

impl<'a> HandedOut<'a> {
    /// Returns what is to be recorded of something that was opened: nothing, if it is no connection.
    pub(crate) fn of<F>(opened: &'a Opened<F>) -> Self {
        let connection = opened.connection().map(Self::connected).unwrap_or_default();
        Self { lease: opened.lease(), ..connection }
    }

    /// Returns what is to be recorded of a connection that is had on terms.
    pub(crate) fn of_lease(lease: &'a Lease) -> Self {
        Self { lease: Some(lease.number), ..Self::connected(&lease.connection) }
    }

    fn connected(connection: &'a Described) -> Self {
        Self { lease: None, peer: connection.known_peer(), session: connection.session }
    }

    pub(super) fn lease_number(self) -> Option<i64> {
        self.lease.map(number)
    }

    pub(super) fn session_number(self) -> Option<i64> {
        self.session.map(number)
    }

    /// The same without its texts.
    pub(super) fn without_texts<'b>(self) -> HandedOut<'b> {
        HandedOut { peer: None, lease: self.lease, session: self.session }
    }
}

fn number(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
