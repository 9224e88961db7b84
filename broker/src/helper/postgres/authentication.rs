//! How the broker proves who it is: SCRAM-SHA-256, and what else the policy allows by name.
//!
//! With SCRAM the server has to prove that it knows the password, too; one that skips its proof is refused. Where the
//! connection is encrypted, both proofs are bound to it, if the server offers that.

use fdbroker_policy::{PostgresAuth, PostgresMethod};
use postgres_protocol::authentication::md5_hash;
use postgres_protocol::authentication::sasl::{
    ChannelBinding, SCRAM_SHA_256, SCRAM_SHA_256_PLUS, ScramSha256,
};
use zeroize::Zeroizing;

use super::message::response;
use super::misspoken::malformed;
use crate::helper::answer::{Failure, Step};
use crate::helper::secret::Secret;
use crate::helper::server_words::Told;

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
    /// The hash of the server's certificate, where the proofs can be bound to it.
    end_point: Option<Vec<u8>>,
    state: State,
    /// Whether the server was sent the password itself.
    is_told: bool,
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
    pub(super) fn new(
        auth: &'a PostgresAuth,
        secret: Option<&'a Secret>,
        end_point: Option<Vec<u8>>,
    ) -> Self {
        Self { auth, secret, end_point, state: State::Begun, is_told: false }
    }

    pub(super) fn told(&self) -> Told<'a> {
        Told::new(self.secret, self.is_told)
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
            (CLEARTEXT, State::Begun) => {
                self.is_told = true;
                (State::Told, Some(self.cleartext()?))
            }
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
        let (mechanism, binding) = self.binding(mechanisms)?;
        let password = self.password(PostgresMethod::ScramSha256)?.bytes();
        let scram = ScramSha256::new(password, binding);
        let length = u32::try_from(scram.message().len()).unwrap_or(u32::MAX).to_be_bytes();
        let sent = response(&[mechanism.as_bytes(), b"\0", &length, scram.message()]);
        Ok((scram, sent))
    }

    /// Returns the mechanism to use of those that the server offers. A server that would offer more than it seems
    /// to refuses a client that says so.
    fn binding(&self, mechanisms: &[u8]) -> Result<(&'static str, ChannelBinding), Failure> {
        let mechanisms = mechanisms.split(|byte| *byte == 0);
        let offers =
            |wanted: &str| mechanisms.clone().any(|mechanism| mechanism == wanted.as_bytes());
        match &self.end_point {
            Some(end_point) if offers(SCRAM_SHA_256_PLUS) => {
                let binding = ChannelBinding::tls_server_end_point(end_point.clone());
                Ok((SCRAM_SHA_256_PLUS, binding))
            }
            _ if !offers(SCRAM_SHA_256) => {
                Err(Failure::new(Step::LogIn, "the server offers no SCRAM-SHA-256"))
            }
            Some(_) => Ok((SCRAM_SHA_256, ChannelBinding::unrequested())),
            None => Ok((SCRAM_SHA_256, ChannelBinding::unsupported())),
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    /// What is sent to a server that offers these mechanisms.
    fn first(offered: &[u8], end_point: Option<&[u8]>) -> String {
        let auth = PostgresAuth {
            user: "orders".to_owned(),
            database: "orders".to_owned(),
            password: None,
            methods: vec![PostgresMethod::ScramSha256],
        };
        let secret = Secret::for_a_test(b"geheim");
        let end_point = end_point.map(<[u8]>::to_vec);
        let mut authentication = Authentication::new(&auth, Some(&secret), end_point);
        let question = [&SASL.to_be_bytes(), offered].concat();
        let Ok(Some(sent)) = authentication.answer(&question) else { panic!("no answer") };
        String::from_utf8_lossy(&sent[5..]).into_owned()
    }

    #[test]
    fn proofs_are_bound_to_the_certificate_where_the_server_offers_that() {
        let both = b"SCRAM-SHA-256-PLUS\0SCRAM-SHA-256\0\0";
        let (bound, unbound) = (first(both, Some(b"hash")), first(both, None));
        assert!(bound.starts_with("SCRAM-SHA-256-PLUS\0"), "{bound}");
        assert!(bound.contains("p=tls-server-end-point,,n="), "{bound}");
        assert!(unbound.starts_with("SCRAM-SHA-256\0") && unbound.contains("n,,n="), "{unbound}");
        // A server that would offer it, and does not seem to, is to notice.
        let stripped = first(b"SCRAM-SHA-256\0\0", Some(b"hash"));
        assert!(stripped.contains("y,,n="), "{stripped}");
    }
}
