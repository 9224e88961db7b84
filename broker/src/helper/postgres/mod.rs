//! The log-in to a PostgreSQL server, protocol 3.0: start-up, authentication, and what the server reports
//! until it is ready.
//!
//! The server is trusted with nothing: everything that it sends is bounded by the [`Stream`], and each message
//! is looked at only as far as it is understood.

mod authentication;
mod encryption;
mod message;
mod misspoken;
mod server_error;

use std::collections::BTreeMap;

use fdbroker_policy::PostgresAuth;
use fdbroker_wire::connection::{
    BACKEND_KEY, BACKEND_PID, DATABASE, PARAMETER, TRANSACTION, TooLarge, USER,
};
use fdbroker_wire::{ConnectionWriter, named};

use super::answer::Failure;
use super::secret::Secret;
use super::stream::Stream;
use authentication::Authentication;
pub(crate) use encryption::ask_for_tls;
use message::Message;
use misspoken::{malformed, unexpected};

/// What the server reported. It has no `Debug`: the key cancels requests.
#[derive(Default)]
pub(crate) struct Session {
    parameters: BTreeMap<String, Vec<u8>>,
    /// Its process, and the key that cancels a request.
    key: Option<(u32, Vec<u8>)>,
}

/// The state of a session in which no transaction has begun.
const IDLE: &[u8] = b"I";

/// Logs in.
///
/// # Errors
/// Why not: also if the server cannot prove that it knows the password.
pub(crate) fn log_in(
    stream: &mut Stream<'_>,
    auth: &PostgresAuth,
    secret: Option<&Secret>,
) -> Result<Session, Failure> {
    stream.send(&message::start_up(&auth.user, &auth.database))?;
    let mut authentication = Authentication::new(auth, secret, stream.end_point());
    let mut session = Session::default();
    loop {
        let Message { kind, body } = Message::take(stream)?;
        let bytes = stream.bytes(body.clone());
        match kind {
            b'R' => {
                if let Some(response) = authentication.answer(bytes)? {
                    stream.send(&response)?;
                }
            }
            b'E' => return Err(server_error::failure(bytes, authentication.told())),
            // Notices are for people.
            b'N' => {}
            b'S' if authentication.is_over() => session.parameter(bytes)?,
            b'K' if authentication.is_over() => session.key(bytes)?,
            b'Z' if authentication.is_over() => {
                return if bytes == IDLE { Ok(session) } else { Err(malformed("ReadyForQuery")) };
            }
            other => return Err(unexpected(other)),
        }
    }
}

impl Session {
    fn parameter(&mut self, body: &[u8]) -> Result<(), Failure> {
        let texts = message::two_texts(body).ok_or_else(|| malformed("ParameterStatus"))?;
        let (name, value) = texts;
        let name = str::from_utf8(name).ok().filter(|name| {
            let is_short = PARAMETER.len() + name.len() <= named::MAX_NAME;
            is_short && !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_graphic())
        });
        let name = name.ok_or_else(|| malformed("ParameterStatus"))?;
        self.parameters.insert(name.to_owned(), value.to_vec());
        Ok(())
    }

    fn key(&mut self, body: &[u8]) -> Result<(), Failure> {
        let (pid, key) = body.split_first_chunk().ok_or_else(|| malformed("BackendKeyData"))?;
        self.key = Some((u32::from_be_bytes(*pid), key.to_vec()));
        Ok(())
    }

    /// Writes it into the payload.
    ///
    /// # Errors
    /// If it does not fit.
    pub(crate) fn write(
        &self,
        auth: &PostgresAuth,
        payload: &mut ConnectionWriter,
    ) -> Result<(), TooLarge> {
        payload.add(USER, &auth.user)?;
        payload.add(DATABASE, &auth.database)?;
        for (name, value) in &self.parameters {
            payload.add(&[PARAMETER, name].concat(), value)?;
        }
        if let Some((pid, key)) = &self.key {
            payload.add(BACKEND_PID, pid.to_string())?;
            payload.add(BACKEND_KEY, key)?;
        }
        payload.add(TRANSACTION, IDLE)
    }
}

#[cfg(test)]
mod tests;
