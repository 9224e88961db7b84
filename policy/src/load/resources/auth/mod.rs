//! Reads `auth`: how a connection is authenticated. Each kind has a file.

mod http_proxy;
mod mail;
mod methods;
mod mysql;
mod names;
mod postgres;
mod program;
mod protocol;
mod proxy;
mod redis;
mod script;

use toml::de::DeTable;

use crate::Auth;
use crate::load::reader::{Expected, Section, Value, wrong_type};
use crate::load::report::{Report, Span};

pub(super) const AUTH: Expected = Expected {
    key: "auth",
    write: "a table with one kind, such as { postgres = { user = \"…\" } }",
};
/// What stands behind the key of a kind.
const KIND: &str = "a table with `user`, `password` and more";

/// Reads the table of one kind.
type Read = fn(Section<'_, '_>, &mut Report<'_>) -> Option<Auth>;

/// Each kind, by its key.
const KINDS: [(&str, Read); 9] = [
    ("postgres", |section, report| postgres::read(section, report).map(Auth::Postgres)),
    ("socks5", |section, report| proxy::read(section, report).map(Auth::Socks5)),
    ("http-proxy", |section, report| http_proxy::read(section, report).map(Auth::HttpProxy)),
    ("mysql", |section, report| mysql::read(section, report).map(Auth::Mysql)),
    ("redis", |section, report| redis::read(section, report).map(Auth::Redis)),
    ("smtp", |section, report| mail::smtp(section, report).map(Auth::Smtp)),
    ("imap", |section, report| mail::imap(section, report).map(Auth::Imap)),
    ("script", |section, report| {
        script::read(section, &KINDS.map(|(key, _)| key), report).map(Auth::Script)
    }),
    (program::PROGRAM.key, |section, report| {
        program::read(section, &KINDS.map(|(key, _)| key), report).map(Auth::Program)
    }),
];

/// Returns how the connection is authenticated: exactly one kind.
pub(super) fn read(section: Section<'_, '_>, report: &mut Report<'_>) -> Option<Auth> {
    let (auth, span) = table(section, AUTH, report)?;
    let auth = Section { what: "`auth`", name: &span, table: auth };
    auth.refuse_unknown_keys(&KINDS.map(|(key, _)| key), report);
    let named: Vec<_> = KINDS.into_iter().filter(|(key, _)| auth.get(key).is_some()).collect();
    let [(key, read)] = named[..] else {
        let many = if named.is_empty() { "names no kind" } else { "names several kinds" };
        report.add(&span, format!("`auth` {many}"), format!("write {}", AUTH.write));
        return None;
    };
    let is_list = |value: &Value<'_>| value.get_ref().as_array().is_some();
    if auth.get(program::PROGRAM.key).is_some_and(is_list) {
        return program::alone(auth, report).map(Auth::Program);
    }
    let (keys, span) = table(auth, Expected { key, write: KIND }, report)?;
    read(Section { what: &format!("`{key}`"), name: &span, table: keys }, report)
}

/// Returns the table behind a key, and where to point when something is missing in it.
pub(super) fn table<'a, 't>(
    section: Section<'a, 't>,
    expected: Expected,
    report: &mut Report<'_>,
) -> Option<(&'a DeTable<'t>, Span)> {
    let value = section.get(expected.key)?;
    let table = value.get_ref().as_table();
    if table.is_none() {
        wrong_type(value, expected, report);
    }
    table.map(|table| (table, section.key_span(expected.key).unwrap_or_else(|| value.span())))
}
