//! The log-in to a Redis server: HELLO with AUTH and SETNAME, then SELECT. A server without HELLO (before 6.0) is
//! asked with a command for each.
//!
//! The server is trusted with nothing: everything that it sends is bounded by the [`Stream`]. It learns the
//! password, since Redis knows no other way.

mod command;
mod reply;
mod server_error;

use std::collections::BTreeMap;

use fdbroker_policy::RedisAuth;
use fdbroker_wire::ConnectionWriter;
use fdbroker_wire::connection::{CLIENT_ID, DATABASE, PARAMETER, TooLarge, USER};

use super::answer::{Failure, Step};
use super::secret::Secret;
use super::server_words::Told;
use super::stream::Stream;
use command::command;
use reply::{Reply, expect_ok, malformed};
use server_error::refused;

/// What the server reported.
#[derive(Default)]
pub(crate) struct Session {
    /// By the name that the payload has for it.
    reported: BTreeMap<String, Vec<u8>>,
}

/// What a server without HELLO speaks.
const OLD_PROTOCOL: &[u8] = b"2";
/// Who is logged in where the policy names nobody.
const DEFAULT_USER: &str = "default";
/// What is told of HELLO's answer, beside the number of the connection.
const REPORTED: [&str; 5] = ["server", "version", "proto", "mode", "role"];

/// Logs in.
///
/// # Errors
/// Why not.
pub(crate) fn log_in(
    stream: &mut Stream<'_>,
    auth: &RedisAuth,
    secret: Option<&Secret>,
) -> Result<Session, Failure> {
    let session = hello(stream, auth, secret)?;
    if auth.database != 0 {
        let database = auth.database.to_string();
        ask(stream, &[b"SELECT", database.as_bytes()], secret)?;
    }
    Ok(session)
}

fn hello(
    stream: &mut Stream<'_>,
    auth: &RedisAuth,
    secret: Option<&Secret>,
) -> Result<Session, Failure> {
    let password = secret.map(Secret::bytes).unwrap_or_default();
    let mut words: Vec<&[u8]> = vec![b"HELLO", b"3"];
    if auth.user.is_some() || secret.is_some() {
        let user = auth.user.as_deref().unwrap_or(DEFAULT_USER);
        words.extend([b"AUTH", user.as_bytes(), password]);
    }
    if let Some(name) = &auth.client_name {
        words.extend([b"SETNAME", name.as_bytes()]);
    }
    stream.send(&command(&words))?;
    match Reply::take(stream)? {
        Reply::Map(pairs) => Session::take(stream, pairs),
        Reply::Error(words) if is_unknown(stream.bytes(words.clone())) => old(stream, auth, secret),
        Reply::Error(words) => Err(refused(stream.bytes(words), told(secret))),
        _ => Err(malformed()),
    }
}

/// The first command has the password in it.
fn told(secret: Option<&Secret>) -> Told<'_> {
    Told::new(secret, secret.is_some())
}

/// Whether a server says that it has no HELLO.
fn is_unknown(words: &[u8]) -> bool {
    words.starts_with(b"ERR unknown command")
}

/// Logs in to a server that has no HELLO, and no users either.
fn old(
    stream: &mut Stream<'_>,
    auth: &RedisAuth,
    secret: Option<&Secret>,
) -> Result<Session, Failure> {
    if auth.user.as_deref().is_some_and(|user| user != DEFAULT_USER) {
        let text = "the server has no users (Redis before 6.0): remove `user`";
        return Err(Failure::new(Step::LogIn, text));
    }
    if let Some(secret) = secret {
        ask(stream, &[b"AUTH", secret.bytes()], Some(secret))?;
    }
    if let Some(name) = &auth.client_name {
        ask(stream, &[b"CLIENT", b"SETNAME", name.as_bytes()], secret)?;
    }
    // It tells whether the server lets us in, also where nothing else was asked.
    stream.send(&command(&[b"PING"]))?;
    match Reply::take(stream)? {
        Reply::Text(text) if stream.bytes(text.clone()) == b"PONG" => {}
        Reply::Error(words) => return Err(refused(stream.bytes(words), told(secret))),
        _ => return Err(malformed()),
    }
    let mut session = Session::default();
    session.report("proto", OLD_PROTOCOL);
    Ok(session)
}

/// Has a command done.
fn ask(stream: &mut Stream<'_>, words: &[&[u8]], secret: Option<&Secret>) -> Result<(), Failure> {
    stream.send(&command(words))?;
    expect_ok(stream, told(secret))
}

impl Session {
    /// Takes what HELLO answers.
    fn take(stream: &mut Stream<'_>, pairs: u64) -> Result<Self, Failure> {
        let mut session = Self::default();
        for _ in 0..pairs {
            let Reply::Text(key) = Reply::take(stream)? else { return Err(malformed()) };
            match Reply::take(stream)? {
                Reply::Text(value) => {
                    session.report(&String::from_utf8_lossy(stream.bytes(key)), stream.bytes(value))
                }
                other => other.skip_rest(stream)?,
            }
        }
        Ok(session)
    }

    /// Keeps a value, if it is one that the payload has.
    fn report(&mut self, key: &str, value: &[u8]) {
        if REPORTED.contains(&key) {
            self.reported.insert([PARAMETER, key].concat(), value.to_vec());
        } else if key == "id" {
            self.reported.insert(CLIENT_ID.to_owned(), value.to_vec());
        }
    }

    /// Writes it into the payload.
    ///
    /// # Errors
    /// If it does not fit.
    pub(crate) fn write(
        &self,
        auth: &RedisAuth,
        payload: &mut ConnectionWriter,
    ) -> Result<(), TooLarge> {
        payload.add(USER, auth.user.as_deref().unwrap_or(DEFAULT_USER))?;
        payload.add(DATABASE, auth.database.to_string())?;
        self.reported.iter().try_for_each(|(name, value)| payload.add(name, value))
    }
}

#[cfg(test)]
mod tests;
