//! The log-in to a MySQL or MariaDB server, protocol 4.1: its greeting, the response, and what else it asks for.
//!
//! The server is trusted with nothing: everything that it sends is bounded by the [`Stream`], and each packet has its
//! place. It need not prove that it knows the password: the protocol has no way.

mod authentication;
mod capabilities;
mod encryption;
mod greeting;
mod packet;
mod reader;
mod response;
mod scramble;
mod server_error;

use fdbroker_policy::MysqlAuth;
use fdbroker_wire::ConnectionWriter;
use fdbroker_wire::connection::{
    CAPABILITIES, CHARSET, CLIENT_ID, DATABASE, PARAMETER, STATUS, TooLarge, USER,
};

use super::answer::Failure;
use super::secret::Secret;
use super::stream::Stream;
use authentication::Authentication;
use capabilities::TLS;
pub(crate) use encryption::ask_for_tls;
use greeting::Greeting;
use packet::{Packets, malformed};

/// What the server reported, and what both have agreed on.
pub(crate) struct Session {
    greeting: Greeting,
    capabilities: u32,
    status: u16,
}

/// What PostgreSQL's servers call it, too.
const SERVER_VERSION: &str = "server_version";

/// Logs in.
///
/// # Errors
/// Why not.
pub(crate) fn log_in(
    stream: &mut Stream<'_>,
    auth: &MysqlAuth,
    secret: Option<&Secret>,
) -> Result<Session, Failure> {
    let mut packets = Packets::new(stream);
    let greeting = packets.greeting()?;
    let greeting = Greeting::of(packets.bytes(greeting), secret)?;
    let capabilities = capabilities::agreed(greeting.capabilities, auth.database.is_some())
        .ok_or_else(|| malformed("greeting"))?;
    let mut authentication = Authentication::new(auth, secret, &greeting);
    let (method, answer) = authentication.first();
    let told = if packets.is_encrypted() { capabilities | TLS } else { capabilities };
    packets.send(&response::response(told, auth, method, &answer))?;
    let status = authentication.run(&mut packets)?;
    Ok(Session { greeting, capabilities, status })
}

impl Session {
    /// Writes it into the payload.
    ///
    /// # Errors
    /// If it does not fit.
    pub(crate) fn write(
        &self,
        auth: &MysqlAuth,
        payload: &mut ConnectionWriter,
    ) -> Result<(), TooLarge> {
        payload.add(USER, &auth.user)?;
        if let Some(database) = &auth.database {
            payload.add(DATABASE, database)?;
        }
        payload.add(&[PARAMETER, SERVER_VERSION].concat(), &self.greeting.version)?;
        payload.add(CLIENT_ID, self.greeting.thread.to_string())?;
        payload.add(CAPABILITIES, self.capabilities.to_string())?;
        payload.add(CHARSET, response::CHARSET.to_string())?;
        payload.add(STATUS, self.status.to_string())
    }
}

#[cfg(test)]
mod tests;
