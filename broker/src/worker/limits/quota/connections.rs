//! What connections are charged: those that are served, that wait, and that have ended.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::charge::{Account, ConnectionCharge, LateCharge};
use super::exceeded::{Exceeded, FEW};
use super::quotas::Quotas;
use crate::payer::Payer;
use crate::worker::limits::table::{Counted, EndedCharge};

/// The last connections are for users who have few: so that many users who have many do not keep another one
/// out. Which part of all connections these are.
const KEPT: u32 = 8;

impl Quotas {
    /// Charges a connection of `payer`.
    ///
    /// # Errors
    /// The limit that is reached.
    pub(crate) fn connection(&self, payer: Payer) -> Result<ConnectionCharge, Exceeded> {
        let account = self.account(payer);
        let limits = self.limits.get();
        let all = self.table.connections.load(Ordering::Relaxed);
        let own = account.connections.load(Ordering::Relaxed);
        if all >= limits.connections {
            return Err(Exceeded::Connections(limits.connections));
        }
        if own >= limits.connections_per_uid {
            return Err(Exceeded::ConnectionsOfUser(limits.connections_per_uid));
        }
        let kept = limits.connections / KEPT;
        if own >= FEW && all >= limits.connections - kept {
            return Err(Exceeded::LastConnections(kept));
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
    pub(crate) fn late(&self, payer: Payer) -> Result<LateCharge, Exceeded> {
        let account = self.account(payer);
        let share = self.share()?;
        if !self.table.may_wait() || account.brought.load(Ordering::Relaxed) >= share {
            return Err(Exceeded::Brought);
        }
        Ok(LateCharge { _late: Counted::of(&self.table.late), _brought: account.brings() })
    }

    /// Charges a connection that an earlier worker had and that is not closed everywhere, whatever the
    /// limits are.
    pub(crate) fn former_connection(&self, payer: Payer) -> ConnectionCharge {
        self.charged_connection(self.account(payer))
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
    use fdbroker_policy::Settings;

    use super::super::quotas::tests::{quotas, settings};
    use super::{Exceeded, FEW, Quotas};
    use crate::payer::Payer;

    #[test]
    fn connections_of_one_user_leave_others_room_in_a_small_table() {
        let many = Settings { max_connections: 256, max_connections_per_uid: 256, ..settings() };
        let small = Quotas::new(&many, 128);
        let held: Vec<_> = (0..).map_while(|_| small.connection(Payer::named(1)).ok()).collect();
        assert_eq!(held.len(), 4, "two descriptors each, and a sixteenth of the table");
        assert!(small.connection(Payer::named(2)).is_ok());
        assert!(small.shortfall(&many, 0).is_some());
        assert!(quotas().shortfall(&settings(), 0).is_none());
    }

    #[test]
    fn connections_that_wait_for_others_never_fill_a_small_table() {
        let quotas = Quotas::new(&settings(), 256);
        let late: Vec<_> =
            (0..500).filter_map(|number| quotas.late(Payer::named(number % 10)).ok()).collect();
        assert_eq!(late.len(), 8, "a thirty-second");
        assert_eq!(quotas.may_read(&quotas.reader(Payer::named(20))), Ok(()));
        drop(late);
        assert!(quotas.late(Payer::named(1)).is_ok());
    }

    #[test]
    fn the_last_connections_are_for_users_who_have_few() {
        let many = Settings { max_connections: 64, max_connections_per_uid: 20, ..settings() };
        let quotas = Quotas::new(&many, 4096);
        let mut held = Vec::new();
        for uid in 1..=3 {
            held.extend((0..).map_while(|_| quotas.connection(Payer::named(uid)).ok()));
        }
        assert_eq!(held.len(), 56);
        assert_eq!(quotas.connection(Payer::named(3)).err(), Some(Exceeded::LastConnections(8)));
        for uid in 5..=8 {
            held.extend((0..FEW).map(|_| quotas.connection(Payer::named(uid)).unwrap()));
        }
        assert_eq!(quotas.connection(Payer::named(9)).err(), Some(Exceeded::Connections(64)));
    }

    #[test]
    fn a_connection_counts_until_it_is_dropped() {
        let quotas = quotas();
        let first = quotas.connection(Payer::named(1)).unwrap();
        let _second = quotas.connection(Payer::named(1)).unwrap();
        assert_eq!(quotas.connection(Payer::named(1)).err(), Some(Exceeded::ConnectionsOfUser(2)));
        let third = quotas.connection(Payer::named(2)).unwrap();
        assert_eq!(quotas.connection(Payer::named(3)).err(), Some(Exceeded::Connections(3)));
        drop((first, third));
        assert!(quotas.connection(Payer::named(1)).is_ok());
    }
}
