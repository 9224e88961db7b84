//! How much of the broker each user may use: connections, deposits, bytes.
//!
//! A user is charged before the broker holds anything, and until the charge is dropped. For a
//! descriptor that is when its close(2) has ended: what is slow to close stays on its owner's
//! account.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use super::forgetful::Forgetful;
use super::table::{Counted, Counter, EndedCharge, Table};
use fdbroker_policy::{Settings, Uid};
use fdbroker_types::counted;
use tokio::sync::oneshot;

/// The accounts of all users.
pub(crate) struct Quotas {
    limits: Cell<Limits>,
    table: Table,
    accounts: RefCell<Forgetful<Uid, Arc<Account>>>,
}

#[derive(Clone, Copy)]
struct Limits {
    connections: u32,
    connections_per_uid: u32,
    slots: u32,
    bytes: u64,
    descriptors: u32,
    all_descriptors: u32,
    brought: u32,
}

/// The part of the table that what one user brought, and nobody can close, may fill.
const STUCK: u32 = 4;

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

#[derive(Default)]
struct Account {
    connections: Counter,
    slots: AtomicU32,
    bytes: AtomicU64,
    descriptors: AtomicU32,
    brought: AtomicU32,
    opening: Counter,
    /// Deposits that left their slots and that somebody waited for in vain.
    late: AtomicU32,
    /// The deposited descriptors of all users, the same for every account.
    all_descriptors: Counter,
    /// What all users brought, likewise.
    all_brought: Counter,
}

/// How much all users have.
pub(crate) struct Usage {
    pub(crate) connections: u32,
    pub(crate) descriptors: u32,
    pub(crate) descriptor_limit: u32,
}

/// The limit that a charge would pass, with its value where a key of the policy sets it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Exceeded {
    Connections(u32),
    ConnectionsOfUser(u32),
    Slots(u32),
    Bytes(u64),
    Descriptors,
    AllDescriptors,
    Brought,
    Table,
    Opening,
    Opened,
}

/// A connection, on its user's account and on the broker's.
pub(crate) struct ConnectionCharge {
    account: Arc<Account>,
    _own: Counted,
    _all: Counted,
}

/// A deposit, on its owner's account.
pub(crate) struct DepositCharge {
    account: Arc<Account>,
    bytes: u64,
    descriptors: u32,
    /// Dropped with it.
    awaited: OnceLock<oneshot::Sender<()>>,
    /// That was waited for in vain.
    late: AtomicBool,
}

/// A descriptor that came from a user and is no deposit: not yet, or refused and not yet closed. Or one
/// that was opened for a user, until it has been sent and closed.
pub(crate) struct BroughtCharge(Arc<Account>);

/// The account of the user whose connection is read from.
#[derive(Clone)]
pub(crate) struct Reader(Arc<Account>);

impl Reader {
    /// Charges a descriptor that was brought, or that is open for as long as something is done for it.
    pub(crate) fn charge(&self) -> BroughtCharge {
        self.0.brings()
    }
}

impl ConnectionCharge {
    /// Charges a duplicate of the connection.
    pub(crate) fn duplicate(&self) -> BroughtCharge {
        self.account.brings()
    }
}

impl Account {
    /// Charges a descriptor that the user brought.
    fn brings(self: &Arc<Self>) -> BroughtCharge {
        self.brought.fetch_add(1, Ordering::Relaxed);
        self.all_brought.fetch_add(1, Ordering::Relaxed);
        BroughtCharge(Arc::clone(self))
    }
}

/// A connection that waits, on its user's account.
pub(crate) struct LateCharge {
    _late: Counted,
    _brought: BroughtCharge,
}

/// A resource that is being opened for a user, and its place in the table once it is.
pub(crate) struct OpeningCharge {
    _opening: Counted,
    place: BroughtCharge,
}

impl OpeningCharge {
    /// Charges a descriptor that was opened: from now on it counts as what its user brought, until it is closed.
    pub(crate) fn opened(&self) -> BroughtCharge {
        self.place.0.brings()
    }
}

/// How many resources may be opened for one user at once: more wait only where something hangs.
const MAX_OPENING: u32 = 8;

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

    /// Returns the account of `uid`, to be asked before each read what it may bring.
    pub(crate) fn reader(&self, uid: Uid) -> Reader {
        Reader(self.account(uid))
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
    fn share(&self) -> Result<u32, Exceeded> {
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
    pub(crate) fn foremost(&self) -> Option<Uid> {
        let accounts = self.accounts.borrow();
        let brought = |account: &Account| account.brought.load(Ordering::Relaxed);
        accounts.iter().max_by_key(|(_, account)| brought(account)).map(|(uid, _)| *uid)
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

    /// Charges a connection of `uid` that has been shut with descriptors unread in it. How many there are
    /// is up to the user: they are made by connect(2) and send(2), before anybody can be refused.
    pub(crate) fn shut_unread(&self, uid: Uid) -> BroughtCharge {
        let account = self.account(uid);
        let charge = account.brings();
        // Nobody was asked whether there is room for it: that is looked at now.
        if self.is_overfull(&account) {
            self.table.look();
        }
        let _ = self.share();
        charge
    }

    /// Charges a process that an earlier worker left a note of.
    pub(crate) fn former_process(&self) -> Counted {
        Counted::of(&self.table.former)
    }

    /// Whether a user has brought so much that cannot be closed that another process, with another table,
    /// has to take over.
    fn is_overfull(&self, account: &Account) -> bool {
        account.brought.load(Ordering::Relaxed) > self.table.size() / STUCK
    }

    /// Whether one more resource may be opened for `uid`. The bound on its entries in the table is
    /// a little less than what it may bring. So resources opened for a user never keep the broker
    /// from reading its requests.
    ///
    /// # Errors
    /// The limit that would be passed.
    pub(crate) fn may_open(&self, uid: Uid) -> Result<(), Exceeded> {
        let share = self.share()?;
        let own = self.account(uid).brought.load(Ordering::Relaxed);
        if own > 0 && own.saturating_add(1) >= share { Err(Exceeded::Opened) } else { Ok(()) }
    }

    /// Charges the opening of a resource for `uid`, and the place in the table that it will take.
    ///
    /// # Errors
    /// When as many are being opened for it as may be, or as many are open as [`Quotas::may_open`].
    pub(crate) fn opening(&self, uid: Uid) -> Result<OpeningCharge, Exceeded> {
        self.may_open(uid)?;
        let account = self.account(uid);
        if account.opening.load(Ordering::Relaxed) >= MAX_OPENING {
            return Err(Exceeded::Opening);
        }
        Ok(OpeningCharge { _opening: Counted::of(&account.opening), place: account.brings() })
    }

    /// Charges a deposit of `bytes` of payload to `uid`, in the place of one of its own whose
    /// charge is `replaced`.
    ///
    /// # Errors
    /// The limit that would be passed.
    pub(crate) fn deposit(
        &self,
        uid: Uid,
        bytes: usize,
        descriptor: bool,
        replaced: Option<&DepositCharge>,
    ) -> Result<DepositCharge, Exceeded> {
        let charge = self.restored_deposit(uid, bytes, descriptor);
        let replaced = replaced.filter(|replaced| Arc::ptr_eq(&replaced.account, &charge.account));
        let slots = charge.account.slots.load(Ordering::Relaxed) - u32::from(replaced.is_some());
        let held = charge.account.bytes.load(Ordering::Relaxed);
        let limits = self.limits.get();
        if slots > limits.slots {
            return Err(Exceeded::Slots(limits.slots));
        }
        if held - replaced.map_or(0, |replaced| replaced.bytes) > limits.bytes {
            return Err(Exceeded::Bytes(limits.bytes));
        }
        let freed = replaced.map_or(0, |replaced| replaced.descriptors);
        if charge.account.descriptors.load(Ordering::Relaxed) - freed > limits.descriptors {
            return Err(Exceeded::Descriptors);
        }
        if descriptor && self.table.deposits.load(Ordering::Relaxed) > limits.all_descriptors {
            return Err(Exceeded::AllDescriptors);
        }
        Ok(charge)
    }

    /// Charges a deposit that was acknowledged already, whatever the limits are now.
    pub(crate) fn restored_deposit(
        &self,
        uid: Uid,
        bytes: usize,
        descriptor: bool,
    ) -> DepositCharge {
        let account = self.account(uid);
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        account.slots.fetch_add(1, Ordering::Relaxed);
        account.bytes.fetch_add(bytes, Ordering::Relaxed);
        let descriptors = u32::from(descriptor);
        account.descriptors.fetch_add(descriptors, Ordering::Relaxed);
        account.all_descriptors.fetch_add(descriptors, Ordering::Relaxed);
        DepositCharge {
            account,
            bytes,
            descriptors,
            awaited: OnceLock::new(),
            late: AtomicBool::new(false),
        }
    }

    fn account(&self, uid: Uid) -> Arc<Account> {
        let held = |account: &mut Arc<Account>| Arc::strong_count(account) > 1;
        let (all_descriptors, all_brought) =
            (Arc::clone(&self.table.deposits), Arc::clone(&self.table.brought));
        let new = || Arc::new(Account { all_descriptors, all_brought, ..Account::default() });
        Arc::clone(self.accounts.borrow_mut().entry(uid, held).or_insert_with(new))
    }
}

impl Drop for BroughtCharge {
    fn drop(&mut self) {
        self.0.brought.fetch_sub(1, Ordering::Relaxed);
        self.0.all_brought.fetch_sub(1, Ordering::Relaxed);
    }
}

impl DepositCharge {
    /// Returns what ends when the charge is given back, with an error. Returns `None` while another charge
    /// of the account is late, since all of a user's descriptors are closed one after the other; and if
    /// somebody waits already.
    pub(crate) fn given_back(&self) -> Option<oneshot::Receiver<()>> {
        if self.account.late.load(Ordering::Relaxed) > 0 {
            return None;
        }
        let (sender, receiver) = oneshot::channel();
        self.awaited.set(sender).ok().map(|()| receiver)
    }

    /// It was waited for in vain: until it is given back, nobody waits for others of its account.
    pub(crate) fn set_late(&self) {
        if !self.late.swap(true, Ordering::Relaxed) {
            self.account.late.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Drop for DepositCharge {
    fn drop(&mut self) {
        self.account.late.fetch_sub(u32::from(*self.late.get_mut()), Ordering::Relaxed);
        self.account.slots.fetch_sub(1, Ordering::Relaxed);
        self.account.bytes.fetch_sub(self.bytes, Ordering::Relaxed);
        self.account.descriptors.fetch_sub(self.descriptors, Ordering::Relaxed);
        self.account.all_descriptors.fetch_sub(self.descriptors, Ordering::Relaxed);
    }
}

impl fmt::Display for Exceeded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let has = |who: &str, most: u32, of: &str, key: &str| {
            format!(
                "{who} has reached its limit of {of}: {most} ({key}, or a share of the descriptor table)"
            )
        };
        f.write_str(&match self {
            Self::Connections(most) => has("the broker", *most, "connections", "max_connections"),
            Self::ConnectionsOfUser(most) => {
                has("this user", *most, "connections", "max_connections_per_uid")
            }
            Self::Slots(most) => {
                format!("this user has reached its limit of deposits: {most} (max_slots_per_uid)")
            }
            Self::Bytes(most) => {
                let most = counted(*most, "byte");
                format!("this user's payloads would exceed {most} (max_payload_bytes_per_uid)")
            }
            Self::Brought => "too many descriptors of this user wait to be closed".to_owned(),
            Self::Table => "the broker's descriptor table is full".to_owned(),
            Self::Descriptors => {
                "this user's deposits fill half of the broker's descriptor table: delete some, or raise LimitNOFILE=".to_owned()
            }
            Self::AllDescriptors => {
                "the deposits of all users fill their share of the broker's descriptor table: raise LimitNOFILE=".to_owned()
            }
            Self::Opening => {
                format!("{MAX_OPENING} resources are already being opened for this user")
            }
            Self::Opened => {
                "resources opened for this user use up its share of the broker's descriptor \
                 table; read the answers, and try again"
                    .to_owned()
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use std::task::{Context, Waker};
    use std::time::Duration;

    use fdbroker_policy::{Account, Audit, Settings, Uid};

    use super::{Exceeded, Quotas};

    fn settings() -> Settings {
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

    fn quotas() -> Quotas {
        Quotas::new(&settings(), 1000)
    }

    impl Quotas {
        /// Whether it has been told that no room is left, since this was last asked.
        fn is_crowded(&self) -> bool {
            let crowded = std::pin::pin!(self.crowded());
            crowded.poll(&mut Context::from_waker(Waker::noop())).is_ready()
        }
    }

    #[test]
    fn one_user_at_its_limit_leaves_the_others_theirs() {
        let quotas = quotas();
        let _first = quotas.deposit(Uid(1), 4, false, None).unwrap();
        let _second = quotas.deposit(Uid(1), 4, false, None).unwrap();
        assert_eq!(quotas.deposit(Uid(1), 0, false, None).err(), Some(Exceeded::Slots(2)));
        assert!(quotas.deposit(Uid(2), 10, false, None).is_ok());
    }

    #[test]
    fn what_was_refused_is_not_charged() {
        let quotas = quotas();
        assert_eq!(quotas.deposit(Uid(1), 11, false, None).err(), Some(Exceeded::Bytes(10)));
        assert!(quotas.deposit(Uid(1), 10, false, None).is_ok());
    }

    #[test]
    fn a_full_account_can_still_replace() {
        let quotas = quotas();
        let _first = quotas.deposit(Uid(1), 5, false, None).unwrap();
        let second = quotas.deposit(Uid(1), 5, false, None).unwrap();
        assert!(quotas.deposit(Uid(1), 5, false, Some(&second)).is_ok());
        assert_eq!(
            quotas.deposit(Uid(1), 6, false, Some(&second)).err(),
            Some(Exceeded::Bytes(10))
        );
    }

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

    #[test]
    fn who_is_at_a_limit_is_told_its_key_and_its_value() {
        assert_eq!(
            Exceeded::ConnectionsOfUser(2).to_string(),
            "this user has reached its limit of connections: 2 (max_connections_per_uid, or a \
             share of the descriptor table)"
        );
        assert_eq!(
            Exceeded::Slots(7).to_string(),
            "this user has reached its limit of deposits: 7 (max_slots_per_uid)"
        );
    }

    #[test]
    fn users_together_never_fill_the_table_by_what_they_bring() {
        let quotas = Quotas::new(&settings(), 4096);
        let mut held = Vec::new();
        for uid in 0..100 {
            let reader = quotas.reader(Uid(uid));
            while quotas.may_read(&reader).is_ok() {
                held.extend((0..253).map(|_| reader.charge()));
            }
        }
        let free = 4096 - held.len();
        assert!(free >= 253, "{free} are left: one read more would not fit");
        held.truncate(2000);
        assert_eq!(quotas.may_read(&quotas.reader(Uid(1000))), Ok(()));
    }

    #[test]
    fn several_users_fill_the_table_by_what_cannot_be_closed_without_any_of_them_filling_a_quarter()
    {
        let quotas = Quotas::new(&settings(), 4096);
        let mut held = Vec::new();
        for uid in 0..4 {
            assert!(!quotas.is_full(), "by {uid} users");
            assert!(!quotas.is_crowded());
            held.extend((0..1020).map(|_| quotas.shut_unread(Uid(uid))));
        }
        assert!(quotas.is_crowded());
        assert!(quotas.is_full());
        assert!(
            !quotas.is_crowded(),
            "looking tells nothing: or else who waits for that would look forever"
        );
        held.truncate(3000);
        assert!(!quotas.is_full());
        assert_eq!(quotas.foremost().map(|uid| uid.0 < 2), Some(true));
    }

    #[test]
    fn a_table_that_is_in_use_is_filled_by_less() {
        let generous = Settings { max_slots_per_uid: 10_000, ..settings() };
        let quotas = Quotas::new(&generous, 4096);
        let charge = |uid| quotas.deposit(Uid(uid), 0, true, None);
        let _deposits: Vec<_> = (1..).map_while(|number| charge(number % 8).ok()).collect();
        let _brought: Vec<_> = {
            let reader = quotas.reader(Uid(9));
            std::iter::repeat_with(|| quotas.may_read(&reader).map(|()| reader.charge()))
                .map_while(Result::ok)
                .collect()
        };
        assert!(!quotas.is_full(), "there is room for what one read brings");
        let _shut: Vec<_> = (0..1020).map(|_| quotas.shut_unread(Uid(10))).collect();
        assert!(quotas.is_full());
    }

    #[test]
    fn whoever_is_over_its_share_may_bring_nothing_more() {
        let quotas = Quotas::new(&settings(), 4096);
        let reader = quotas.reader(Uid(1));
        let held: Vec<_> = (0..256).map(|_| reader.charge()).collect();
        assert_eq!(quotas.may_read(&reader), Err(Exceeded::Brought));
        assert_eq!(quotas.may_read(&quotas.reader(Uid(2))), Ok(()));
        drop(held);
        assert_eq!(quotas.may_read(&reader), Ok(()));
    }

    #[test]
    fn no_user_may_have_many_resources_opened_at_once() {
        let quotas = quotas();
        let mut under_way: Vec<_> =
            (0..8).map(|_| quotas.opening(Uid(1)).expect("not too many yet")).collect();
        assert_eq!(quotas.opening(Uid(1)).err(), Some(Exceeded::Opening));
        assert!(quotas.opening(Uid(2)).is_ok());
        under_way.pop();
        assert!(quotas.opening(Uid(1)).is_ok());
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
    fn what_was_opened_counts_until_it_is_closed_and_leaves_the_user_to_be_read_from() {
        let quotas = Quotas::new(&settings(), 4096);
        let mut open = Vec::new();
        while let Ok(charge) = quotas.opening(Uid(1)) {
            open.push(charge.opened());
            assert!(open.len() < 256, "it is not to have more than what it may bring");
        }
        assert!(open.len() > 250, "{} were opened", open.len());
        assert_eq!(quotas.opening(Uid(1)).err(), Some(Exceeded::Opened));
        assert_eq!(quotas.may_read(&quotas.reader(Uid(1))), Ok(()));
        assert!(quotas.opening(Uid(2)).is_ok());
        open.pop();
        assert!(quotas.opening(Uid(1)).is_ok());
    }

    #[test]
    fn in_the_smallest_table_a_resource_can_be_opened_too() {
        let quotas = Quotas::new(&settings(), 64);
        assert!(quotas.opening(Uid(1)).is_ok());
    }

    #[test]
    fn all_users_together_leave_the_broker_some_descriptors() {
        let quotas = quotas();
        let charge = |uid| quotas.deposit(Uid(uid), 0, true, None);
        let held: Vec<_> = (1..).map_while(|uid| charge(uid).ok()).collect();
        assert_eq!(held.len(), 625);
        assert_eq!(charge(1000).err(), Some(Exceeded::AllDescriptors));
        assert!(quotas.deposit(Uid(1000), 0, false, None).is_ok());
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
