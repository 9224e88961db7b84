//! What a mail server can do beside, as it says in its reply to EHLO.

use std::collections::BTreeMap;

use fdbroker_policy::SmtpAuth;
use fdbroker_wire::ConnectionWriter;
use fdbroker_wire::connection::{PARAMETER, TooLarge, USER};

use super::reply::{self, READY, Reply, malformed};
use crate::helper::answer::Failure;
use crate::helper::server_words::Told;
use crate::helper::stream::Stream;

/// What the server reported.
pub(crate) struct Session {
    /// What it can do beside, by its keyword in small letters.
    extensions: BTreeMap<String, Vec<u8>>,
}

/// The reply to EHLO.
const DONE: u16 = 250;

impl Session {
    /// Takes the greeting, unless it was taken before TLS began, and asks what the server can do.
    ///
    /// # Errors
    /// If it does not answer that.
    pub(super) fn begin(stream: &mut Stream<'_>, auth: &SmtpAuth) -> Result<Self, Failure> {
        if !stream.has_begun() {
            Reply::take(stream)?.expect(READY, stream, Told::Proof(None))?;
        }
        stream.send(format!("EHLO {}\r\n", auth.client_name).as_bytes())?;
        let offer = Reply::take(stream)?;
        offer.expect(DONE, stream, Told::Proof(None))?;
        Self::of(&offer, stream)
    }

    /// Reads the lines of the reply after the first.
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

    /// Returns what the server says behind a keyword, if it has the extension.
    pub(super) fn extension(&self, keyword: &str) -> Option<&[u8]> {
        self.extensions.get(keyword).map(Vec::as_slice)
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
