//! The log-in to a mail server that takes mail: EHLO (RFC 5321), then AUTH by PLAIN or LOGIN (RFC 4954). With STARTTLS,
//! EHLO comes again after the handshake.
//!
//! The server is trusted with nothing: everything that it sends is bounded by the [`Stream`]. It learns the password,
//! since both methods send it.

mod encryption;
mod reply;
mod session;

use fdbroker_policy::SmtpAuth;

use super::answer::Failure;
use super::sasl::{self, Method};
use super::secret::Secret;
use super::server_words::Told;
use super::stream::Stream;
pub(crate) use encryption::start_tls;
use reply::Reply;
use session::Session;

/// The replies of a log-in.
const AUTHENTICATED: u16 = 235;
const MORE: u16 = 334;
/// The keyword of the methods of log-in.
const AUTH: &str = "auth";

/// Logs in.
///
/// # Errors
/// Why not.
pub(crate) fn log_in(
    stream: &mut Stream<'_>,
    auth: &SmtpAuth,
    secret: Option<&Secret>,
) -> Result<Session, Failure> {
    let password = sasl::password(secret)?;
    let session = Session::begin(stream, auth)?;
    let methods = session.extension(AUTH).unwrap_or_default();
    match sasl::chosen(methods)? {
        Method::Plain => {
            let plain = sasl::plain(&auth.user, password);
            stream.send(&sasl::line(b"AUTH PLAIN ", &plain))?;
            Reply::take(stream)?.expect(AUTHENTICATED, stream, Told::Password)?;
        }
        Method::Login => {
            let [user, encoded] = sasl::login(&auth.user, password);
            stream.send(b"AUTH LOGIN\r\n")?;
            Reply::take(stream)?.expect(MORE, stream, Told::Proof(None))?;
            stream.send(&sasl::line(b"", &user))?;
            Reply::take(stream)?.expect(MORE, stream, Told::Proof(None))?;
            stream.send(&sasl::line(b"", &encoded))?;
            Reply::take(stream)?.expect(AUTHENTICATED, stream, Told::Password)?;
        }
    }
    Ok(session)
}

#[cfg(test)]
mod tests;
