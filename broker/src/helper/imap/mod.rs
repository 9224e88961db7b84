//! The log-in to a mailbox: CAPABILITY, then AUTHENTICATE PLAIN or LOGIN (RFC 9051, and RFC 3501 before it). With
//! STARTTLS, CAPABILITY comes again after the handshake.
//!
//! The server is trusted with nothing: everything that it sends is bounded by the [`Stream`]. It learns the password,
//! since both ways send it.

mod encryption;
mod response;

use fdbroker_policy::ImapAuth;
use fdbroker_wire::ConnectionWriter;
use fdbroker_wire::connection::{PARAMETER, TooLarge, USER};

use super::answer::{Failure, Step};
use super::sasl;
use super::secret::Secret;
use super::server_words::Told;
use super::stream::Stream;
pub(crate) use encryption::start_tls;
use response::{begin, capabilities, continued, done, has};

/// What the server reported.
pub(crate) struct Session {
    /// What it can do now that somebody is logged in, with spaces between.
    capabilities: Vec<u8>,
}

/// The tags of the commands.
const BEFORE: &str = "f1";
const PROOF: &str = "f2";
const AFTER: &str = "f3";

/// Logs in.
///
/// # Errors
/// Why not.
pub(crate) fn log_in(
    stream: &mut Stream<'_>,
    auth: &ImapAuth,
    secret: Option<&Secret>,
) -> Result<Session, Failure> {
    let password = sasl::password(secret)?;
    begin(stream)?;
    let before = capabilities(stream, BEFORE, Told::Proof(None))?;
    if has(&before, b"AUTH=PLAIN") {
        authenticate(stream, auth, password)?;
    } else if has(&before, b"LOGINDISABLED") {
        let text = "the server offers no log-in by PLAIN or LOGIN; it may want TLS first";
        return Err(Failure::new(Step::LogIn, text));
    } else {
        login(stream, auth, password)?;
    }
    Ok(Session { capabilities: capabilities(stream, AFTER, Told::Password)? })
}

fn authenticate(
    stream: &mut Stream<'_>,
    auth: &ImapAuth,
    password: &Secret,
) -> Result<(), Failure> {
    let plain = sasl::plain(&auth.user, password);
    stream.send(format!("{PROOF} AUTHENTICATE PLAIN\r\n").as_bytes())?;
    continued(stream, PROOF)?;
    stream.send(&sasl::line(b"", &plain))?;
    done(stream, PROOF, Told::Password).map(drop)
}

/// Sends both as literals, which may have any byte.
fn login(stream: &mut Stream<'_>, auth: &ImapAuth, password: &Secret) -> Result<(), Failure> {
    let (user, length) = (&auth.user, password.bytes().len());
    stream.send(format!("{PROOF} LOGIN {{{}}}\r\n", user.len()).as_bytes())?;
    continued(stream, PROOF)?;
    stream.send(format!("{user} {{{length}}}\r\n").as_bytes())?;
    continued(stream, PROOF)?;
    stream.send(&sasl::line(b"", password))?;
    done(stream, PROOF, Told::Password).map(drop)
}

impl Session {
    /// Writes it into the payload.
    ///
    /// # Errors
    /// If it does not fit.
    pub(crate) fn write(
        &self,
        auth: &ImapAuth,
        payload: &mut ConnectionWriter,
    ) -> Result<(), TooLarge> {
        payload.add(USER, &auth.user)?;
        payload.add(&[PARAMETER, "capability"].concat(), &self.capabilities)
    }
}

#[cfg(test)]
mod tests;
