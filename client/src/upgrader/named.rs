//! Sockets, connections and files by name: what was inherited, or else something new.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use super::inventory::Contents;
use super::{
    BindAddress, ConnectAddress, Connecting, ConnectionState, Inherit, Listening, Options, Role,
    UpgradeError, Upgrader,
};

impl Upgrader {
    /// A socket that others come to: the one that was inherited under this name, wherever it is
    /// bound, or else a new one, made with the default [`Options`] and deposited under it.
    ///
    /// # Errors
    /// [`UpgradeError::Form`] when what was inherited is a socket of another type;
    /// [`UpgradeError::Io`] when a new one cannot be made; those of [`Upgrader::store`].
    pub fn listen<T: Listening>(
        &self,
        name: &str,
        address: impl BindAddress<T>,
    ) -> Result<T, UpgradeError> {
        self.listen_with(name, || Options::new().bind(address))
    }

    /// [`Upgrader::listen`], where `make` makes the new socket.
    ///
    /// # Errors
    /// Those of [`Upgrader::listen`].
    pub fn listen_with<T: Listening>(
        &self,
        name: &str,
        make: impl FnOnce() -> io::Result<T>,
    ) -> Result<T, UpgradeError> {
        if let Some(inherited) = self.listener(name)? {
            return Ok(inherited);
        }
        let (socket, _) = self.make(name, Role::Listener, || Ok((make()?, None)))?;
        Ok(socket)
    }

    /// The socket under this name; none where there is none.
    ///
    /// # Errors
    /// Those of [`Upgrader::listen`], but for those of making one.
    pub fn listener<T: Listening>(&self, name: &str) -> Result<Option<T>, UpgradeError> {
        Ok(self.socket(name, Role::Listener)?.map(|(socket, _)| socket))
    }

    /// A connection with its state: the one that was inherited under this name, wherever it
    /// leads, or else a new one, deposited under it.
    ///
    /// # Errors
    /// [`UpgradeError::Form`] when what was inherited is a connection of another type;
    /// [`UpgradeError::Io`] when a new one cannot be made; those of [`Upgrader::store`].
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
        self.make(name, Role::Connection, make)
    }

    /// The connection under this name, with its state as it was stored last; none where there is
    /// none.
    ///
    /// # Errors
    /// Those of [`Upgrader::connect`], but for those of making one.
    pub fn connection<T: Connecting>(
        &self,
        name: &str,
    ) -> Result<Option<(T, ConnectionState)>, UpgradeError> {
        self.socket(name, Role::Connection)
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
        let (file, _) = self.make(name, Role::File, || Ok((open()?, None)))?;
        Ok(file)
    }

    /// The file under this name; none where there is none.
    ///
    /// # Errors
    /// Those of [`Upgrader::open`], but for that of opening one.
    pub fn file(&self, name: &str) -> Result<Option<File>, UpgradeError> {
        let contents = self.contents(name, Role::File, |_| Ok(()))?;
        Ok(contents.and_then(|contents| contents.descriptor).map(File::from))
    }

    /// Makes something new, and keeps it under its name; nobody has it when it cannot be kept.
    fn make<T: AsFd>(
        &self,
        name: &str,
        role: Role,
        make: impl FnOnce() -> io::Result<(T, Option<ConnectionState>)>,
    ) -> Result<(T, ConnectionState), UpgradeError> {
        // Not when it could not be kept anyway.
        self.shared.lock().course.place()?;
        let failed = |source| UpgradeError::Io { name: name.to_owned(), source };
        let (made, state) = make().map_err(failed)?;
        let state = state.unwrap_or_default();
        self.keep(name, role, Some(made.as_fd()), state.clone())?;
        Ok((made, state))
    }

    fn socket<T: Inherit>(
        &self,
        name: &str,
        role: Role,
    ) -> Result<Option<(T, ConnectionState)>, UpgradeError> {
        let other = || UpgradeError::Form { name: name.to_owned(), asked: T::FORM };
        let fits = |contents: &Contents| match &contents.descriptor {
            Some(descriptor) if T::FORM.fits(descriptor) => Ok(()),
            _ => Err(other()),
        };
        let Some(contents) = self.contents(name, role, fits)? else { return Ok(None) };
        let Contents { descriptor, state } = contents;
        let descriptor: OwnedFd = descriptor.ok_or_else(other)?;
        let failed = |source| UpgradeError::Io { name: name.to_owned(), source };
        Ok(Some((T::inherit(descriptor).map_err(failed)?, state)))
    }
}
