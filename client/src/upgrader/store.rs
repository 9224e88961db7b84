//! What is kept under a name: storing it, looking it up, removing it.

use std::fmt;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use fdbroker_wire::{MAX_PAYLOAD, Slot};

use super::inventory::{Contents, Held, Inventory};
use super::payload::{Found, Record, is_name};
use super::shared::Guard;
use super::socket_file::SocketFile;
use super::state_machine::{Place, StateMachine};
use super::{ConnectionState, Role, UpgradeError, Upgrader};
use crate::shown::Bytes;
use crate::{Broker, Error};

/// What [`Upgrader::store`] kept. Its `Debug` shows how many bytes there are, and none of them.
pub struct Stored {
    /// The descriptor, close-on-exec, if there was one.
    pub descriptor: Option<OwnedFd>,
    /// The bytes.
    pub bytes: Vec<u8>,
}

impl Upgrader {
    /// Keeps a descriptor, or bytes, or both under a name; what was there is replaced at once.
    /// The descriptor stays open here.
    ///
    /// Until [`Upgrader::ready`] it is only noted, and a process that ends before that has changed
    /// nothing. From then on it is at the broker when this returns.
    ///
    /// # Errors
    /// [`UpgradeError::InProgress`] while another process takes over; [`UpgradeError::Completed`]
    /// when it has; [`UpgradeError::Stopped`]; [`UpgradeError::BadName`],
    /// [`UpgradeError::TooLarge`], [`UpgradeError::Role`], [`UpgradeError::Unreadable`];
    /// [`UpgradeError::Deposit`] when the broker does not take it; [`UpgradeError::Lost`] when it
    /// does not come back in time.
    pub fn store(
        &self,
        name: &str,
        descriptor: Option<BorrowedFd<'_>>,
        bytes: &[u8],
    ) -> Result<(), UpgradeError> {
        let state = ConnectionState::default().extra(bytes);
        self.keep(name, Role::Stored, descriptor, state)
    }

    /// Keeps a connection with its state under a name; what was there is replaced at once. To be
    /// called again when the state has changed.
    ///
    /// # Errors
    /// Those of [`Upgrader::store`].
    pub fn store_connection(
        &self,
        name: &str,
        connection: impl AsFd,
        state: ConnectionState,
    ) -> Result<(), UpgradeError> {
        self.keep(name, Role::Connection, Some(connection.as_fd()), state)
    }

    /// Returns what was stored under a name, or `None`.
    ///
    /// # Errors
    /// [`UpgradeError::Completed`], [`UpgradeError::Stopped`]; [`UpgradeError::BadName`],
    /// [`UpgradeError::Role`], [`UpgradeError::Unreadable`]; [`UpgradeError::Deposit`],
    /// [`UpgradeError::Lost`].
    pub fn stored(&self, name: &str) -> Result<Option<Stored>, UpgradeError> {
        let contents = self.contents(name, Role::Stored, |_| Ok(()))?;
        Ok(contents.map(|contents| Stored {
            descriptor: contents.descriptor,
            bytes: contents.state.extra,
        }))
    }

    /// Removes what is kept under a name, whatever it is; whether there was anything. A
    /// connection that is closed has to be removed, or the broker keeps it open.
    ///
    /// # Errors
    /// Those of [`Upgrader::store`].
    pub fn remove(&self, name: &str) -> Result<bool, UpgradeError> {
        let mut state = self.shared.lock();
        let tag = state.terms.tag;
        if state.machine.place()? == Place::Here {
            return Ok(state.inventory.unwant(name));
        }
        let delete = |broker: &mut Broker, inventory: &mut Inventory| {
            let Some(index) = inventory.place(name) else { return Ok(false) };
            match broker.del(Slot { tag, index }) {
                Ok(()) | Err(Error::Absent { .. }) => {}
                Err(error) => return Err(error),
            }
            inventory.unwant(name);
            inventory.was_deleted(index);
            Ok(true)
        };
        let done = self.shared.ask(state, at_broker, delete);
        done.map(|(_, removed)| removed).map_err(|error| about(name, error))
    }

    pub(crate) fn keep(
        &self,
        name: &str,
        role: Role,
        descriptor: Option<BorrowedFd<'_>>,
        state: ConnectionState,
    ) -> Result<(), UpgradeError> {
        let listener = descriptor.filter(|_| role == Role::Listener);
        let file = listener.and_then(SocketFile::of);
        let name = checked(name)?;
        let mut guard = self.shared.lock();
        let program = guard.inventory.program();
        let record = Record { name: name.to_owned(), role, state, file, program };
        let payload = record.to_bytes();
        if payload.len() > MAX_PAYLOAD {
            return Err(UpgradeError::TooLarge { name: record.name, size: payload.len() });
        }
        let place = guard.machine.place()?;
        guard.inventory.find(name, role)?;
        match place {
            Place::Here => stage(&mut guard.inventory, descriptor, record),
            Place::Broker => self.deposit(guard, descriptor, &record, &payload),
        }
    }

    fn deposit(
        &self,
        state: Guard<'_>,
        descriptor: Option<BorrowedFd<'_>>,
        record: &Record,
        payload: &[u8],
    ) -> Result<(), UpgradeError> {
        let tag = state.terms.tag;
        let Record { name, role, file, .. } = record;
        let add = |broker: &mut Broker, inventory: &mut Inventory| {
            let index = inventory.slot(name);
            broker.add(Slot { tag, index }, descriptor, payload)?;
            inventory.deposited(name, index, *role);
            inventory.spare(name, *role, duplicate(descriptor, file.clone()));
            Ok(())
        };
        let done = self.shared.ask(state, at_broker, add);
        done.map(drop).map_err(|error| about(name, error))
    }

    /// Returns what a name holds, if it has that role and `fits`. An inherited descriptor is handed
    /// over; any other is duplicated, or got from the broker.
    pub(crate) fn contents(
        &self,
        name: &str,
        role: Role,
        fits: impl Fn(&Contents) -> Result<(), UpgradeError>,
    ) -> Result<Option<Contents>, UpgradeError> {
        checked(name)?;
        let mut state = self.shared.lock();
        state.machine.is_alive()?;
        let Some(entry) = state.inventory.find(name, role)? else { return Ok(None) };
        match &mut entry.held {
            Held::Inherited(contents) => {
                fits(contents)?;
                let contents = std::mem::take(contents);
                entry.held = Held::Deposited;
                let descriptor = contents.descriptor.as_ref().map(AsFd::as_fd);
                let spare = duplicate(descriptor, contents.file.clone());
                state.inventory.spare(name, role, spare);
                Ok(Some(contents))
            }
            Held::Staged(contents) => {
                fits(contents)?;
                contents.try_clone().map(Some).map_err(|source| failed(name, source))
            }
            Held::Deposited => {
                let contents = self.get(state, name)?;
                contents.as_ref().map_or(Ok(()), fits)?;
                Ok(contents)
            }
        }
    }

    fn get(&self, state: Guard<'_>, name: &str) -> Result<Option<Contents>, UpgradeError> {
        let tag = state.terms.tag;
        let get = |broker: &mut Broker, inventory: &mut Inventory| match inventory.place(name) {
            Some(index) => broker.get(Slot { tag, index }).map(Some),
            None => Ok(None),
        };
        let asked = self.shared.ask(state, |machine| machine.is_alive(), get);
        let deposit = asked.map(|(_, deposit)| deposit).map_err(|error| about(name, error))?;
        let Some(deposit) = deposit else { return Ok(None) };
        match Found::read(&deposit.payload) {
            Found::Record(record) if record.name == name => {
                let Record { state, file, .. } = *record;
                Ok(Some(Contents { descriptor: deposit.descriptor, state, file }))
            }
            // Somebody else has written into our slot.
            _ => Err(UpgradeError::Unreadable { name: name.to_owned() }),
        }
    }
}

impl fmt::Debug for Stored {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { descriptor, bytes } = self;
        let mut shown = f.debug_struct("Stored");
        shown.field("descriptor", descriptor).field("bytes", &Bytes(bytes)).finish()
    }
}

impl Contents {
    fn try_clone(&self) -> io::Result<Self> {
        let descriptor = self.descriptor.as_ref().map(OwnedFd::try_clone).transpose()?;
        Ok(Self { descriptor, state: self.state.clone(), file: self.file.clone() })
    }
}

/// Duplicates a descriptor, to deposit it again later. Without room for the duplicate there is
/// none: that matters only if the broker loses the deposit.
fn duplicate(descriptor: Option<BorrowedFd<'_>>, file: Option<SocketFile>) -> Contents {
    let descriptor = descriptor.and_then(|descriptor| descriptor.try_clone_to_owned().ok());
    Contents { descriptor, file, ..Contents::default() }
}

fn stage(
    inventory: &mut Inventory,
    descriptor: Option<BorrowedFd<'_>>,
    record: Record,
) -> Result<(), UpgradeError> {
    let Record { name, role, state, file, .. } = record;
    let descriptor = descriptor.map(|descriptor| descriptor.try_clone_to_owned()).transpose();
    let descriptor = descriptor.map_err(|source| failed(&name, source))?;
    let index = inventory.slot(&name);
    inventory.stage(&name, index, role, Contents { descriptor, state, file });
    Ok(())
}

/// Whether a change that was begun at the broker may still be made there.
fn at_broker(machine: &StateMachine) -> Result<(), UpgradeError> {
    machine.place().map(drop)
}

fn checked(name: &str) -> Result<&str, UpgradeError> {
    match is_name(name) {
        true => Ok(name),
        false => Err(UpgradeError::BadName { name: name.to_owned() }),
    }
}

fn failed(name: &str, source: io::Error) -> UpgradeError {
    UpgradeError::Io { name: name.to_owned(), source }
}

/// An error of the broker that is about one name.
fn about(name: &str, error: UpgradeError) -> UpgradeError {
    match error {
        UpgradeError::Broker(source) => UpgradeError::Deposit { name: name.to_owned(), source },
        other => other,
    }
}
