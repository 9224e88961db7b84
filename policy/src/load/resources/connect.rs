//! Reads the keys of resources that are connections: `connect`, `source` and their times.

use std::net::IpAddr;

use super::host_port::host_port;
use super::path::check_path;
use super::{auth, lease, ready, tls};
use crate::load::amount::duration;
use crate::load::reader::{Expected, Section};
use crate::load::report::{Report, Span};
use crate::{ConnectSource, Opening, ServerAddress, Source};

pub(super) const CONNECT: Expected =
    Expected { key: "connect", write: "\"tcp:HOST:PORT\" or \"unix:PATH\", or a list of these" };
const SOURCE: Expected =
    Expected { key: "source", write: "a local IP address in quotes, such as \"192.0.2.7\"" };
/// A key of every kind.
const OPEN: &str = "open";
const CONNECT_TIMEOUT: &str = "connect_timeout";
const KEEP_ALIVE: &str = "keep_alive";
const USER_TIMEOUT: &str = "user_timeout";

/// The keys that only a connection has, beside the one that names it.
pub(super) const KEYS: [&str; 12] = {
    let [ready, max_age] = ready::KEYS;
    let [holders, wait, ttl, revocable] = lease::KEYS;
    [
        SOURCE.key,
        CONNECT_TIMEOUT,
        KEEP_ALIVE,
        USER_TIMEOUT,
        tls::TLS.key,
        auth::AUTH.key,
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
    let tls = section.get(tls::TLS.key).map(|_| tls::read(section, report));
    let auth = match section.get(auth::AUTH.key) {
        Some(_) => Some(auth::read(section, report)?),
        None => None,
    };
    let addresses = addresses?;
    tls::refuse_where_it_cannot_be(section, &addresses, auth.as_ref(), report);
    let tls = match tls {
        Some(read) => Some(Box::new(read?)),
        None => None,
    };
    let connect =
        ConnectSource { addresses, source, connect_timeout, keep_alive, user_timeout, tls, auth };
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
        Some(("tcp", rest)) => {
            host_port(rest).map(|(host, port)| ServerAddress::Tcp { host, port })
        }
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
