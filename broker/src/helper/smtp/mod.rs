//! The log-in to a mail server that takes mail: EHLO (RFC 5321), then AUTH by PLAIN or LOGIN (RFC 4954).
//!
//! The server is trusted with nothing: everything that it sends is bounded by the [`Stream`]. It learns the password,
//! since both methods send it.

mod misspoken;
mod reply;

use std::collections::BTreeMap;

use fdbroker_policy::SmtpAuth;
use fdbroker_wire::ConnectionWriter;
use fdbroker_wire::connection::{PARAMETER, TooLarge, USER};

use super::answer::Failure;
use super::sasl::{self, Method};
use super::secret::Secret;
use super::server_words::Told;
use super::stream::Stream;
use misspoken::malformed;
use reply::Reply;

/// What the server reported.
pub(crate) struct Session {
    /// What it can do beside, by its keyword.
    extensions: BTreeMap<String, Vec<u8>>,
}

/// The replies of a success.
const READY: u16 = 220;
const AUTHENTICATED: u16 = 235;
const DONE: u16 = 250;
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
    Reply::take(stream)?.expect(READY, stream, Told::Proof(None))?;
    stream.send(format!("EHLO {}\r\n", auth.client_name).as_bytes())?;
    let offer = Reply::take(stream)?;
    offer.expect(DONE, stream, Told::Proof(None))?;
    let session = Session::of(&offer, stream)?;
    let methods = session.extensions.get(AUTH).map(Vec::as_slice).unwrap_or_default();
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

impl Session {
    /// Reads what a server can do beside: the lines of its reply to EHLO after the first.
    fn of(offer: &Reply, stream: &Stream<'_>) -> Result<Self, Failure> {
        let mut extensions = BTreeMap::new();
        for line in offer.lines.iter().skip(1) {
            let line = stream.bytes(line.clone());
            let mut parts = line.splitn(2, |byte| *byte == b' ');
            let (keyword, value) = (parts.next().unwrap_or_default(), parts.next());
            let keyword = str::from_utf8(keyword).ok().filter(|it| reply::is_keyword(it));
            let keyword = keyword.ok_or_else(malformed)?.to_ascii_lowercase();
            extensions.insert(keyword, value.unwrap_or_default().to_vec());
        }
        Ok(Self { extensions })
    }

    /// Writes it into the payload.
    ///
    /// # Errors
    /// If it does not fit.
    pub(crate) fn write(
        &self,
        auth: &SmtpAuth,
        payload: &mut ConnectionWriter,
    ) -> Result<(), TooLarge> {
        payload.add(USER, &auth.user)?;
        let mut extensions = self.extensions.iter();
        extensions.try_for_each(|(name, value)| payload.add(&[PARAMETER, name].concat(), value))
    }
}

#[cfg(test)]
mod tests;
