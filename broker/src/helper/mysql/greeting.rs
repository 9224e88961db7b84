//! The server's first packet (HandshakeV10): what it is, and what it can do.

use super::capabilities::REQUIRED;
use super::packet::malformed;
use super::reader::Reader;
use super::scramble::Nonce;
use super::server_error;
use crate::helper::answer::{Failure, Step};
use crate::helper::secret::Secret;
use crate::helper::server_words::Told;

/// What a server says of itself.
pub(super) struct Greeting {
    pub(super) version: Vec<u8>,
    /// The number by which it lists the connection.
    pub(super) thread: u32,
    pub(super) capabilities: u32,
    pub(super) nonce: Nonce,
    /// The method of log-in that it expects of most users.
    pub(super) method: Vec<u8>,
}

/// The version of the greeting.
const VERSION: u8 = 10;
/// The length of the nonce with its NUL, as the server says it.
const NONCE_LENGTH: u8 = 21;
const WHAT: &str = "greeting";

impl Greeting {
    /// Reads the packet's body.
    ///
    /// # Errors
    /// What the server says, if it refuses the connection; if it is too old, or no MySQL server.
    pub(super) fn of(body: &[u8], secret: Option<&Secret>) -> Result<Self, Failure> {
        match body.split_first() {
            Some((&VERSION, rest)) => Self::after_version(rest),
            Some((&server_error::ERROR, rest)) => {
                Err(server_error::failure(rest, Told::Proof(secret)))
            }
            _ => Err(malformed(WHAT)),
        }
    }

    fn after_version(body: &[u8]) -> Result<Self, Failure> {
        let mut body = Reader(body);
        let head = Head::take(&mut body).ok_or_else(|| malformed(WHAT))?;
        // An old server sends no more than that, or other things.
        if head.capabilities & REQUIRED != REQUIRED {
            let text =
                "the server is too old for a log-in by name (before MySQL 5.5.7, MariaDB 5.2)";
            return Err(Failure::new(Step::LogIn, text));
        }
        head.finish(&mut body).ok_or_else(|| malformed(WHAT))
    }
}

/// The part of a greeting that servers of every age send.
struct Head {
    version: Vec<u8>,
    thread: u32,
    first: [u8; 8],
    capabilities: u32,
}

impl Head {
    fn take(body: &mut Reader<'_>) -> Option<Self> {
        let version = body.text()?.to_vec();
        let thread = u32::from_le_bytes(body.array()?);
        let first = body.array()?;
        let [0] = body.array()? else { return None };
        let [low, high] = body.array()?;
        // The server's character set and status are of no use before the log-in.
        let upper = body.array::<3>().and_then(|_| body.array());
        let [upper_low, upper_high] = upper.unwrap_or_default();
        let capabilities = u32::from_le_bytes([low, high, upper_low, upper_high]);
        Some(Self { version, thread, first, capabilities })
    }

    fn finish(self, body: &mut Reader<'_>) -> Option<Greeting> {
        let [NONCE_LENGTH] = body.array()? else { return None };
        // Reserved, and for MariaDB's own capabilities.
        let _: [u8; 10] = body.array()?;
        let rest: [u8; 12] = body.array()?;
        let [0] = body.array()? else { return None };
        let nonce = [&self.first[..], &rest].concat().try_into().ok()?;
        let method = body.text()?.to_vec();
        let Self { version, thread, capabilities, .. } = self;
        Some(Greeting { version, thread, capabilities, nonce, method })
    }
}
