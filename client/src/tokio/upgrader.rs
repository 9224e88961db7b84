//! The upgrader for programs on tokio: the same calls, which do not block.
//!
//! What takes an answer of the broker is done on tokio's threads for blocking calls; what waits
//! for something to happen takes no thread.

use std::fmt;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use ::tokio::task::spawn_blocking;

use super::ToOwnedAddress;
use crate::UpgradeError;
use crate::upgrader::shared::Shared;
use crate::upgrader::{
    BindAddress, Builder, ConnectAddress, Connecting, ConnectionState, Happening, Listening,
    Stored, Surplus,
};

/// [`crate::Upgrader`] for programs on tokio. Its clones are one upgrader; when the last is
/// dropped, the process owns the tag no more. That waits for an answer of the broker, unless
/// [`Upgrader::stop`] was called before.
///
/// A call whose future is dropped may still be carried out; what it would have given is closed.
///
/// ```no_run
/// use tokio::net::TcpListener;
///
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let builder = fdbroker::Upgrader::builder("10".parse()?);
/// let upgrader = fdbroker::tokio::Upgrader::start(builder).await?;
/// let listener: TcpListener = upgrader.listen("http", "0.0.0.0:80").await?;
/// upgrader.ready().await?;
/// loop {
///     tokio::select! {
///         accepted = listener.accept() => drop(accepted?),
///         complete = upgrader.upgrade_complete() => break complete?,
///     }
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Upgrader {
    blocking: Arc<crate::Upgrader>,
    told: Arc<Told>,
}

/// How much of what has happened was told.
#[derive(Default)]
struct Told {
    happenings: AtomicU64,
    forgotten: AtomicU64,
}

impl Upgrader {
    /// [`Builder::start`]. When its future is dropped, the claim ends soon.
    ///
    /// # Errors
    /// Those of [`Builder::start`].
    pub async fn start(builder: Builder) -> Result<Self, UpgradeError> {
        let starting = blocking(move || builder.begin()).await?;
        let _waits = Waits(starting.upgrader.shared.clone());
        let upgrader = blocking(move || starting.finish()).await?;
        Ok(Self { blocking: Arc::new(upgrader), told: Arc::default() })
    }

    /// [`crate::Upgrader::inherited`].
    pub async fn inherited(&self) -> Result<usize, UpgradeError> {
        self.run(|upgrader| Ok(upgrader.inherited())).await
    }

    /// [`crate::Upgrader::names`].
    pub async fn names(&self) -> Result<Vec<String>, UpgradeError> {
        self.run(|upgrader| Ok(upgrader.names())).await
    }

    /// [`crate::Upgrader::listen`].
    ///
    /// # Errors
    /// Those of [`crate::Upgrader::listen`].
    pub async fn listen<T: Listening + Send + 'static>(
        &self,
        name: &str,
        address: impl ToOwnedAddress<Owned: BindAddress<T>>,
    ) -> Result<T, UpgradeError> {
        let (name, address) = (name.to_owned(), address.to_owned_address());
        self.run(move |upgrader| upgrader.listen(&name, address)).await
    }

    /// [`crate::Upgrader::listen_with`].
    ///
    /// # Errors
    /// Those of [`crate::Upgrader::listen_with`].
    pub async fn listen_with<T: Listening + Send + 'static>(
        &self,
        name: &str,
        make: impl FnOnce() -> io::Result<T> + Send + 'static,
    ) -> Result<T, UpgradeError> {
        let name = name.to_owned();
        self.run(move |upgrader| upgrader.listen_with(&name, make)).await
    }

    /// [`crate::Upgrader::listener`].
    ///
    /// # Errors
    /// Those of [`crate::Upgrader::listener`].
    pub async fn listener<T: Listening + Send + 'static>(
        &self,
        name: &str,
    ) -> Result<Option<T>, UpgradeError> {
        let name = name.to_owned();
        self.run(move |upgrader| upgrader.listener(&name)).await
    }

    /// [`crate::Upgrader::connect`].
    ///
    /// # Errors
    /// Those of [`crate::Upgrader::connect`].
    pub async fn connect<T: Connecting + Send + 'static>(
        &self,
        name: &str,
        address: impl ToOwnedAddress<Owned: ConnectAddress<T>>,
    ) -> Result<(T, ConnectionState), UpgradeError> {
        let (name, address) = (name.to_owned(), address.to_owned_address());
        self.run(move |upgrader| upgrader.connect(&name, address)).await
    }

    /// [`crate::Upgrader::connection`].
    ///
    /// # Errors
    /// Those of [`crate::Upgrader::connection`].
    pub async fn connection<T: Connecting + Send + 'static>(
        &self,
        name: &str,
    ) -> Result<Option<(T, ConnectionState)>, UpgradeError> {
        let name = name.to_owned();
        self.run(move |upgrader| upgrader.connection(&name)).await
    }

    /// [`crate::Upgrader::open`].
    ///
    /// # Errors
    /// Those of [`crate::Upgrader::open`].
    pub async fn open(&self, name: &str, path: impl Into<PathBuf>) -> Result<File, UpgradeError> {
        let (name, path) = (name.to_owned(), path.into());
        self.run(move |upgrader| upgrader.open(&name, path)).await
    }

    /// [`crate::Upgrader::open_with`].
    ///
    /// # Errors
    /// Those of [`crate::Upgrader::open_with`].
    pub async fn open_with(
        &self,
        name: &str,
        open: impl FnOnce() -> io::Result<File> + Send + 'static,
    ) -> Result<File, UpgradeError> {
        let name = name.to_owned();
        self.run(move |upgrader| upgrader.open_with(&name, open)).await
    }

    /// [`crate::Upgrader::file`].
    ///
    /// # Errors
    /// Those of [`crate::Upgrader::file`].
    pub async fn file(&self, name: &str) -> Result<Option<File>, UpgradeError> {
        let name = name.to_owned();
        self.run(move |upgrader| upgrader.file(&name)).await
    }

    /// [`crate::Upgrader::store`].
    ///
    /// # Errors
    /// Those of [`crate::Upgrader::store`].
    pub async fn store(
        &self,
        name: &str,
        descriptor: Option<BorrowedFd<'_>>,
        bytes: &[u8],
    ) -> Result<(), UpgradeError> {
        let descriptor = descriptor.map(|own| duplicate(name, own)).transpose()?;
        let (name, bytes) = (name.to_owned(), bytes.to_owned());
        self.run(move |upgrader| {
            upgrader.store(&name, descriptor.as_ref().map(AsFd::as_fd), &bytes)
        })
        .await
    }

    /// [`crate::Upgrader::store_connection`].
    ///
    /// # Errors
    /// Those of [`crate::Upgrader::store_connection`].
    pub async fn store_connection(
        &self,
        name: &str,
        connection: impl AsFd,
        state: ConnectionState,
    ) -> Result<(), UpgradeError> {
        let connection = duplicate(name, connection)?;
        let name = name.to_owned();
        self.run(move |upgrader| upgrader.store_connection(&name, connection, state)).await
    }

    /// [`crate::Upgrader::stored`].
    ///
    /// # Errors
    /// Those of [`crate::Upgrader::stored`].
    pub async fn stored(&self, name: &str) -> Result<Option<Stored>, UpgradeError> {
        let name = name.to_owned();
        self.run(move |upgrader| upgrader.stored(&name)).await
    }

    /// [`crate::Upgrader::remove`].
    ///
    /// # Errors
    /// Those of [`crate::Upgrader::remove`].
    pub async fn remove(&self, name: &str) -> Result<bool, UpgradeError> {
        let name = name.to_owned();
        self.run(move |upgrader| upgrader.remove(&name)).await
    }

    /// [`crate::Upgrader::surplus`]. Its connections are waited for on a thread for blocking calls
    /// ([`spawn_blocking`]).
    ///
    /// # Errors
    /// Those of [`crate::Upgrader::surplus`].
    pub async fn surplus(&self) -> Result<Surplus, UpgradeError> {
        self.run(crate::Upgrader::surplus).await
    }

    /// [`crate::Upgrader::ready`].
    ///
    /// # Errors
    /// Those of [`crate::Upgrader::ready`].
    pub async fn ready(&self) -> Result<(), UpgradeError> {
        self.run(crate::Upgrader::ready).await
    }

    /// [`crate::Upgrader::upgrade_complete`]. Its future may be dropped, and asked for again.
    ///
    /// # Errors
    /// Those of [`crate::Upgrader::upgrade_complete`].
    pub async fn upgrade_complete(&self) -> Result<(), UpgradeError> {
        let mut progress = self.blocking.shared.progress.subscribe();
        // The sender lives as long as this upgrader.
        let _ = progress.wait_for(|progress| progress.over).await;
        // It waits for nothing any more.
        self.run(crate::Upgrader::upgrade_complete).await
    }

    /// [`crate::Upgrader::next`]. Its future may be dropped: what has happened is told to the next
    /// who asks.
    ///
    /// # Errors
    /// Those of [`crate::Upgrader::next`].
    pub async fn next(&self) -> Result<Happening, UpgradeError> {
        let mut progress = self.blocking.shared.progress.subscribe();
        loop {
            let now = *progress.borrow_and_update();
            if now.over {
                return self.run(crate::Upgrader::next).await;
            }
            if is_news(&self.told.forgotten, now.forgotten) {
                return Ok(Happening::Forgotten);
            }
            if let Some((number, happening)) = now.latest
                && is_news(&self.told.happenings, number)
            {
                return Ok(happening);
            }
            // As above.
            let _ = progress.changed().await;
        }
    }

    /// [`crate::Upgrader::release`].
    ///
    /// # Errors
    /// Those of [`crate::Upgrader::release`].
    pub async fn release(&self) -> Result<(), UpgradeError> {
        self.run(crate::Upgrader::release).await
    }

    /// [`crate::Upgrader::stop`].
    pub async fn stop(&self) -> Result<(), UpgradeError> {
        self.run(|upgrader| {
            upgrader.stop();
            Ok(())
        })
        .await
    }

    async fn run<T: Send + 'static>(
        &self,
        call: impl FnOnce(&crate::Upgrader) -> Result<T, UpgradeError> + Send + 'static,
    ) -> Result<T, UpgradeError> {
        let upgrader = self.blocking.clone();
        blocking(move || call(&upgrader)).await
    }
}

/// The wait for the turn, ended when this is dropped. Otherwise the waiting thread would go on, and
/// a runtime does not end before its threads do.
struct Waits(Arc<Shared>);

impl Drop for Waits {
    fn drop(&mut self) {
        self.0.give_up();
    }
}

/// As that of [`crate::Upgrader`].
impl fmt::Debug for Upgrader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.blocking.fmt(f)
    }
}

/// Whether the how manieth was not told yet; it counts as told now.
fn is_news(told: &AtomicU64, number: u64) -> bool {
    told.fetch_max(number, Ordering::AcqRel) < number
}

async fn blocking<T: Send + 'static>(
    call: impl FnOnce() -> Result<T, UpgradeError> + Send + 'static,
) -> Result<T, UpgradeError> {
    match spawn_blocking(call).await {
        Ok(outcome) => outcome,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            // The runtime is being shut down.
            Err(error) => Err(UpgradeError::System(io::Error::other(error))),
        },
    }
}

fn duplicate(name: &str, descriptor: impl AsFd) -> Result<OwnedFd, UpgradeError> {
    let duplicate = descriptor.as_fd().try_clone_to_owned();
    duplicate.map_err(|source| UpgradeError::Io { name: name.to_owned(), source })
}
