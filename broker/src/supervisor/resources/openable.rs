//! A resource as the supervisor opens it: each kind has a file of its own.

use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::Path;

use fdbroker_host::Stamp;
use fdbroker_policy::{Resource, Source};
use fdbroker_types::quoted;
use fdbroker_wire::Opened;

use super::connect::ConnectOpener;
use super::failure::OpenFailure;
use super::path::PathOpener;
use crate::payer::Payer;
use crate::supervisor::workers::abandonment::Abandonment;
use crate::supervisor::workers::charges::Charge;
use crate::supervisor::workers::helper::Helpers;

/// A resource, and what opens it.
pub(crate) struct Openable {
    resource: Resource,
    opener: Opener,
}

/// One for each kind of resource.
enum Opener {
    Path(PathOpener),
    Connect(Box<ConnectOpener>),
}

impl Openable {
    /// Looks at the resource as it is now, without opening it.
    pub(crate) fn new(resource: &Resource, helpers: &Helpers) -> Self {
        let opener = match &resource.source {
            Source::Device { at, number } => Opener::Path(PathOpener::device(at, *number)),
            Source::File { at } => Opener::Path(PathOpener::file(at)),
            Source::Connect(connect) => {
                let opener = ConnectOpener::new(connect, resource.open_timeout, helpers.clone());
                Opener::Connect(Box::new(opener))
            }
        };
        Self { resource: resource.clone(), opener }
    }

    /// Returns whether it is exactly this one.
    pub(crate) fn is(&self, resource: &Resource) -> bool {
        self.resource == *resource
    }

    /// Returns whether its path leads to what is open. Can block.
    pub(super) fn leads_to(&self, opened: BorrowedFd<'_>) -> bool {
        match &self.opener {
            Opener::Path(path) => path.leads_to(opened),
            Opener::Connect(_) => true,
        }
    }

    /// Returns the path that it is opened by, if it has one.
    pub(super) fn path(&self) -> Option<&Path> {
        match &self.opener {
            Opener::Path(path) => Some(Path::new(path.path())),
            Opener::Connect(_) => None,
        }
    }

    pub(super) fn is_device(&self) -> bool {
        match &self.opener {
            Opener::Path(path) => path.is_device(),
            Opener::Connect(_) => false,
        }
    }

    /// Returns the stamps of the credentials that opening it takes, as they are now. Can block.
    pub(super) fn credentials(&self) -> Vec<Option<Stamp>> {
        match &self.opener {
            Opener::Path(_) => Vec::new(),
            Opener::Connect(connect) => connect.credentials(),
        }
    }

    /// Charges a user with what it takes to have it. `None` if it takes nothing, or the user has as much as one may have.
    pub(super) fn charge(&self, user: Payer) -> Option<Charge> {
        match &self.opener {
            Opener::Path(_) => None,
            Opener::Connect(connect) => connect.charge(user),
        }
    }

    /// Returns whether nobody may have it without being charged.
    pub(super) fn is_charged_for(&self) -> bool {
        match &self.opener {
            Opener::Path(_) => false,
            Opener::Connect(connect) => connect.is_relayed(),
        }
    }

    /// Charges a user who has not been charged, after a look at what the user still has. Can block.
    ///
    /// # Errors
    /// If the user has as much as one may have.
    pub(super) fn charged(
        &self,
        user: Payer,
        charge: Option<Charge>,
    ) -> Result<Option<Charge>, OpenFailure> {
        match &self.opener {
            Opener::Path(_) => Ok(charge),
            Opener::Connect(connect) => {
                connect.charged(user, charge).map_err(|failure| self.named(failure))
            }
        }
    }

    /// What was ready is handed out, to whom this charges.
    pub(super) fn is_handed_out(&self, opened: &Opened<OwnedFd>, charge: Charge) {
        if let Opener::Connect(connect) = &self.opener {
            connect.is_handed_out(opened, charge);
        }
    }

    pub(crate) fn resource(&self) -> &Resource {
        &self.resource
    }

    pub(crate) fn name(&self) -> &str {
        &self.resource.name
    }

    /// Opens it for nobody yet. Can block.
    ///
    /// # Errors
    /// What the log says.
    pub(crate) fn open_for_nobody(&self) -> Result<Opened<OwnedFd>, OpenFailure> {
        self.open(None, &Abandonment::default())
    }

    /// Opens it, for a user who has been charged. Can block; a connection that is abandoned ends it.
    ///
    /// # Errors
    /// What the peer is answered, and what the log says.
    pub(crate) fn open(
        &self,
        charge: Option<Charge>,
        abandonment: &Abandonment,
    ) -> Result<Opened<OwnedFd>, OpenFailure> {
        let opened = match &self.opener {
            Opener::Path(path) => path.open(&self.resource.capabilities).map(Opened::one),
            Opener::Connect(connect) => connect.open(charge, abandonment),
        };
        opened.map_err(|failure| self.named(failure))
    }

    fn named(&self, OpenFailure { errno, text }: OpenFailure) -> OpenFailure {
        OpenFailure { errno, text: format!("resource {}: {text}", quoted(&self.resource.name)) }
    }
}
