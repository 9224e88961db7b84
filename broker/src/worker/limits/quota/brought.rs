//! What users are charged for descriptors that they bring or have opened. What one user brings never
//! fills the table for the others.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::charge::{Account, BroughtCharge, OpeningCharge, Reader};
use super::exceeded::{Exceeded, MAX_OPENING};
use super::quotas::Quotas;
use crate::opening_cost::OpeningCost;
use crate::payer::Payer;
use crate::worker::limits::table::Counted;

/// The part of the table that what one user brought, and nobody can close, may fill.
const STUCK: u32 = 4;

impl Quotas {
    /// Returns the account of `payer`, to be asked before each read what it may bring.
    pub(crate) fn reader(&self, payer: Payer) -> Reader {
        Reader(self.account(payer))
    }

    /// Whether the broker may read from a user, who may bring as many descriptors as one message
    /// holds. The user's own share, which shrinks as the table fills, bounds that; and so does the
    /// room in the table.
    ///
    /// # Errors
    /// The limit that would be passed.
    pub(crate) fn may_read(&self, reader: &Reader) -> Result<(), Exceeded> {
        let share = self.share()?;
        let own = reader.0.brought.load(Ordering::Relaxed);
        if own > 0 && own >= share { Err(Exceeded::Brought) } else { Ok(()) }
    }

    /// How much one user may bring, as the table is now.
    pub(super) fn share(&self) -> Result<u32, Exceeded> {
        let left = self.table.left().ok_or(Exceeded::Table)?;
        Ok(self.limits.get().brought.min(left / 4))
    }

    /// Waits until no room is left for what one read brings. That may be over by then.
    pub(crate) async fn crowded(&self) {
        self.table.crowded().await;
    }

    /// Whether the table has no room to read from anybody; or one user has filled a quarter of it
    /// with descriptors that cannot be closed.
    pub(crate) fn is_full(&self) -> bool {
        let overfull = |account: &Arc<Account>| self.is_overfull(account);
        self.table.is_full() || self.accounts.borrow().values().any(overfull)
    }

    /// Returns the user who brought the most of the descriptors that are open now.
    pub(crate) fn foremost(&self) -> Option<Payer> {
        let accounts = self.accounts.borrow();
        let brought = |account: &Account| account.brought.load(Ordering::Relaxed);
        accounts.iter().max_by_key(|(_, account)| brought(account)).map(|(payer, _)| *payer)
    }

    /// Charges a connection of `payer` that has been shut with descriptors unread in it. How many there are
    /// is up to the user: they are made by connect(2) and send(2), before anybody can be refused.
    pub(crate) fn shut_unread(&self, payer: Payer) -> BroughtCharge {
        let account = self.account(payer);
        let charge = account.brings();
        // Nobody was asked whether there is room for it: that is looked at now.
        if self.is_overfull(&account) {
            self.table.look();
        }
        let _ = self.share();
        charge
    }

    /// Whether a user has brought so much that cannot be closed that another process, with another table,
    /// has to take over.
    fn is_overfull(&self, account: &Account) -> bool {
        account.brought.load(Ordering::Relaxed) > self.table.size() / STUCK
    }

    /// Whether one more resource may be opened for `payer`, which takes so many entries. The bound on
    /// its entries in the table is a little less than what it may bring. So resources opened for a user
    /// never keep the broker from reading its requests.
    ///
    /// # Errors
    /// The limit that would be passed.
    pub(crate) fn may_open(&self, payer: Payer, cost: OpeningCost) -> Result<(), Exceeded> {
        let share = self.share()?;
        let own = self.account(payer).brought.load(Ordering::Relaxed);
        let is_over = own.saturating_add(cost.at_work.max(cost.kept)) >= share;
        if own > 0 && is_over { Err(Exceeded::Opened) } else { Ok(()) }
    }

    /// Charges the opening of a resource for `payer`, and the entries of the table that it takes.
    ///
    /// # Errors
    /// When as many are being opened for it as may be, or as many are open as [`Quotas::may_open`].
    pub(crate) fn opening(
        &self,
        payer: Payer,
        cost: OpeningCost,
    ) -> Result<OpeningCharge, Exceeded> {
        self.may_open(payer, cost)?;
        let account = self.account(payer);
        if account.opening.load(Ordering::Relaxed) >= MAX_OPENING {
            return Err(Exceeded::Opening);
        }
        let (opening, at_work) = (Counted::of(&account.opening), account.brings_many(cost.at_work));
        Ok(OpeningCharge { account, _opening: opening, _at_work: at_work, kept: cost.kept })
    }
}

#[cfg(test)]
mod tests {
    use std::task::{Context, Waker};

    use fdbroker_policy::Settings;

    use super::super::quotas::tests::{quotas, settings};
    use super::{Exceeded, OpeningCharge, OpeningCost, Quotas};
    use crate::payer::Payer;

    fn opening(quotas: &Quotas, payer: Payer) -> Result<OpeningCharge, Exceeded> {
        quotas.opening(payer, OpeningCost::LEAST)
    }

    impl Quotas {
        /// Whether it has been told that no room is left, since this was last asked.
        fn is_crowded(&self) -> bool {
            let crowded = std::pin::pin!(self.crowded());
            crowded.poll(&mut Context::from_waker(Waker::noop())).is_ready()
        }
    }

    #[test]
    fn users_together_never_fill_the_table_by_what_they_bring() {
        let quotas = Quotas::new(&settings(), 4096);
        let mut held = Vec::new();
        for uid in 0..100 {
            let reader = quotas.reader(Payer::named(uid));
            while quotas.may_read(&reader).is_ok() {
                held.extend((0..253).map(|_| reader.charge()));
            }
        }
        let free = 4096 - held.len();
        assert!(free >= 253, "{free} are left: one read more would not fit");
        held.truncate(2000);
        assert_eq!(quotas.may_read(&quotas.reader(Payer::named(1000))), Ok(()));
    }

    #[test]
    fn several_users_fill_the_table_by_what_cannot_be_closed_without_any_of_them_filling_a_quarter()
    {
        let quotas = Quotas::new(&settings(), 4096);
        let mut held = Vec::new();
        for uid in 0..4 {
            assert!(!quotas.is_full(), "by {uid} users");
            assert!(!quotas.is_crowded());
            held.extend((0..1020).map(|_| quotas.shut_unread(Payer::named(uid))));
        }
        assert!(quotas.is_crowded());
        assert!(quotas.is_full());
        assert!(
            !quotas.is_crowded(),
            "looking tells nothing: or else who waits for that would look forever"
        );
        held.truncate(3000);
        assert!(!quotas.is_full());
        assert_eq!(quotas.foremost().map(|payer| payer < Payer::named(2)), Some(true));
    }

    #[test]
    fn a_table_that_is_in_use_is_filled_by_less() {
        let generous = Settings { max_slots_per_uid: 10_000, ..settings() };
        let quotas = Quotas::new(&generous, 4096);
        let charge = |uid| quotas.deposit(Payer::named(uid), 0, true, None);
        let _deposits: Vec<_> = (1..).map_while(|number| charge(number % 8).ok()).collect();
        let _brought: Vec<_> = {
            let reader = quotas.reader(Payer::named(9));
            std::iter::repeat_with(|| quotas.may_read(&reader).map(|()| reader.charge()))
                .map_while(Result::ok)
                .collect()
        };
        assert!(!quotas.is_full(), "there is room for what one read brings");
        let _shut: Vec<_> = (0..1020).map(|_| quotas.shut_unread(Payer::named(10))).collect();
        assert!(quotas.is_full());
    }

    #[test]
    fn whoever_is_over_its_share_may_bring_nothing_more() {
        let quotas = Quotas::new(&settings(), 4096);
        let reader = quotas.reader(Payer::named(1));
        let held: Vec<_> = (0..256).map(|_| reader.charge()).collect();
        assert_eq!(quotas.may_read(&reader), Err(Exceeded::Brought));
        assert_eq!(quotas.may_read(&quotas.reader(Payer::named(2))), Ok(()));
        drop(held);
        assert_eq!(quotas.may_read(&reader), Ok(()));
    }

    #[test]
    fn no_user_may_have_many_resources_opened_at_once() {
        let quotas = quotas();
        let mut under_way: Vec<_> =
            (0..8).map(|_| opening(&quotas, Payer::named(1)).expect("not too many yet")).collect();
        assert_eq!(opening(&quotas, Payer::named(1)).err(), Some(Exceeded::Opening));
        assert!(opening(&quotas, Payer::named(2)).is_ok());
        under_way.pop();
        assert!(opening(&quotas, Payer::named(1)).is_ok());
    }

    #[test]
    fn what_was_opened_counts_until_it_is_closed_and_leaves_the_user_to_be_read_from() {
        let quotas = Quotas::new(&settings(), 4096);
        let mut open = Vec::new();
        while let Ok(charge) = opening(&quotas, Payer::named(1)) {
            open.push(charge.opened());
            assert!(open.len() < 256, "it is not to have more than what it may bring");
        }
        assert!(open.len() > 250, "{} were opened", open.len());
        assert_eq!(opening(&quotas, Payer::named(1)).err(), Some(Exceeded::Opened));
        assert_eq!(quotas.may_read(&quotas.reader(Payer::named(1))), Ok(()));
        assert!(opening(&quotas, Payer::named(2)).is_ok());
        open.pop();
        assert!(opening(&quotas, Payer::named(1)).is_ok());
    }

    #[test]
    fn leases_of_all_users_leave_room_for_one_message() {
        for table in [64, 256, 1024, 4096] {
            let quotas = Quotas::new(&settings(), table);
            let lease = OpeningCost { at_work: 8, kept: 3 };
            let begun = |uid| Some(quotas.opening(Payer::named(uid), lease).ok()?.kept());
            let of_user = |uid| std::iter::repeat_with(move || begun(uid)).map_while(|it| it);
            let leases: Vec<_> = (0..100).flat_map(of_user).collect();
            let kept = u64::try_from(3 * leases.len()).unwrap();
            // The supervisor stops at three quarters, or where one message less fits.
            let full = table - (table / 4).min(253);
            assert!(kept < full && !leases.is_empty(), "{kept} entries of {table}");
        }
    }

    #[test]
    fn in_the_smallest_table_a_resource_can_be_opened_too() {
        let quotas = Quotas::new(&settings(), 64);
        assert!(opening(&quotas, Payer::named(1)).is_ok());
    }
}
