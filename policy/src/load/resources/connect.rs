//! Reads the keys of resources that are connections: `connect`, `source`, `auth` and their times.

use std::net::IpAddr;

use toml::de::DeTable;

use super::path::check_path;
use super::{lease, ready};
use crate::load::amount::duration;
use crate::load::reader::{Expected, Section, wrong_type};
use crate::load::report::{Report, Span};
use crate::load::suggest::suggest;
use crate::{
    Auth, ConnectSource, Credential, Opening, PostgresAuth, PostgresMethod, ServerAddress, Source,
};

pub(super) const CONNECT: Expected =
    Expected { key: "connect", write: "\"tcp:HOST:PORT\" or \"unix:PATH\", or a list of these" };
const SOURCE: Expected =
    Expected { key: "source", write: "a local IP address in quotes, such as \"192.0.2.7\"" };
const AUTH: Expected = Expected {
    key: "auth",
    write: "a table with one kind, such as { postgres = { user = \"…\" } }",
};
const USER: Expected = Expected { key: "user", write: "the role's name in quotes" };
const DATABASE: Expected = Expected { key: "database", write: "the database's name in quotes" };
const PASSWORD: Expected = Expected {
    key: "password",
    write: "where the password is kept: \"credential:NAME\" or \"file:PATH\"",
};
const METHODS: Expected =
    Expected { key: "methods", write: "a list of \"scram-sha-256\", \"md5\" and \"password\"" };
const POSTGRES: &str = "postgres";
/// A key of every kind.
const OPEN: &str = "open";
const CONNECT_TIMEOUT: &str = "connect_timeout";
const KEEP_ALIVE: &str = "keep_alive";
const USER_TIMEOUT: &str = "user_timeout";

/// The keys that only a connection has, beside the one that names it.
pub(super) const KEYS: [&str; 11] = {
    let [ready, max_age] = ready::KEYS;
    let [holders, wait, ttl, revocable] = lease::KEYS;
    [
        SOURCE.key,
        CONNECT_TIMEOUT,
        KEEP_ALIVE,
        USER_TIMEOUT,
        AUTH.key,
        ready,
        max_age,
        holders,
        wait,
        ttl,
        revocable,
    ]
};

/// The most addresses of one resource.
const MOST_ADDRESSES: usize = 16;
/// The longest name of a host (RFC 1035), and of a credential.
const LONGEST_NAME: usize = 253;
/// What a role's or database's name may take, far above PostgreSQL's 63 bytes.
const LONGEST_ROLE: usize = 255;
/// The longest path of a Unix socket less the final NUL, see unix(7).
const LONGEST_SOCKET: usize = 107;

/// Returns the connection, unless there is a finding about it.
pub(super) fn read(section: Section<'_, '_>, report: &mut Report<'_>) -> Option<Source> {
    refuse_sharing(section, report);
    let addresses = addresses(section, report);
    let source = source(section, report);
    let time =
        |key, default, report: &mut Report<'_>| duration(section, key, report).unwrap_or(default);
    let connect_timeout = time(CONNECT_TIMEOUT, ConnectSource::DEFAULT_CONNECT_TIMEOUT, report);
    let keep_alive = time(KEEP_ALIVE, ConnectSource::DEFAULT_KEEP_ALIVE, report);
    let user_timeout = time(USER_TIMEOUT, ConnectSource::DEFAULT_USER_TIMEOUT, report);
    let auth = match section.get(AUTH.key) {
        Some(_) => Some(auth(section, report)?),
        None => None,
    };
    let addresses = addresses?;
    let connect =
        ConnectSource { addresses, source, connect_timeout, keep_alive, user_timeout, auth };
    Some(Source::Connect(connect))
}

/// One connection cannot serve several callers: each would read what was meant for another.
fn refuse_sharing(section: Section<'_, '_>, report: &mut Report<'_>) {
    let Some(value) = section.get(OPEN) else { return };
    if value.get_ref().as_str() == Some(Opening::Startup.name()) {
        let message = "a connection cannot be opened at start and shared";
        report.add(
            &value.span(),
            message,
            "remove `open`: each caller gets a connection of its own",
        );
    }
}

fn addresses(section: Section<'_, '_>, report: &mut Report<'_>) -> Option<Vec<ServerAddress>> {
    let value = section.get(CONNECT.key)?;
    let texts = match value.get_ref().as_str() {
        Some(text) => vec![(text, value.span())],
        None => section.strings(CONNECT, report)?,
    };
    if texts.is_empty() || texts.len() > MOST_ADDRESSES {
        let message = format!("`connect` has {} addresses", texts.len());
        report.add(&value.span(), message, format!("write 1 to {MOST_ADDRESSES} addresses"));
        return None;
    }
    let read: Vec<_> = texts.iter().map(|(text, span)| address(text, span, report)).collect();
    read.into_iter().collect()
}

fn address(text: &str, span: &Span, report: &mut Report<'_>) -> Option<ServerAddress> {
    let found = match text.split_once(':') {
        Some(("tcp", rest)) => tcp(rest),
        Some(("unix", path)) => {
            return unix(path, span, report);
        }
        _ => None,
    };
    if found.is_none() {
        // Never the text itself: a URL may hold a password.
        report.add(span, "not the address of a server", "write \"tcp:HOST:PORT\" or \"unix:PATH\"");
    }
    found
}

fn tcp(rest: &str) -> Option<ServerAddress> {
    let (host, port) = rest.rsplit_once(':')?;
    let port = fdbroker_types::decimal(port).and_then(|port| u16::try_from(port).ok());
    let port = port.filter(|port| *port > 0)?;
    let host = match host.strip_prefix('[') {
        Some(inner) => inner.strip_suffix(']').filter(|host| is_address(host))?,
        None => Some(host).filter(|host| is_host(host))?,
    };
    Some(ServerAddress::Tcp { host: host.to_owned(), port })
}

fn is_address(host: &str) -> bool {
    host.parse::<IpAddr>().is_ok()
}

/// An IPv4 address or a name; an IPv6 address needs its brackets.
fn is_host(host: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    (1..=LONGEST_NAME).contains(&host.len()) && host.bytes().all(allowed)
}

fn unix(path: &str, span: &Span, report: &mut Report<'_>) -> Option<ServerAddress> {
    if path.len() > LONGEST_SOCKET {
        let remedy = format!("the path of a Unix socket has at most {LONGEST_SOCKET} bytes");
        report.add(span, "the path is too long", remedy);
        return None;
    }
    check_path(path, span, report).then(|| ServerAddress::Unix(path.to_owned()))
}

fn source(section: Section<'_, '_>, report: &mut Report<'_>) -> Option<IpAddr> {
    let (text, span) = section.string(SOURCE, report)?;
    let parsed = text.parse().ok();
    if parsed.is_none() {
        let message = format!("`source` cannot be \"{text}\"");
        report.add(&span, message, format!("write {}", SOURCE.write));
    }
    parsed
}

/// Returns how the connection is authenticated: exactly one kind.
fn auth(section: Section<'_, '_>, report: &mut Report<'_>) -> Option<Auth> {
    let (auth, span) = table(section, AUTH, report)?;
    let auth = Section { what: "`auth`", name: &span, table: auth };
    auth.refuse_unknown_keys(&[POSTGRES], report);
    let expected = Expected { key: POSTGRES, write: "a table with `user`, `password` and more" };
    if auth.get(POSTGRES).is_none() {
        report.add(&span, "`auth` names no kind", format!("write {}", AUTH.write));
        return None;
    }
    let (keys, span) = table(auth, expected, report)?;
    postgres(Section { what: "`postgres`", name: &span, table: keys }, report).map(Auth::Postgres)
}

fn table<'a, 't>(
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

fn postgres(section: Section<'_, '_>, report: &mut Report<'_>) -> Option<PostgresAuth> {
    let known = [USER.key, DATABASE.key, PASSWORD.key, METHODS.key];
    section.refuse_unknown_keys(&known, report);
    if section.get(USER.key).is_none() {
        let remedy = format!("add `user =` with {}", USER.write);
        report.add_missing(section.name, "`postgres` has no `user`", remedy);
    }
    let user = name(section, USER, report);
    let database = name(section, DATABASE, report);
    let password = password(section, report);
    let methods = methods(section, report);
    let user = user?;
    let database = database.unwrap_or_else(|| user.clone());
    Some(PostgresAuth { user, database, password, methods })
}

/// A name that is sent to the server: it ends with a NUL there.
fn name(section: Section<'_, '_>, expected: Expected, report: &mut Report<'_>) -> Option<String> {
    let (text, span) = section.string(expected, report)?;
    if text.is_empty() || text.len() > LONGEST_ROLE || text.contains('\0') {
        let message = format!("`{}` cannot be a name of the server", expected.key);
        let remedy = format!("write 1 to {LONGEST_ROLE} bytes without NUL");
        report.add(&span, message, remedy);
        return None;
    }
    Some(text.to_owned())
}

fn methods(section: Section<'_, '_>, report: &mut Report<'_>) -> Vec<PostgresMethod> {
    let Some(words) = section.strings(METHODS, report) else {
        return vec![PostgresMethod::ScramSha256];
    };
    let mut methods = Vec::new();
    for (word, span) in words {
        let found = PostgresMethod::ALL.into_iter().find(|method| method.name() == word);
        match found {
            Some(method) if methods.contains(&method) => {}
            Some(method) => methods.push(method),
            None => {
                let names = PostgresMethod::ALL.map(PostgresMethod::name);
                let remedy = suggest(word, names.into_iter(), "write one of");
                report.add(&span, format!("`methods` cannot have \"{word}\""), remedy);
            }
        }
    }
    methods
}

/// Returns where the password is kept. The policy's text is no place for it.
fn password(section: Section<'_, '_>, report: &mut Report<'_>) -> Option<Credential> {
    let (text, span) = section.string(PASSWORD, report)?;
    match text.split_once(':') {
        Some(("credential", name)) if is_credential(name) => {
            Some(Credential::Named(name.to_owned()))
        }
        Some(("file", path)) => {
            check_path(path, &span, report).then(|| Credential::File(path.to_owned()))
        }
        _ => {
            // Never the text itself: it may be the password.
            let message = "`password` does not say where the password is kept";
            report.add(&span, message, format!("write {}", PASSWORD.write));
            None
        }
    }
}

/// A file's name without a directory, see systemd.exec(5).
fn is_credential(name: &str) -> bool {
    let special = name == "." || name == "..";
    (1..=LONGEST_NAME).contains(&name.len()) && !special && !name.contains(['/', '\0'])
}
