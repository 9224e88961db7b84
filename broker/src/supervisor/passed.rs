//! What the service manager passed in (sd_listen_fds(3)): the listening socket, and what an earlier
//! supervisor had left in the store of descriptors.

use std::os::fd::OwnedFd;

use super::StartError;
use super::deposits::mirror::resume::Stored;
use crate::sys::adopt::adopt;

/// All of it.
pub(super) struct Passed {
    pub(super) sockets: Vec<OwnedFd>,
    pub(super) stored: Stored,
}

impl Passed {
    /// Takes it. To be called before anything else opens descriptors.
    ///
    /// # Errors
    /// When a number is not what it is said to be.
    pub(super) fn take() -> Result<Self, StartError> {
        let problem = |error: std::io::Error| StartError::PassedSocket(error.to_string());
        let mut passed = Self { sockets: Vec::new(), stored: Stored::default() };
        for (number, name) in sd_notify::listen_fds_with_names().map_err(problem)? {
            let descriptor = adopt(number).map_err(problem)?;
            passed.sockets.extend(passed.stored.take(&name, descriptor).err());
        }
        Ok(passed)
    }
}
