//! Sockets, connections and files by name: what was inherited, or else something new.

use std::fs::File;
use std::io::{self, ErrorKind};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use super::inventory::Contents;
use super::reachable::{SHUT_DOWN, has_stopped_listening, listen_again, why_dead};
use super::whereabouts::is_at;
use super::{
    Address, BindAddress, ConnectAddress, Connecting, ConnectionState, Inherit, Listening, Options,
    Role, SocketKind, UpgradeError, Upgrader,
};

impl Upgrader {
    /// A socket that others come to: the one that was inherited under this name, or else a new one,
    /// made with the default [`Options`] and deposited under it.
    ///
    /// One that was inherited has to be bound where it is asked for. Port 0 stands for any port, and a
    /// path for the file that it leads to; a wildcard is an address of its own. To follow an address that
    /// has changed, [`Upgrader::remove`] the name first; to ignore it, see
    /// [`super::Builder::any_address`].
    ///
    /// A socket that nobody can reach any more is made again. It was shut down, or it is a Unix socket whose path has
    /// gone or is another file by now. A TCP socket that was shut down keeps its port, and listens again.
    ///
    /// # Errors
    /// [`UpgradeError::Dead`] when such a socket cannot be made again, since its address is taken;
    /// [`UpgradeError::SocketKind`] and [`UpgradeError::Address`] when what was inherited is a socket of
    /// another type, or at another address; [`UpgradeError::Io`] when the address cannot be
    /// resolved, or a new one cannot be made; [`UpgradeError::Made`] when that is of another type;
    /// those of [`Upgrader::store`].
    pub fn listen<T: Listening>(
        &self,
        name: &str,
        address: impl BindAddress<T>,
    ) -> Result<T, UpgradeError> {
        let asked = self.asked(name, || address.addresses())?;
        let at = |socket: BorrowedFd<'_>| check_address(name, socket, &asked);
        let inherited = self.socket(name, Role::Listener, at);
        let inherited = inherited.map(|found| found.map(|(socket, _)| socket));
        self.or_make(name, inherited, || address.bind(&Options::new()))
    }

    /// [`Upgrader::listen`], where `make` makes the new socket. One that was inherited may be bound
    /// anywhere.
    ///
    /// # Errors
    /// Those of [`Upgrader::listen`].
    pub fn listen_with<T: Listening>(
        &self,
        name: &str,
        make: impl FnOnce() -> io::Result<T>,
    ) -> Result<T, UpgradeError> {
        self.or_make(name, self.listener(name), make)
    }

    /// Returns the inherited listening socket of this name, or `None`.
    ///
    /// # Errors
    /// [`UpgradeError::Dead`] when nobody can reach it any more; those of [`Upgrader::listen`], except those of making
    /// one.
    pub fn listener<T: Listening>(&self, name: &str) -> Result<Option<T>, UpgradeError> {
        Ok(self.socket(name, Role::Listener, |_| Ok(()))?.map(|(socket, _)| socket))
    }

    /// A connection with its state: the one that was inherited under this name, wherever it
    /// leads, or else a new one, deposited under it.
    ///
    /// # Errors
    /// [`UpgradeError::SocketKind`] when what was inherited is a connection of another type;
    /// [`UpgradeError::Io`] when a new one cannot be made, [`UpgradeError::Made`] when that is of
    /// another type; those of [`Upgrader::store`].
    pub fn connect<T: Connecting>(
        &self,
        name: &str,
        address: impl ConnectAddress<T>,
    ) -> Result<(T, ConnectionState), UpgradeError> {
        if let Some(inherited) = self.connection(name)? {
            return Ok(inherited);
        }
        let make = || {
            let connection = address.connect()?;
            let state = ConnectionState::of(&connection)?;
            Ok((connection, Some(state)))
        };
        self.make(name, Role::Connection, make, |made| check_form::<T>(name, made))
    }

    /// Returns the inherited connection of this name, with its state as it was stored last, or
    /// `None`.
    ///
    /// # Errors
    /// Those of [`Upgrader::connect`], except those of making one.
    pub fn connection<T: Connecting>(
        &self,
        name: &str,
    ) -> Result<Option<(T, ConnectionState)>, UpgradeError> {
        self.socket(name, Role::Connection, |_| Ok(()))
    }

    /// A file: the one that was inherited under this name, with its offset, or else the one at a
    /// path, opened for reading and deposited under it.
    ///
    /// # Errors
    /// [`UpgradeError::Io`] when the path cannot be opened; those of [`Upgrader::store`].
    pub fn open(&self, name: &str, path: impl AsRef<Path>) -> Result<File, UpgradeError> {
        self.open_with(name, || File::open(path))
    }

    /// [`Upgrader::open`], where `open` opens it: for writing, say.
    ///
    /// # Errors
    /// Those of [`Upgrader::open`].
    pub fn open_with(
        &self,
        name: &str,
        open: impl FnOnce() -> io::Result<File>,
    ) -> Result<File, UpgradeError> {
        if let Some(inherited) = self.file(name)? {
            return Ok(inherited);
        }
        let (file, _) = self.make(name, Role::File, || Ok((open()?, None)), |_| Ok(()))?;
        Ok(file)
    }

    /// Returns the inherited file of this name, or `None`.
    ///
    /// # Errors
    /// Those of [`Upgrader::open`], except that of opening one.
    pub fn file(&self, name: &str) -> Result<Option<File>, UpgradeError> {
        let contents = self.contents(name, Role::File, |_| Ok(()))?;
        Ok(contents.and_then(|contents| contents.descriptor).map(File::from))
    }

    /// Returns what was inherited. If there is nothing, or nobody can reach it any more, makes it.
    fn or_make<T: Listening>(
        &self,
        name: &str,
        inherited: Result<Option<T>, UpgradeError>,
        make: impl FnOnce() -> io::Result<T>,
    ) -> Result<T, UpgradeError> {
        match inherited {
            Ok(Some(inherited)) => Ok(inherited),
            Ok(None) => self.make_listener(name, make),
            Err(UpgradeError::Dead { name, why }) => match self.make_listener(&name, make) {
                Err(UpgradeError::Io { source, .. }) if source.kind() == ErrorKind::AddrInUse => {
                    Err(UpgradeError::Dead { name, why })
                }
                made => made,
            },
            Err(error) => Err(error),
        }
    }

    fn make_listener<T: Listening>(
        &self,
        name: &str,
        make: impl FnOnce() -> io::Result<T>,
    ) -> Result<T, UpgradeError> {
        let make = || Ok((make()?, None));
        let made = self.make(name, Role::Listener, make, |made| check_form::<T>(name, made))?;
        Ok(made.0)
    }

    /// Returns where the inherited socket of this name has to be bound. If there is none, or any
    /// address will do, the list is empty and no name is looked up. A look-up does not hold the lock.
    fn asked(
        &self,
        name: &str,
        addresses: impl FnOnce() -> io::Result<Vec<Address>>,
    ) -> Result<Vec<Address>, UpgradeError> {
        let matters = {
            let state = self.shared.lock();
            !state.terms.any_address && state.inventory.place(name).is_some()
        };
        let addresses = if matters { addresses() } else { Ok(Vec::new()) };
        addresses.map_err(|source| UpgradeError::Io { name: name.to_owned(), source })
    }

    /// Makes something new, and keeps it under its name; nobody has it when it cannot be kept.
    fn make<T: AsFd>(
        &self,
        name: &str,
        role: Role,
        make: impl FnOnce() -> io::Result<(T, Option<ConnectionState>)>,
        check: impl FnOnce(BorrowedFd<'_>) -> Result<(), UpgradeError>,
    ) -> Result<(T, ConnectionState), UpgradeError> {
        // Not when it could not be kept anyway.
        self.shared.lock().machine.place()?;
        let failed = |source| UpgradeError::Io { name: name.to_owned(), source };
        let (made, state) = make().map_err(failed)?;
        check(made.as_fd())?;
        let state = state.unwrap_or_default();
        self.keep(name, role, Some(made.as_fd()), state.clone())?;
        Ok((made, state))
    }

    fn socket<T: Inherit>(
        &self,
        name: &str,
        role: Role,
        at: impl Fn(BorrowedFd<'_>) -> Result<(), UpgradeError>,
    ) -> Result<Option<(T, ConnectionState)>, UpgradeError> {
        let other =
            |found| UpgradeError::SocketKind { name: name.to_owned(), asked: T::KIND, found };
        let dead = |why| UpgradeError::Dead { name: name.to_owned(), why };
        let fits = |contents: &Contents| match &contents.descriptor {
            Some(descriptor) if T::KIND.fits(descriptor) => {
                let listener = Some(descriptor.as_fd()).filter(|_| role == Role::Listener);
                let why = listener.and_then(|it| why_dead(it, contents.file.as_ref()));
                why.map_or_else(|| at(descriptor.as_fd()), |why| Err(dead(why)))
            }
            Some(descriptor) if may_listen_again::<T>(role, descriptor.as_fd()) => {
                at(descriptor.as_fd())?;
                listen_again(descriptor.as_fd()).map_err(|_| dead(SHUT_DOWN))
            }
            Some(descriptor) => Err(other(SocketKind::describe(descriptor))),
            None => Err(other(NOTHING)),
        };
        let Some(contents) = self.contents(name, role, fits)? else { return Ok(None) };
        let Contents { descriptor, state, .. } = contents;
        let descriptor: OwnedFd = descriptor.ok_or_else(|| other(NOTHING))?;
        let failed = |source| UpgradeError::Io { name: name.to_owned(), source };
        Ok(Some((T::inherit(descriptor).map_err(failed)?, state)))
    }
}

/// Whether a socket is a TCP listener that was shut down, where one is asked for.
fn may_listen_again<T: Inherit>(role: Role, socket: BorrowedFd<'_>) -> bool {
    T::KIND == SocketKind::TcpListener && role == Role::Listener && has_stopped_listening(socket)
}

/// Checks that a socket that is to be kept has the type that the next process asks for.
fn check_form<T: Inherit>(name: &str, made: BorrowedFd<'_>) -> Result<(), UpgradeError> {
    if T::KIND.fits(made) {
        return Ok(());
    }
    let (name, found) = (name.to_owned(), SocketKind::describe(made));
    Err(UpgradeError::Made { name, asked: T::KIND, found })
}

/// Whether a socket is bound at one of the addresses; at any, if there are none.
fn check_address(
    name: &str,
    socket: BorrowedFd<'_>,
    asked: &[Address],
) -> Result<(), UpgradeError> {
    let name = || name.to_owned();
    let bound = Address::of_local(socket);
    match bound.map_err(|source| UpgradeError::Io { name: name(), source })? {
        Some(found) if !asked.is_empty() && !asked.iter().any(|asked| is_at(&found, asked)) => {
            Err(UpgradeError::Address { name: name(), asked: asked.to_vec(), found })
        }
        _ => Ok(()),
    }
}

const NOTHING: &str = "nothing";
