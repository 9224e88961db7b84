//! A log-in that the policy spells out: line by line, what the server has to say and what it is told.
//!
//! The server is trusted with nothing: everything that it sends is bounded by the [`Stream`], and a line by itself.

mod line;
mod sent;
mod unexpected;

use fdbroker_policy::{ScriptAuth, ScriptFill, ScriptStep};
use fdbroker_wire::ConnectionWriter;
use fdbroker_wire::connection::{TooLarge, USER};

use self::line::line;
use self::unexpected::unexpected;
use super::answer::Failure;
use super::secret::Secret;
use super::server_words::Told;
use super::stream::Stream;

/// All steps are done.
pub(crate) struct Session;

/// Logs in.
///
/// # Errors
/// Which step fails, and why.
pub(crate) fn log_in(
    stream: &mut Stream<'_>,
    auth: &ScriptAuth,
    secret: Option<&Secret>,
) -> Result<Session, Failure> {
    let mut skipped = Vec::new();
    let mut told = Told::Proof(secret);
    for (at, step) in auth.steps.iter().enumerate() {
        let done = match step {
            ScriptStep::Skip(text) => {
                skipped.push(text.as_str());
                continue;
            }
            ScriptStep::Expect(text) => expect(stream, text, &skipped, told),
            ScriptStep::Prompt(text) => prompt(stream, text, told),
            ScriptStep::Send(text) => {
                sent::line(auth, text, secret).and_then(|it| stream.send(&it))
            }
            ScriptStep::Write(text) => {
                sent::text(auth, text, secret).and_then(|it| stream.send(&it))
            }
        };
        skipped.clear();
        if step.sent().is_some_and(|text| text.fills().any(ScriptFill::has_password)) {
            told = Told::Password;
        }
        done.map_err(|failure| in_step(at, failure))?;
    }
    Ok(Session)
}

/// Says in which step it failed. Its text may name the password.
fn in_step(at: usize, failure: Failure) -> Failure {
    Failure { text: format!("step {}: {}", at + 1, failure.text), ..failure }
}

/// Takes a line that begins with a text, and those before it that begin with what is skipped.
fn expect(
    stream: &mut Stream<'_>,
    text: &str,
    skipped: &[&str],
    told: Told<'_>,
) -> Result<(), Failure> {
    loop {
        let line = line(stream)?;
        let line = stream.bytes(line);
        if line.starts_with(text.as_bytes()) {
            return Ok(());
        }
        if !skipped.iter().any(|skipped| line.starts_with(skipped.as_bytes())) {
            return Err(unexpected(line, told));
        }
    }
}

/// Takes just these bytes.
fn prompt(stream: &mut Stream<'_>, text: &str, told: Told<'_>) -> Result<(), Failure> {
    for byte in text.bytes() {
        let taken = stream.take(1)?;
        if stream.bytes(taken) != [byte] {
            return Err(unexpected(stream.so_far(), told));
        }
    }
    Ok(())
}

impl Session {
    /// Writes it into the payload.
    ///
    /// # Errors
    /// If it does not fit.
    pub(crate) fn write(
        &self,
        auth: &ScriptAuth,
        payload: &mut ConnectionWriter,
    ) -> Result<(), TooLarge> {
        auth.user.iter().try_for_each(|user| payload.add(USER, user))
    }
}

#[cfg(test)]
mod tests;
