//! How the broker proves who it is: by a method that the policy allows, whatever the server asks for.
//!
//! With `caching_sha2_password` a server that has not the user in its cache asks for the password itself. It is told
//! it over TLS or on a Unix socket alone. A key of the server's, which it would send over TCP without TLS, proves nothing
//! of who has sent it.

use fdbroker_policy::{MysqlAuth, MysqlMethod};
use zeroize::Zeroizing;

use super::greeting::Greeting;
use super::packet::Packets;
use super::packet::malformed;
use super::reader::Reader;
use super::scramble::{Nonce, scramble};
use super::server_error::{self, ERROR};
use crate::helper::answer::{Failure, Step};
use crate::helper::secret::Secret;
use crate::helper::server_words::{Told, shown};

/// The first byte of a packet, by what it tells.
const OK: u8 = 0;
const MORE: u8 = 1;
const SWITCH: u8 = 0xfe;
/// What more `caching_sha2_password` tells: the server has the user in its cache, or it needs the password.
const IS_CACHED: &[u8] = &[3];
const IS_NOT_CACHED: &[u8] = &[4];
/// The method that a server asks for without its name.
const OLD: &[u8] = b"mysql_old_password";
const WHAT: &str = "authentication";

/// How far it has come.
pub(super) struct Authentication<'a> {
    auth: &'a MysqlAuth,
    secret: Option<&'a Secret>,
    method: MysqlMethod,
    nonce: Nonce,
    state: State,
    /// Whether the server was sent the password itself.
    is_told: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    /// The server was told a first answer, and may ask for another method.
    First,
    /// It was told the answer of the method that it wants.
    Switched,
    /// It has all that it needs.
    Told,
}

impl<'a> Authentication<'a> {
    /// Begins with the method of the greeting, if the policy allows it, or else with the first that it allows.
    pub(super) fn new(
        auth: &'a MysqlAuth,
        secret: Option<&'a Secret>,
        greeting: &Greeting,
    ) -> Self {
        let named = allowed(auth, &greeting.method);
        let method = named.or(auth.methods.first().copied());
        let method = method.unwrap_or(MysqlMethod::CachingSha2Password);
        Self { auth, secret, method, nonce: greeting.nonce, state: State::First, is_told: false }
    }

    /// Returns the method and the answer of the response to the greeting.
    pub(super) fn first(&self) -> (MysqlMethod, Zeroizing<Vec<u8>>) {
        (self.method, self.answer())
    }

    /// Answers until the server accepts the log-in; returns the status of the session.
    ///
    /// # Errors
    /// If it refuses, or asks for what the policy does not allow.
    pub(super) fn run(&mut self, packets: &mut Packets<'_, '_>) -> Result<u16, Failure> {
        loop {
            let body = packets.take()?;
            let is_private = packets.is_private();
            let (kind, rest) = packets.bytes(body).split_first().ok_or_else(not_valid)?;
            let answer = match (*kind, self.state) {
                (OK, _) => return status(rest).ok_or_else(not_valid),
                (ERROR, _) => return Err(server_error::failure(rest, self.told())),
                (SWITCH, State::First) => Some(self.switch(rest)?),
                (MORE, State::First | State::Switched) => self.more(rest, is_private)?,
                _ => return Err(not_valid()),
            };
            if let Some(answer) = answer {
                packets.send(&answer)?;
            }
        }
    }

    fn told(&self) -> Told<'a> {
        Told::new(self.secret, self.is_told)
    }

    /// Returns the password, if there is one and the policy allows the method.
    fn secret(&self) -> Option<&'a Secret> {
        self.secret.filter(|_| self.auth.methods.contains(&self.method))
    }

    /// Returns what proves that the password is known; nothing, if there is none.
    fn answer(&self) -> Zeroizing<Vec<u8>> {
        let scramble = |secret: &Secret| scramble(self.method, secret.bytes(), &self.nonce);
        self.secret().map(scramble).unwrap_or_default()
    }

    /// Answers by the method that the server wants for this user.
    fn switch(&mut self, rest: &[u8]) -> Result<Zeroizing<Vec<u8>>, Failure> {
        let mut body = Reader(rest);
        // A server before 4.1 names none, or one that has kept such a user.
        let name = if rest.is_empty() { OLD } else { body.text().ok_or_else(not_valid)? };
        self.method = allowed(self.auth, name).ok_or_else(|| not_allowed(name, self.told()))?;
        let nonce = body.0.strip_suffix(b"\0").unwrap_or(body.0);
        self.nonce = nonce.try_into().map_err(|_| not_valid())?;
        self.state = State::Switched;
        Ok(self.answer())
    }

    /// Answers what `caching_sha2_password` asks for beside.
    fn more(
        &mut self,
        rest: &[u8],
        is_private: bool,
    ) -> Result<Option<Zeroizing<Vec<u8>>>, Failure> {
        let secret = match (self.method, self.secret()) {
            (MysqlMethod::CachingSha2Password, Some(secret)) => secret,
            _ => return Err(not_valid()),
        };
        self.state = State::Told;
        match rest {
            IS_CACHED => Ok(None),
            IS_NOT_CACHED => {
                self.is_told = true;
                itself(secret, is_private).map(Some)
            }
            _ => Err(not_valid()),
        }
    }
}

/// Returns the method of this name, if the policy allows it.
fn allowed(auth: &MysqlAuth, name: &[u8]) -> Option<MysqlMethod> {
    auth.methods.iter().copied().find(|method| method.name().as_bytes() == name)
}

/// Returns the password itself, with a NUL at its end.
fn itself(secret: &Secret, is_private: bool) -> Result<Zeroizing<Vec<u8>>, Failure> {
    let password = secret.bytes();
    let text = if !is_private {
        "the server asks for the password itself: set `tls`, or connect by a Unix socket"
    } else if password.contains(&0) {
        "the password contains a NUL byte"
    } else {
        return Ok(Zeroizing::new([password, b"\0"].concat()));
    };
    Err(Failure::new(Step::LogIn, text))
}

/// Returns the status of the session that an OK_Packet tells.
fn status(rest: &[u8]) -> Option<u16> {
    let mut body = Reader(rest);
    body.skip_number()?;
    body.skip_number()?;
    body.array().map(u16::from_le_bytes)
}

fn not_allowed(name: &[u8], told: Told<'_>) -> Failure {
    let text = |name| {
        let text = format!("the server asks for the method {name}, which `methods` does not allow");
        Failure::new(Step::LogIn, text)
    };
    shown(name, b"", told).map_or_else(|failure| failure, text)
}

fn not_valid() -> Failure {
    malformed(WHAT)
}
