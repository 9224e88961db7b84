//! The log-in to an HTTP proxy: CONNECT (RFC 9110), with a user and a password by Basic (RFC 7617) where the policy
//! says so.
//!
//! The proxy is trusted with nothing: the head of its answer is bounded, and nothing else of it is read.

mod request;
mod response;

use fdbroker_policy::ProxyAuth;
use fdbroker_wire::ConnectionWriter;
use fdbroker_wire::connection::{TARGET, TooLarge, USER};

use super::answer::Failure;
use super::secret::Secret;
use super::server_words::Told;
use super::stream::Stream;

/// A connection that the proxy has made. It reports nothing of it.
pub(crate) struct Session {
    /// Whether the proxy was told the user and the password.
    is_logged_in: bool,
}

/// Has the proxy connect to the target.
///
/// # Errors
/// Why not.
pub(crate) fn log_in(
    stream: &mut Stream<'_>,
    auth: &ProxyAuth,
    secret: Option<&Secret>,
) -> Result<Session, Failure> {
    let login = auth.user.as_deref().zip(secret);
    let encoded = login.map(|(user, secret)| request::encoded(user, secret));
    stream.send(&request::connect(&auth.target, encoded.as_ref()))?;
    response::take(stream, Told::new(secret, encoded.is_some()))?;
    Ok(Session { is_logged_in: encoded.is_some() })
}

impl Session {
    /// Writes it into the payload.
    ///
    /// # Errors
    /// If it does not fit.
    pub(crate) fn write(
        &self,
        auth: &ProxyAuth,
        payload: &mut ConnectionWriter,
    ) -> Result<(), TooLarge> {
        if let Some(user) = auth.user.as_ref().filter(|_| self.is_logged_in) {
            payload.add(USER, user)?;
        }
        payload.add(TARGET, auth.target.to_string())
    }
}

#[cfg(test)]
mod tests;
