//! What connections are charged: those that are served, that wait, and that have ended.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use fdbroker_policy::Uid;

use super::charge::{Account, ConnectionCharge, LateCharge};
use super::exceeded::Exceeded;
use super::quotas::Quotas;
use crate::worker::limits::table::{Counted, EndedCharge};

impl Quotas {
    /// Charges a connection of `uid`.
    ///
    /// # Errors
    /// The limit that is reached.
    pub(crate) fn connection(&self, uid: Uid) -> Result<ConnectionCharge, Exceeded> {
        let account = self.account(uid);
        let limits = self.limits.get();
        if self.table.connections.load(Ordering::Relaxed) >= limits.connections {
            return Err(Exceeded::Connections(limits.connections));
        }
        if account.connections.load(Ordering::Relaxed) >= limits.connections_per_uid {
            return Err(Exceeded::ConnectionsOfUser(limits.connections_per_uid));
        }
        if account.brought.load(Ordering::Relaxed) > limits.brought {
            return Err(Exceeded::Brought);
        }
        Ok(self.charged_connection(account))
    }

    /// Charges a connection that waits until others of its user have ended: as what the user brought, and
    /// no more than that may be.
    ///
    /// # Errors
    /// The limit that would be passed.
    pub(crate) fn late(&self, uid: Uid) -> Result<LateCharge, Exceeded> {
        let account = self.account(uid);
        let share = self.share()?;
        if !self.table.may_wait() || account.brought.load(Ordering::Relaxed) >= share {
            return Err(Exceeded::Brought);
        }
        Ok(LateCharge { _late: Counted::of(&self.table.late), _brought: account.brings() })
    }

    /// Charges a connection that an earlier worker had and that is not closed everywhere, whatever the
    /// limits are.
    pub(crate) fn former_connection(&self, uid: Uid) -> ConnectionCharge {
        self.charged_connection(self.account(uid))
    }

    fn charged_connection(&self, account: Arc<Account>) -> ConnectionCharge {
        let own = Counted::of(&account.connections);
        let all = Counted::of(&self.table.connections);
        ConnectionCharge { account, _own: own, _all: all }
    }

    /// Charges a connection that has ended with nothing left in it, until it has been closed.
    pub(crate) fn ended(&self) -> EndedCharge {
        self.table.ended()
    }

    /// Whether too many of those are still to be closed.
    pub(crate) fn has_many_unclosed(&self) -> bool {
        self.table.has_many_unclosed()
    }

    /// Waits while too many of those are still to be closed, up to a second.
    pub(crate) async fn has_closed_enough(&self) {
        self.table.has_closed_enough().await;
    }

    /// Charges a process that an earlier worker left a note of.
    pub(crate) fn former_process(&self) -> Counted {
        Counted::of(&self.table.former)
    }
}

#[cfg(test)]
mod tests {
    use fdbroker_policy::{Settings, Uid};

    use super::super::quotas::tests::{quotas, settings};
    use super::{Exceeded, Quotas};

    #[test]
    fn connections_of_one_user_leave_others_room_in_a_small_table() {
        let many = Settings { max_connections: 256, max_connections_per_uid: 256, ..settings() };
        let small = Quotas::new(&many, 128);
        let held: Vec<_> = (0..).map_while(|_| small.connection(Uid(1)).ok()).collect();
        assert_eq!(held.len(), 4, "two descriptors each, and a sixteenth of the table");
        assert!(small.connection(Uid(2)).is_ok());
        assert!(small.shortfall(&many, 0).is_some());
        assert!(quotas().shortfall(&settings(), 0).is_none());
    }

    #[test]
    fn connections_that_wait_for_others_never_fill_a_small_table() {
        let quotas = Quotas::new(&settings(), 256);
        let late: Vec<_> =
            (0..500).filter_map(|number| quotas.late(Uid(number % 10)).ok()).collect();
        assert_eq!(late.len(), 8, "a thirty-second");
        assert_eq!(quotas.may_read(&quotas.reader(Uid(20))), Ok(()));
        drop(late);
        assert!(quotas.late(Uid(1)).is_ok());
    }

    #[test]
    fn a_connection_counts_until_it_is_dropped() {
        let quotas = quotas();
        let first = quotas.connection(Uid(1)).unwrap();
        let _second = quotas.connection(Uid(1)).unwrap();
        assert_eq!(quotas.connection(Uid(1)).err(), Some(Exceeded::ConnectionsOfUser(2)));
        let third = quotas.connection(Uid(2)).unwrap();
        assert_eq!(quotas.connection(Uid(3)).err(), Some(Exceeded::Connections(3)));
        drop((first, third));
        assert!(quotas.connection(Uid(1)).is_ok());
    }
}
