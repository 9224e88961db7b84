//! The accounts of all users, and the limits of each.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use fdbroker_policy::Settings;

use super::charge::Account;
use super::holding::Holding;
use crate::payer::Payer;
use crate::worker::limits::forgetful::Forgetful;
use crate::worker::limits::table::Table;

/// The accounts of all users.
pub(crate) struct Quotas {
    pub(super) limits: Cell<Limits>,
    pub(super) table: Table,
    pub(super) accounts: RefCell<Forgetful<Payer, Arc<Account>>>,
}

#[derive(Clone, Copy)]
pub(super) struct Limits {
    pub(super) connections: u32,
    pub(super) connections_per_uid: u32,
    pub(super) slots: u32,
    pub(super) bytes: u64,
    pub(super) descriptors: u32,
    pub(super) all_descriptors: u32,
    pub(super) brought: u32,
}

impl Limits {
    fn of(settings: &Settings, table: &Table) -> Self {
        let (size, connections) = (table.size(), table.most_connections());
        Self {
            connections: settings.max_connections.min(connections),
            connections_per_uid: settings.max_connections_per_uid.min(connections / 4),
            slots: settings.max_slots_per_uid,
            bytes: settings.max_payload_bytes_per_uid,
            descriptors: size / 2,
            all_descriptors: (size / 8 * 5)
                .min(table.room_beside(connections.min(settings.max_connections))),
            brought: size / 16,
        }
    }
}

/// How much all users have.
pub(crate) struct Usage {
    pub(crate) connections: u32,
    pub(crate) descriptors: u32,
    pub(crate) descriptor_limit: u32,
}

impl Quotas {
    /// Applies the policy's limits, and those of a descriptor table with `table` entries:
    ///
    /// - deposits may fill five eighths of it, those of one user half;
    /// - connections, which take two entries each, may fill a quarter, those of one user a quarter
    ///   of that;
    /// - other descriptors that one user brought may fill a sixteenth.
    ///
    /// In a small table, some entries are kept free for what one read brings, at the cost of
    /// deposits.
    pub(crate) fn new(settings: &Settings, table: u64) -> Self {
        let table = Table::new(table);
        let limits = Cell::new(Limits::of(settings, &table));
        Self { limits, table, accounts: RefCell::default() }
    }

    /// Applies other limits from now on. Existing charges stay.
    pub(crate) fn limit(&self, settings: &Settings) {
        self.limits.set(Limits::of(settings, &self.table));
    }

    /// Returns what all users hold now.
    pub(crate) fn usage(&self) -> Usage {
        Usage {
            connections: self.table.connections.load(Ordering::Relaxed),
            descriptors: self.table.deposits.load(Ordering::Relaxed),
            descriptor_limit: self.limits.get().all_descriptors,
        }
    }

    /// Returns what each user holds, in the order of their ids; those who hold nothing are left out.
    pub(crate) fn holdings(&self) -> BTreeMap<Payer, Holding> {
        let accounts = self.accounts.borrow();
        let holdings = accounts.iter().map(|(payer, account)| (*payer, account.holding()));
        holdings.filter(|(_, has)| *has != Holding::default()).collect()
    }

    /// Returns how much a user may have.
    pub(crate) fn most(&self) -> Holding {
        let limits = self.limits.get();
        Holding {
            connections: limits.connections_per_uid,
            deposits: limits.slots,
            bytes: limits.bytes,
            descriptors: limits.descriptors,
            opening: 0,
        }
    }

    /// Names the limits of the policy that the descriptor table is too small for, and the limit of
    /// open descriptors that would do. `None` if the table is large enough.
    ///
    /// `beside`: how many descriptors of that limit are no part of the table.
    pub(crate) fn shortfall(&self, settings: &Settings, beside: u64) -> Option<String> {
        let limits = self.limits.get();
        let (all, each) = (limits.connections, limits.connections_per_uid);
        // With how much of the table one of each takes, at the part of it that they may fill.
        let keys = [
            ("max_connections", settings.max_connections, all, 8),
            ("max_connections_per_uid", settings.max_connections_per_uid, each, 32),
            ("max_slots_per_uid", settings.max_slots_per_uid, limits.descriptors, 2),
        ];
        let short: Vec<_> = keys.iter().filter(|(_, wanted, left, _)| left < wanted).collect();
        let takes = short.iter().map(|(_, wanted, _, each)| u64::from(*wanted) * each).max()?;
        let short =
            short.iter().map(|(key, wanted, left, _)| format!("{left} of {key} = {wanted}"));
        Some(format!(
            "the limit of open descriptors leaves room for only {}; raise LimitNOFILE= of the unit, or \
             ulimit -n, to {}",
            short.collect::<Vec<_>>().join(" and for only "),
            takes.saturating_add(beside)
        ))
    }

    pub(super) fn account(&self, payer: Payer) -> Arc<Account> {
        let held = |account: &mut Arc<Account>| Arc::strong_count(account) > 1;
        let (all_descriptors, all_brought) =
            (Arc::clone(&self.table.deposits), Arc::clone(&self.table.brought));
        let new = || Arc::new(Account { all_descriptors, all_brought, ..Account::default() });
        Arc::clone(self.accounts.borrow_mut().entry(payer, held).or_insert_with(new))
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::time::Duration;

    use fdbroker_policy::{Account, Audit, Settings, Uid};

    use super::Quotas;

    pub(crate) fn settings() -> Settings {
        Settings {
            user: Account::Number(Uid(1)),
            max_connections: 3,
            max_connections_per_uid: 2,
            max_slots_per_uid: 2,
            max_payload_bytes_per_uid: 10,
            frame_timeout: Duration::from_secs(1),
            audit: Audit::default(),
            ..Settings::default()
        }
    }

    pub(crate) fn quotas() -> Quotas {
        Quotas::new(&settings(), 1000)
    }

    #[test]
    fn only_the_keys_that_have_too_little_room_are_told() {
        let told = |all, each| {
            let settings =
                Settings { max_connections: all, max_connections_per_uid: each, ..settings() };
            Quotas::new(&settings, 128).shortfall(&settings, 0).unwrap_or_default()
        };
        assert_eq!(told(16, 4), "");
        assert!(told(16, 5).ends_with("ulimit -n, to 160"), "{}", told(16, 5));
        assert!(told(17, 5).ends_with("ulimit -n, to 160"), "{}", told(17, 5));
        assert!(told(16, 5).contains("only 4 of max_connections_per_uid = 5;"), "{}", told(16, 5));
        assert!(told(17, 4).contains("only 16 of max_connections = 17;"), "{}", told(17, 4));
    }

    #[test]
    fn a_table_of_the_size_that_is_told_has_room_for_all() {
        let settings = Settings::default();
        let told = Quotas::new(&settings, 1024).shortfall(&settings, 70).unwrap();
        assert!(told.contains("only 512 of max_slots_per_uid = 16384;"), "{told}");
        let limit: u64 = told.rsplit(' ').next().unwrap().parse().unwrap();
        assert_eq!(limit, 32768 + 70);
        let takes = limit - 70;
        assert_eq!(Quotas::new(&settings, takes).shortfall(&settings, 70), None);
        assert!(Quotas::new(&settings, takes - 1).shortfall(&settings, 70).is_some());
    }
}
