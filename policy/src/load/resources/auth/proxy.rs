//! Reads `socks5`, and what `http-proxy` shares with it: the log-in to a proxy.

use super::names::{PASSWORD, USER, name, password};
use crate::load::reader::{Expected, Section};
use crate::load::report::Report;
use crate::load::resources::host_port::host_port;
use crate::{ProxyAuth, ProxyTarget};

const TARGET: Expected = Expected {
    key: "target",
    write: "\"HOST:PORT\" of the server behind the proxy, an IPv6 address in brackets",
};

pub(super) fn read(section: Section<'_, '_>, report: &mut Report<'_>) -> Option<ProxyAuth> {
    section.refuse_unknown_keys(&[TARGET.key, USER.key, PASSWORD.key], report);
    refuse_half(section, report);
    let target = target(section, report);
    let user = name(section, USER, report);
    let password = password(section, report);
    Some(ProxyAuth { target: target?, user, password })
}

fn target(section: Section<'_, '_>, report: &mut Report<'_>) -> Option<ProxyTarget> {
    if section.get(TARGET.key).is_none() {
        let remedy = format!("add `target =` with {}", TARGET.write);
        report.add_missing(section.name, format!("{} has no `target`", section.what), remedy);
    }
    let (text, span) = section.string(TARGET, report)?;
    let found = host_port(text).map(|(host, port)| ProxyTarget { host, port });
    if found.is_none() {
        // Never the text itself: a URL may hold a password.
        report.add(
            &span,
            "`target` is not the address of a server",
            format!("write {}", TARGET.write),
        );
    }
    found
}

/// A user without a password is nobody to a proxy, and a password without a user is nobody's.
fn refuse_half(section: Section<'_, '_>, report: &mut Report<'_>) {
    let (there, missing) = match (section.get(USER.key), section.get(PASSWORD.key)) {
        (Some(_), None) => (USER, PASSWORD),
        (None, Some(_)) => (PASSWORD, USER),
        _ => return,
    };
    let message = format!("{} has `{}` and no `{}`", section.what, there.key, missing.key);
    let remedy = format!("add `{}`, or remove `{}`", missing.key, there.key);
    report.add_missing(section.name, message, remedy);
}
