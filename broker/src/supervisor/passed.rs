//! What the service manager passed in (sd_listen_fds(3)): the listening socket, and what an earlier
//! supervisor had left in the store of descriptors.

use std::os::fd::OwnedFd;

use fdbroker_types::quoted;
use rustix::net::{getpeername, sockopt::socket_type};

use super::StartError;
use super::deposits::mirror::resume::Stored;
use super::notify::is_managed;
use crate::log::Log;
use crate::sys::adopt::adopt;

/// How many names are listed at most.
const NAMED: usize = 8;

/// All of it.
pub(super) struct Passed {
    pub(super) sockets: Vec<OwnedFd>,
    pub(super) stored: Stored,
    /// The names of what in the store is nobody's here.
    pub(super) foreign: Vec<String>,
}

impl Passed {
    /// Takes it. To be called before anything else opens descriptors.
    ///
    /// # Errors
    /// When a number is not what it is said to be.
    pub(super) fn take() -> Result<Self, StartError> {
        let problem = |error: std::io::Error| StartError::PassedSocket(error.to_string());
        let mut passed =
            Self { sockets: Vec::new(), stored: Stored::default(), foreign: Vec::new() };
        for (number, name) in sd_notify::listen_fds_with_names().map_err(problem)? {
            let descriptor = adopt(number).map_err(problem)?;
            match passed.stored.take(&name, descriptor) {
                Err(other) if is_managed() && !is_of_a_socket_unit(&other) => {
                    passed.foreign.push(name)
                }
                taken => passed.sockets.extend(taken.err()),
            }
        }
        Ok(passed)
    }

    /// Says what was found that somebody else has stored. It stays in the store.
    pub(super) fn tell(&self, log: &Log) {
        if !self.foreign.is_empty() {
            log.warn(&format!(
                "descriptors in the service manager's store that are not the broker's: {} ({}); they are \
                 not used; systemctl stop empties the store",
                self.foreign.len(),
                list(&self.foreign)
            ));
        }
    }
}

/// Whether something can be the fault of a socket unit: any socket but a connection, which no unit makes.
fn is_of_a_socket_unit(descriptor: &OwnedFd) -> bool {
    socket_type(descriptor).is_ok() && getpeername(descriptor).is_err()
}

fn list(names: &[String]) -> String {
    let mut named: Vec<_> = names.iter().take(NAMED).map(|name| quoted(name).to_string()).collect();
    if names.len() > NAMED {
        named.push("…".to_owned());
    }
    named.join(", ")
}
