//! The log-in to a SOCKS5 proxy (RFC 1928), with a user and a password where the policy says so (RFC 1929).
//!
//! The proxy is trusted with nothing: it sends a few bytes of known lengths, and each must have its value.

mod message;
mod reply;

use fdbroker_policy::ProxyAuth;
use fdbroker_wire::ConnectionWriter;
use fdbroker_wire::connection::{BOUND, TARGET, TooLarge, USER};
use zeroize::Zeroizing;

use super::answer::{Failure, Step};
use super::secret::Secret;
use super::stream::Stream;
use message::{LONGEST, NO_METHOD, NO_PASSWORD, PASSWORD, PASSWORD_VERSION, VERSION};
use reply::malformed;

/// What the proxy reported.
pub(crate) struct Session {
    /// Whether it has accepted the user; it may have asked for none.
    is_logged_in: bool,
    /// The address that it connects from.
    bound: String,
}

/// Logs in, and has the proxy connect to the target.
///
/// # Errors
/// Why not.
pub(crate) fn log_in(
    stream: &mut Stream<'_>,
    auth: &ProxyAuth,
    secret: Option<&Secret>,
) -> Result<Session, Failure> {
    let login = auth.user.as_deref().zip(secret);
    // Checked before anything is sent.
    let login = login.map(|(user, secret)| credentials(user, secret)).transpose()?;
    stream.send(message::greeting(login.is_some()))?;
    let is_logged_in = match (take(stream, VERSION, "first")?, login) {
        (NO_PASSWORD, _) => false,
        (PASSWORD, Some(login)) => {
            prove(stream, &login)?;
            true
        }
        (NO_METHOD, login) => return Err(no_method(login.is_some())),
        _ => return Err(malformed("first")),
    };
    stream.send(&message::connect(&auth.target))?;
    Ok(Session { is_logged_in, bound: reply::take(stream)? })
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
        payload.add(TARGET, auth.target.to_string())?;
        payload.add(BOUND, &self.bound)
    }
}

/// Returns the message with user and password.
fn credentials(user: &str, secret: &Secret) -> Result<Zeroizing<Vec<u8>>, Failure> {
    let password = secret.bytes();
    message::login(user.as_bytes(), password).ok_or_else(|| {
        let length = password.len();
        let text = format!("the password has {length} bytes, and SOCKS5 allows 1 to {LONGEST}");
        Failure::new(Step::LogIn, text)
    })
}

fn prove(stream: &mut Stream<'_>, login: &[u8]) -> Result<(), Failure> {
    stream.send(login)?;
    match take(stream, PASSWORD_VERSION, "second")? {
        0 => Ok(()),
        status => {
            let text = format!("the proxy refuses the user or the password (status {status})");
            Err(Failure::new(Step::LogIn, text))
        }
    }
}

/// Takes a message of two bytes; returns the second if the first is this version.
fn take(stream: &mut Stream<'_>, version: u8, which: &str) -> Result<u8, Failure> {
    let taken = stream.take(2)?;
    match *stream.bytes(taken) {
        [found, value] if found == version => Ok(value),
        _ => Err(malformed(which)),
    }
}

fn no_method(has_login: bool) -> Failure {
    let text = if has_login {
        "the proxy accepts no log-in with a user and a password"
    } else {
        "the proxy asks for a log-in, and the policy names none: add `user` and `password`"
    };
    Failure::new(Step::LogIn, text)
}

#[cfg(test)]
mod tests;
