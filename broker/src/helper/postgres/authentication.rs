//! How the broker proves who it is: SCRAM-SHA-256, and what else the policy allows by name.
//!
//! With SCRAM the server has to prove that it knows the password, too; one that skips its proof is refused.

use fdbroker_policy::{PostgresAuth, PostgresMethod};
use postgres_protocol::authentication::md5_hash;
use postgres_protocol::authentication::sasl::{ChannelBinding, SCRAM_SHA_256, ScramSha256};
use zeroize::Zeroizing;

use super::message::response;
use super::misspoken::malformed;
use crate::helper::answer::{Failure, Step};
use crate::helper::secret::Secret;

/// How often a server may have the password hashed. Fewer than 4096 (RFC 7677, and PostgreSQL's own number) would
/// help somebody who listens to guess the password; more than 100000 would keep the helper busy for the server.
const ITERATIONS: std::ops::RangeInclusive<u32> = 4096..=100_000;

/// The questions of AuthenticationRequest.
const OK: u32 = 0;
const CLEARTEXT: u32 = 3;
const MD5: u32 = 5;
const SASL: u32 = 10;
const SASL_CONTINUE: u32 = 11;
const SASL_FINAL: u32 = 12;

/// How far it has come.
pub(super) struct Authentication<'a> {
    auth: &'a PostgresAuth,
    secret: Option<&'a Secret>,
    state: State,
}

enum State {
    /// The server has asked for nothing yet.
    Begun,
    /// It was sent the password, or a hash of it.
    Told,
    /// It has to send its part of the nonce.
    Scram(ScramSha256),
    /// It has to prove that it knows the password.
    Unproven(ScramSha256),
    /// It has.
    Proven,
    Over,
}

impl<'a> Authentication<'a> {
    pub(super) fn new(auth: &'a PostgresAuth, secret: Option<&'a Secret>) -> Self {
        Self { auth, secret, state: State::Begun }
    }

    /// Returns whether the server has accepted the log-in, after its proof.
    pub(super) fn is_over(&self) -> bool {
        matches!(self.state, State::Over)
    }

    /// Answers a question; returns the message to send, if there is one.
    ///
    /// # Errors
    /// If the policy does not allow the method, or the server does not keep to it.
    pub(super) fn answer(&mut self, body: &[u8]) -> Result<Option<Zeroizing<Vec<u8>>>, Failure> {
        let (question, rest) = body.split_first_chunk().ok_or_else(not_valid)?;
        let state = std::mem::replace(&mut self.state, State::Over);
        let question = u32::from_be_bytes(*question);
        let (next, sent) = match (question, state) {
            (OK, State::Begun | State::Told | State::Proven) => (State::Over, None),
            (OK, State::Scram(_) | State::Unproven(_)) => return Err(unproven()),
            (CLEARTEXT, State::Begun) => (State::Told, Some(self.cleartext()?)),
            (MD5, State::Begun) => (State::Told, Some(self.md5(rest)?)),
            (SASL, State::Begun) => {
                let (scram, sent) = self.sasl(rest)?;
                (State::Scram(scram), Some(sent))
            }
            (SASL_CONTINUE, State::Scram(scram)) => {
                let (scram, sent) = proof(scram, rest)?;
                (State::Unproven(scram), Some(sent))
            }
            (SASL_FINAL, State::Unproven(mut scram)) => {
                scram.finish(rest).map_err(|_| unproven())?;
                (State::Proven, None)
            }
            (_, State::Begun) => return Err(unknown(question)),
            _ => return Err(not_valid()),
        };
        self.state = next;
        Ok(sent.map(Zeroizing::new))
    }

    fn cleartext(&self) -> Result<Vec<u8>, Failure> {
        let password = self.password(PostgresMethod::Cleartext)?.bytes();
        if password.contains(&0) {
            return Err(Failure::new(Step::LogIn, "the password contains a NUL byte"));
        }
        Ok(response(&[password, b"\0"]))
    }

    fn md5(&self, salt: &[u8]) -> Result<Vec<u8>, Failure> {
        let salt = salt.try_into().map_err(|_| not_valid())?;
        let password = self.password(PostgresMethod::Md5)?.bytes();
        let hash = Zeroizing::new(md5_hash(self.auth.user.as_bytes(), password, salt));
        Ok(response(&[hash.as_bytes(), b"\0"]))
    }

    fn sasl(&self, mechanisms: &[u8]) -> Result<(ScramSha256, Vec<u8>), Failure> {
        let mut mechanisms = mechanisms.split(|byte| *byte == 0);
        if !mechanisms.any(|mechanism| mechanism == SCRAM_SHA_256.as_bytes()) {
            return Err(Failure::new(Step::LogIn, "the server offers no SCRAM-SHA-256"));
        }
        let password = self.password(PostgresMethod::ScramSha256)?.bytes();
        let scram = ScramSha256::new(password, ChannelBinding::unsupported());
        let length = u32::try_from(scram.message().len()).unwrap_or(u32::MAX).to_be_bytes();
        let sent = response(&[SCRAM_SHA_256.as_bytes(), b"\0", &length, scram.message()]);
        Ok((scram, sent))
    }

    /// Returns the password, if the server may ask for it in this way.
    fn password(&self, method: PostgresMethod) -> Result<&'a Secret, Failure> {
        if !self.auth.methods.contains(&method) {
            let name = method.name();
            let text =
                format!("the server asks for the method {name}, which `methods` does not allow");
            return Err(Failure::new(Step::LogIn, text));
        }
        let missing = "the server asks for a password, and the policy names none: add `password`";
        self.secret.ok_or_else(|| Failure::new(Step::LogIn, missing))
    }
}

/// Returns the proof for a server's first SCRAM message.
fn proof(mut scram: ScramSha256, first: &[u8]) -> Result<(ScramSha256, Vec<u8>), Failure> {
    let iterations = iterations(first).ok_or_else(not_valid)?;
    if !ITERATIONS.contains(&iterations) {
        let (least, most) = (ITERATIONS.start(), ITERATIONS.end());
        let text = format!(
            "the server asks for {iterations} SCRAM iterations, and {least} to {most} are allowed"
        );
        return Err(Failure::new(Step::LogIn, text));
    }
    scram.update(first).map_err(|_| not_valid())?;
    let sent = response(&[scram.message()]);
    Ok((scram, sent))
}

/// Returns how often the server wants the password hashed: `i` in RFC 5802.
fn iterations(first: &[u8]) -> Option<u32> {
    let mut attributes = str::from_utf8(first).ok()?.split(',');
    attributes.find_map(|attribute| attribute.strip_prefix("i="))?.parse().ok()
}

fn not_valid() -> Failure {
    malformed("authentication")
}

fn unproven() -> Failure {
    Failure::new(
        Step::LogIn,
        "the server does not prove that it knows the password: it may be another server",
    )
}

fn unknown(question: u32) -> Failure {
    Failure::new(
        Step::LogIn,
        format!("the server asks for an authentication that is not supported (number {question})"),
    )
}
