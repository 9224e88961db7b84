//! What is under which name, and in which slot of the tag: inherited, handed out, or still to be
//! deposited.
//!
//! It makes no requests. Until this process is ready its changes are only noted here; then
//! [`Inventory::due`] says what is left to do at the broker.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use fdbroker_wire::Index;

use super::group::Group;
use super::payload::{Found, Record};
use super::socket_file::SocketFile;
use super::{Address, ConnectionState, Role, SocketKind, UpgradeError};
use crate::Deposit;

/// The names of a tag.
#[derive(Default)]
pub(crate) struct Inventory {
    entries: BTreeMap<String, Entry>,
    /// Deposits that cannot be read, by their names. Each stays where it is unless it is removed by
    /// name.
    unreadable: BTreeMap<String, Index>,
    /// What is to be deleted at the broker.
    unwanted: BTreeSet<Index>,
    /// Listening sockets that are at the broker, by their names. They are deposited again at a
    /// broker that was restarted: no other process could make them while this one serves.
    spares: BTreeMap<String, Contents>,
    /// Every slot that holds something, of ours or of others.
    taken: BTreeSet<Index>,
    /// Below this, every slot is taken.
    full_below: i32,
    inherited: usize,
    /// What programs have deposited, with a name of each.
    programs: BTreeMap<String, String>,
    /// The program that is noted with what is deposited.
    program: Option<String>,
}

/// A named deposit.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) index: Index,
    pub(crate) role: Role,
    pub(crate) held: Held,
    /// Whether there is a deposit in the slot, be it an older one.
    at_broker: bool,
}

/// Where it is.
#[derive(Debug)]
pub(crate) enum Held {
    /// At the broker and here, and nobody has asked for it yet.
    Inherited(Contents),
    /// At the broker.
    Deposited,
    /// Here, to be deposited.
    Staged(Contents),
}

/// What a deposit holds.
#[derive(Debug, Default)]
pub(crate) struct Contents {
    pub(crate) descriptor: Option<OwnedFd>,
    pub(crate) state: ConnectionState,
    /// The file of a Unix socket that others come to.
    pub(crate) file: Option<SocketFile>,
}

/// What is left to do at the broker.
pub(crate) struct Due<'a> {
    /// To be deposited: name, slot, descriptor, payload.
    pub(crate) deposits: Vec<(&'a str, Index, Option<BorrowedFd<'a>>, Vec<u8>)>,
    /// To be deleted.
    pub(crate) unwanted: Vec<Index>,
}

impl Inventory {
    /// Takes in what was found in the tag. None stands for a slot that holds something which is
    /// not shown, or is the policy's own.
    pub(crate) fn of(found: impl IntoIterator<Item = (Index, Option<Deposit>)>) -> Self {
        let mut inventory = Self::default();
        for (index, deposit) in found {
            inventory.taken.insert(index);
            if let Some(deposit) = deposit {
                inventory.inherit(index, deposit);
            }
        }
        inventory.inherited = inventory.entries.len();
        inventory
    }

    fn inherit(&mut self, index: Index, deposit: Deposit) {
        match Found::read(&deposit.payload) {
            Found::Foreign => {}
            Found::Unreadable(name) => drop(self.unreadable.insert(name, index)),
            // Nobody can ask for the second of a name.
            Found::Record(record) if self.entries.contains_key(&record.name) => {
                self.unwanted.insert(index);
            }
            Found::Record(record) => {
                let Record { name, role, state, file, program } = *record;
                if let Some(program) = program {
                    self.programs.insert(program, name.clone());
                }
                let contents = Contents { descriptor: deposit.descriptor, state, file };
                let held = Held::Inherited(contents);
                self.entries.insert(name, Entry { index, role, held, at_broker: true });
            }
        }
    }

    /// Takes in the deposits at a broker that was restarted, while this process serves. Returns the
    /// names that are gone; the listening sockets among them have to be deposited again.
    pub(crate) fn reconcile(
        &mut self,
        found: impl IntoIterator<Item = (Index, Option<Deposit>)>,
    ) -> Vec<String> {
        let before = std::mem::take(self);
        *self = Self { inherited: before.inherited, ..Self::of(found).noting(before.program) };
        self.entries.values_mut().for_each(|entry| entry.held = Held::Deposited);
        self.spares = before.spares;
        let mut gone = Vec::new();
        for (name, entry) in before.entries {
            if let Held::Staged(contents) = entry.held {
                self.spare(&name, entry.role, contents);
            }
            if !self.entries.contains_key(&name) {
                self.stage_spare(&name);
                gone.push(name);
            }
        }
        gone
    }

    fn stage_spare(&mut self, name: &str) {
        if let Some(listener) = self.spares.remove(name) {
            let index = self.free();
            self.stage(name, index, Role::Listener, listener);
        }
    }

    /// Keeps a listening socket that is at the broker too.
    pub(crate) fn spare(&mut self, name: &str, role: Role, contents: Contents) {
        if role == Role::Listener && contents.descriptor.is_some() {
            self.spares.insert(name.to_owned(), contents);
        }
    }

    /// Closes the descriptors that were only kept for a broker that is restarted.
    pub(crate) fn drop_spares(&mut self) {
        self.spares.clear();
    }

    /// Has a program noted with what is deposited.
    pub(crate) fn noting(self, program: Option<String>) -> Self {
        Self { program, ..self }
    }

    /// The program that is noted.
    pub(crate) fn program(&self) -> Option<String> {
        self.program.clone()
    }

    /// The programs that have deposited something, each with a name of what it has deposited.
    pub(crate) fn programs(&self) -> impl Iterator<Item = (&str, &str)> {
        self.programs.iter().map(|(program, name)| (program.as_str(), name.as_str()))
    }

    /// How many names were inherited.
    pub(crate) fn inherited(&self) -> usize {
        self.inherited
    }

    /// How many names there are.
    pub(crate) fn count(&self) -> usize {
        self.entries.len()
    }

    /// Every name, in order.
    pub(crate) fn names(&self) -> Vec<String> {
        self.entries.keys().cloned().collect()
    }

    /// What has a name, if it has that role.
    pub(crate) fn find(
        &mut self,
        name: &str,
        asked: Role,
    ) -> Result<Option<&mut Entry>, UpgradeError> {
        if self.unreadable.contains_key(name) {
            return Err(UpgradeError::Unreadable { name: name.to_owned() });
        }
        match self.entries.get_mut(name) {
            Some(entry) if entry.role != asked => {
                Err(UpgradeError::Role { name: name.to_owned(), asked, found: entry.role })
            }
            found => Ok(found),
        }
    }

    /// The slot for a name: the one that it has, or a free one.
    pub(crate) fn slot(&mut self, name: &str) -> Index {
        match self.entries.get(name) {
            Some(entry) => entry.index,
            None => self.free(),
        }
    }

    /// Notes that a name's deposit is at the broker.
    pub(crate) fn deposited(&mut self, name: &str, index: Index, role: Role) {
        self.put(name, Entry { index, role, held: Held::Deposited, at_broker: true });
    }

    /// Notes what is to be deposited.
    pub(crate) fn stage(&mut self, name: &str, index: Index, role: Role, contents: Contents) {
        let before = self.entries.get(name).is_some_and(|entry| entry.at_broker);
        let at_broker = before || self.unwanted.contains(&index);
        self.put(name, Entry { index, role, held: Held::Staged(contents), at_broker });
    }

    fn put(&mut self, name: &str, entry: Entry) {
        self.unwanted.remove(&entry.index);
        self.taken.insert(entry.index);
        self.entries.insert(name.to_owned(), entry);
    }

    /// Where a name's deposit is at the broker, if it is.
    pub(crate) fn place(&self, name: &str) -> Option<Index> {
        let readable = self.entries.get(name).map(|entry| entry.index);
        readable.or_else(|| self.unreadable.get(name).copied())
    }

    /// Forgets a name, and notes that its slot is to be deleted; whether there was one.
    pub(crate) fn unwant(&mut self, name: &str) -> bool {
        let entry = self.entries.remove(name);
        self.spares.remove(name);
        let staged = entry.as_ref().is_some_and(|entry| !entry.at_broker);
        let index = entry.map(|entry| entry.index).or_else(|| self.unreadable.remove(name));
        match index {
            Some(index) if staged => self.was_deleted(index),
            Some(index) => drop(self.unwanted.insert(index)),
            None => {}
        }
        index.is_some()
    }

    /// Notes that nobody is going to ask for what nobody has asked for.
    pub(crate) fn unwant_what_was_not_asked_for(&mut self) {
        let unasked = |entry: &Entry| matches!(entry.held, Held::Inherited(_));
        for (_, entry) in self.entries.extract_if(.., |_, entry| unasked(entry)) {
            self.unwanted.insert(entry.index);
        }
    }

    /// Takes the inherited TCP listeners at an address at which this process has another one. Their slots are to be deleted.
    /// A second name of a socket that this process has stays: what is done to the one is done to the other.
    pub(crate) fn take_surplus(&mut self) -> Vec<Group> {
        let mut groups = self.kept_groups();
        let surplus = |entry: &Entry| {
            let found = surplus_listener(entry);
            found.is_some_and(|(at, it)| groups.get(&at).is_some_and(|group| !group.has(it)))
        };
        let taken = self.entries.extract_if(.., |_, entry| surplus(entry));
        let taken: Vec<_> = taken.map(|(_, entry)| entry).collect();
        for entry in taken {
            self.unwanted.insert(entry.index);
            let group = surplus_listener(&entry).and_then(|(at, _)| groups.get_mut(&at));
            if let (Some(group), Held::Inherited(contents)) = (group, entry.held) {
                contents.descriptor.into_iter().for_each(|socket| group.add_surplus(socket));
            }
        }
        groups.into_values().filter(|group| !group.surplus.is_empty()).collect()
    }

    /// The addresses of the TCP listeners that this process has asked for.
    fn kept_groups(&self) -> HashMap<Address, Group> {
        let mut groups: HashMap<Address, Group> = HashMap::new();
        for listener in self.entries.iter().filter_map(|(name, entry)| self.kept(name, entry)) {
            let Some(address) = tcp_address(listener) else { continue };
            let Ok(member) = listener.as_fd().try_clone_to_owned() else { continue };
            groups.entry(address).or_insert_with(|| Group::of(member)).keep(listener);
        }
        groups
    }

    /// The descriptor of a name that this process has asked for, if it is kept here.
    fn kept<'a>(&'a self, name: &str, entry: &'a Entry) -> Option<&'a OwnedFd> {
        let contents = match &entry.held {
            Held::Inherited(_) => None,
            Held::Deposited => self.spares.get(name),
            Held::Staged(contents) => Some(contents),
        };
        contents.and_then(|contents| contents.descriptor.as_ref())
    }

    /// What is left to do at the broker.
    pub(crate) fn due(&self) -> Due<'_> {
        let staged = self.entries.iter().filter_map(|(name, entry)| match &entry.held {
            Held::Staged(contents) => {
                let (state, file) = (contents.state.clone(), contents.file.clone());
                let (role, program) = (entry.role, self.program());
                let record = Record { name: name.clone(), role, state, file, program };
                let descriptor = contents.descriptor.as_ref().map(AsFd::as_fd);
                Some((name.as_str(), entry.index, descriptor, record.to_bytes()))
            }
            _ => None,
        });
        Due { deposits: staged.collect(), unwanted: self.unwanted.iter().copied().collect() }
    }

    /// Notes that what was staged under a name is at the broker.
    pub(crate) fn was_deposited(&mut self, name: &str) {
        let Some(entry) = self.entries.get_mut(name) else { return };
        entry.at_broker = true;
        let role = entry.role;
        if let Held::Staged(contents) = std::mem::replace(&mut entry.held, Held::Deposited) {
            self.spare(name, role, contents);
        }
    }

    /// Notes that a slot is empty at the broker.
    pub(crate) fn was_deleted(&mut self, index: Index) {
        self.unwanted.remove(&index);
        self.taken.remove(&index);
        self.full_below = self.full_below.min(index.get());
    }

    fn free(&mut self) -> Index {
        let free = |index: &Index| !self.taken.contains(index);
        let found = (self.full_below..=i32::MAX).filter_map(Index::new).find(free);
        // A tag that is full would take more memory than there is.
        let found = found.unwrap_or(LAST);
        self.full_below = found.get();
        found
    }
}

/// A TCP listener that nobody has asked for, and where it is bound.
fn surplus_listener(entry: &Entry) -> Option<(Address, &OwnedFd)> {
    let Held::Inherited(contents) = &entry.held else { return None };
    let listener = contents.descriptor.as_ref()?;
    Some((tcp_address(listener)?, listener))
}

/// Where a TCP listener is bound; `None` for anything else.
fn tcp_address(listener: &OwnedFd) -> Option<Address> {
    let listener = Some(listener).filter(|it| SocketKind::TcpListener.fits(it))?;
    Address::of_local(listener).ok().flatten()
}

impl fmt::Debug for Inventory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Inventory");
        shown.field("names", &self.entries.len()).field("inherited", &self.inherited);
        shown.field("unreadable", &self.unreadable.len()).field("spares", &self.spares.len());
        shown.finish_non_exhaustive()
    }
}

const LAST: Index = match Index::new(i32::MAX) {
    Some(last) => last,
    None => panic!("every number from 0 up is an index"),
};

#[cfg(test)]
mod tests {
    use super::*;

    fn index(number: i32) -> Index {
        Index::new(number).unwrap()
    }

    fn deposit(name: &str, role: Role) -> Option<Deposit> {
        let payload = Record::plain(name, role).to_bytes();
        Some(Deposit { descriptor: None, ufd: -1, payload })
    }

    fn foreign() -> Option<Deposit> {
        Some(Deposit { descriptor: None, ufd: -1, payload: b"of others".to_vec() })
    }

    fn staged(inventory: &Inventory) -> Vec<(&str, i32)> {
        let due = inventory.due().deposits;
        due.into_iter().map(|(name, index, ..)| (name, index.get())).collect()
    }

    #[test]
    fn a_new_name_gets_the_first_slot_that_holds_nothing() {
        let found = [(index(0), deposit("a", Role::File)), (index(1), foreign()), (index(3), None)];
        let mut inventory = Inventory::of(found);
        for (name, expected) in [("b", 2), ("c", 4), ("d", 5), ("a", 0)] {
            let slot = inventory.slot(name);
            assert_eq!(slot, index(expected), "{name}");
            inventory.stage(name, slot, Role::File, Contents::default());
        }
        assert!(inventory.unwant("b"), "it was there");
        assert_eq!(inventory.slot("e"), index(2));
    }

    #[test]
    fn what_nobody_asked_for_is_to_be_deleted_and_what_others_left_is_not() {
        let found = [
            (index(4), deposit("a", Role::File)),
            (index(5), deposit("b", Role::File)),
            (index(6), foreign()),
        ];
        let mut inventory = Inventory::of(found);
        assert_eq!(inventory.inherited(), 2);
        inventory.find("b", Role::File).unwrap().unwrap().held = Held::Deposited;
        inventory.unwant_what_was_not_asked_for();
        assert_eq!(inventory.due().unwanted, [index(4)]);
        assert_eq!(inventory.names(), ["b"]);
        inventory.was_deleted(index(4));
        assert!(inventory.due().unwanted.is_empty());
    }

    #[test]
    fn a_name_that_is_there_twice_is_inherited_once() {
        let found = [(index(0), deposit("a", Role::File)), (index(1), deposit("a", Role::File))];
        let inventory = Inventory::of(found);
        assert_eq!(inventory.inherited(), 1);
        assert_eq!(inventory.due().unwanted, [index(1)]);
    }

    #[test]
    fn what_is_removed_before_it_was_deposited_leaves_nothing_to_do() {
        let mut inventory = Inventory::of([]);
        let slot = inventory.slot("a");
        inventory.stage("a", slot, Role::Stored, Contents::default());
        assert_eq!(staged(&inventory), [("a", 0)]);
        assert!(inventory.unwant("a"));
        assert!(!inventory.unwant("a"));
        assert!(staged(&inventory).is_empty() && inventory.due().unwanted.is_empty());
    }

    #[test]
    fn what_replaces_something_inherited_takes_its_slot_and_its_removal_deletes_that() {
        let mut inventory = Inventory::of([(index(7), deposit("a", Role::Stored))]);
        let slot = inventory.slot("a");
        inventory.stage("a", slot, Role::Stored, Contents::default());
        assert_eq!(staged(&inventory), [("a", 7)]);
        assert!(inventory.unwant("a"));
        assert!(staged(&inventory).is_empty());
        assert_eq!(inventory.due().unwanted, [index(7)]);
    }

    #[test]
    fn what_a_broker_has_forgotten_is_forgotten_here() {
        let found = |names: &[&str]| -> Vec<_> {
            let deposits = names.iter().map(|name| deposit(name, Role::Stored));
            (0..).map(index).zip(deposits).collect()
        };
        let mut inventory = Inventory::of(found(&["a", "b"]));
        assert!(inventory.reconcile(found(&["b", "a"])).is_empty());
        assert_eq!(inventory.place("a"), Some(index(1)));
        assert_eq!(inventory.reconcile(found(&["b"])), ["a"]);
        assert_eq!((inventory.names(), inventory.slot("a")), (vec!["b".to_owned()], index(1)));
    }

    #[test]
    fn a_listener_that_a_broker_has_forgotten_is_to_be_deposited_again() {
        let listener = || Contents {
            descriptor: Some(tempfile::tempfile().unwrap().into()),
            ..Contents::default()
        };
        let mut inventory = Inventory::of([]);
        inventory.stage("http", index(0), Role::Listener, listener());
        inventory.stage("file", index(1), Role::File, listener());
        inventory.was_deposited("http");
        inventory.was_deposited("file");
        for _ in 0..2 {
            // The second time it has not been deposited in between.
            assert_eq!(inventory.reconcile([(index(0), foreign())]), ["file", "http"][..].to_vec());
            assert_eq!(staged(&inventory), [("http", 1)]);
            inventory.stage("file", index(2), Role::File, Contents::default());
            inventory.was_deposited("file");
        }
        inventory.was_deposited("http");
        inventory.drop_spares();
        inventory.reconcile([]);
        assert!(staged(&inventory).is_empty());
    }

    #[test]
    fn a_name_has_one_role() {
        let mut inventory = Inventory::of([(index(0), deposit("a", Role::Connection))]);
        let refused = inventory.find("a", Role::Listener).unwrap_err();
        assert!(matches!(refused, UpgradeError::Role { found: Role::Connection, .. }), "{refused}");
    }

    #[test]
    fn what_a_later_version_left_can_be_removed_and_nothing_else() {
        let mut later = deposit("a", Role::File).unwrap();
        later.payload[8..10].copy_from_slice(&9_u16.to_ne_bytes());
        let mut inventory = Inventory::of([(index(0), Some(later))]);
        let refused = inventory.find("a", Role::File).unwrap_err();
        assert!(matches!(refused, UpgradeError::Unreadable { .. }), "{refused}");
        inventory.unwant_what_was_not_asked_for();
        assert!(inventory.due().unwanted.is_empty());
        assert!(inventory.unwant("a"));
        assert_eq!(inventory.due().unwanted, [index(0)]);
    }
}
