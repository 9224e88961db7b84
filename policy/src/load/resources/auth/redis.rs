//! Reads `redis`: the log-in to a Redis server.

use super::names::{PASSWORD, USER, name, password};
use crate::RedisAuth;
use crate::load::amount::up_to;
use crate::load::reader::{Expected, Section};
use crate::load::report::Report;

const CLIENT_NAME: Expected =
    Expected { key: "client_name", write: "the name of the connection in quotes" };
const DATABASE: &str = "database";
/// The largest number of a database that a server can be set up for.
const LAST_DATABASE: u32 = 0x7fff_fffe;

pub(super) fn read(section: Section<'_, '_>, report: &mut Report<'_>) -> Option<RedisAuth> {
    let known = [USER.key, DATABASE, PASSWORD.key, CLIENT_NAME.key];
    section.refuse_unknown_keys(&known, report);
    Some(RedisAuth {
        user: name(section, USER, report),
        password: password(section, report),
        database: up_to(section, DATABASE, LAST_DATABASE, report).unwrap_or_default(),
        client_name: client_name(section, report),
    })
}

/// Returns the name of the connection, if the server can take it.
fn client_name(section: Section<'_, '_>, report: &mut Report<'_>) -> Option<String> {
    let name = name(section, CLIENT_NAME, report)?;
    if name.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Some(name);
    }
    let span = section.key_span(CLIENT_NAME.key)?;
    let message = "`client_name` has a character that Redis does not allow";
    report.add(&span, message, "write visible ASCII characters without spaces");
    None
}
