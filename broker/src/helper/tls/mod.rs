//! TLS to a server: the handshake, and whether the server is the one that the policy means.
//!
//! rustls does it, with the arithmetic of ring. The server is trusted with nothing before its certificate has been
//! verified, and with no more than before afterwards.

mod authority;
mod config;
mod end_point;
mod failure;
mod kernel;
mod keys;
mod records;
mod renewal;
mod session;

use std::os::fd::OwnedFd;

use rustls::pki_types::ServerName;

pub(crate) use self::failure::told;
pub(crate) use self::kernel::{Handover, hand_over};
pub(crate) use self::session::{AT_ONCE, TlsSession};
use super::answer::{Failure, Step};
use super::handed::Memories;
use super::job::Encryption;
use super::patience::Patience;

/// Shakes hands with the server of a connection.
///
/// # Errors
/// Why the server is not the one that the policy means, or does not speak TLS.
pub(crate) fn connect(
    encryption: Encryption,
    memories: &Memories,
    host: &str,
    socket: &OwnedFd,
    patience: Patience<'_>,
) -> Result<TlsSession, Failure> {
    let config = config::of(encryption, memories).map_err(|text| Failure::new(Step::Tls, text))?;
    let name = ServerName::try_from(host.to_owned()).map_err(|_| {
        Failure::new(
            Step::Tls,
            "no certificate can be for the host in `connect`: it is no DNS name",
        )
    })?;
    let mut session = TlsSession::new(config, name).map_err(|error| failure::of(&error))?;
    session.shake_hands(socket, patience)?;
    Ok(session)
}
