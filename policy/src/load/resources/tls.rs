//! Reads `tls`: how a connection is encrypted.

use super::auth::table;
use super::credential;
use super::path::check_path;
use crate::load::reader::{Expected, Section};
use crate::load::report::Report;
use crate::{Auth, ClientCertificate, ServerAddress, Tls, TlsMode, TlsStart};

pub(super) const TLS: Expected =
    Expected { key: "tls", write: "a table, such as { ca = \"/etc/ssl/ca.pem\" }" };
const MODE: Expected = Expected { key: "mode", write: "\"verify-full\" or \"verify-ca\"" };
const START: Expected = Expected { key: "start", write: "\"implicit\" or \"starttls\"" };
const CA: Expected = Expected {
    key: "ca",
    write: "the path of the file with the certificates of those who may sign the server's",
};
const CERTIFICATE: Expected =
    Expected { key: "client_certificate", write: "the path of the file with the certificate" };
const KEY: Expected = Expected {
    key: "client_key",
    write: "where the key is kept: \"credential:NAME\" or \"file:PATH\"",
};

const KERNEL: &str = "kernel";

/// Returns how the connection is encrypted.
pub(super) fn read(section: Section<'_, '_>, report: &mut Report<'_>) -> Option<Tls> {
    let (keys, span) = table(section, TLS, report)?;
    let section = Section { what: "`tls`", name: &span, table: keys };
    let known = [MODE.key, START.key, CA.key, CERTIFICATE.key, KEY.key, KERNEL];
    section.refuse_unknown_keys(&known, report);
    if section.get(CA.key).is_none() {
        let remedy = format!("add `ca =` with {}", CA.write);
        report.add_missing(section.name, "`tls` has no `ca`", remedy);
    }
    let modes = TlsMode::ALL.map(|mode| (mode.name(), mode));
    let mode = section.word(MODE, &modes, report).unwrap_or_default();
    let starts = TlsStart::ALL.map(|start| (start.name(), start));
    let start = section.word(START, &starts, report).unwrap_or_default();
    let ca = path(section, CA, report);
    let client = client(section, report);
    let kernel = section.boolean(KERNEL, report).unwrap_or_default();
    Some(Tls { mode, start, ca: ca?, client, kernel })
}

fn path(section: Section<'_, '_>, expected: Expected, report: &mut Report<'_>) -> Option<String> {
    let (text, span) = section.string(expected, report)?;
    check_path(text, &span, report).then(|| text.to_owned())
}

/// A certificate without its key proves nothing, and neither does a key without its certificate.
fn client(section: Section<'_, '_>, report: &mut Report<'_>) -> Option<ClientCertificate> {
    let (there, missing) = match (section.get(CERTIFICATE.key), section.get(KEY.key)) {
        (None, None) => return None,
        (Some(_), None) => (CERTIFICATE, KEY),
        (None, Some(_)) => (KEY, CERTIFICATE),
        (Some(_), Some(_)) => {
            let chain = path(section, CERTIFICATE, report);
            let key = credential::read(section, KEY, report);
            return Some(ClientCertificate { chain: chain?, key: key? });
        }
    };
    let message = format!("`tls` has `{}` and no `{}`", there.key, missing.key);
    let remedy = format!("add `{}`, or remove `{}`", missing.key, there.key);
    report.add_missing(section.name, message, remedy);
    None
}

/// Reports a connection that cannot be encrypted.
pub(super) fn refuse_where_it_cannot_be(
    section: Section<'_, '_>,
    addresses: &[ServerAddress],
    auth: Option<&Auth>,
    report: &mut Report<'_>,
) {
    let Some(span) = section.key_span(TLS.key) else { return };
    if addresses.iter().any(|address| matches!(address, ServerAddress::Unix(_))) {
        let message = "`tls` is not for a Unix socket";
        report.add(&span, message, "remove it, or connect by \"tcp:HOST:PORT\" only");
    }
    if let Some(auth) = auth.filter(|auth| !auth.takes_tls()) {
        let message = format!("`tls` is not for `{}`", auth.name());
        report.add(&span, message, "remove it: a connection of this kind cannot be encrypted here");
        return;
    }
    refuse_start(section, auth, report);
}

/// Reports `start` where the protocol knows one beginning alone.
fn refuse_start(section: Section<'_, '_>, auth: Option<&Auth>, report: &mut Report<'_>) {
    let keys = section.get(TLS.key).and_then(|value| value.get_ref().as_table());
    let given = keys.and_then(|keys| keys.get_key_value(START.key));
    let Some((key, _)) = given.filter(|_| !auth.is_some_and(Auth::has_start_tls)) else { return };
    let (whose, remedy) = match auth {
        Some(auth @ (Auth::Postgres(_) | Auth::Mysql(_))) => {
            (format!("`{}`", auth.name()), "remove it: the server is asked for TLS in any case")
        }
        Some(auth) => (format!("`{}`", auth.name()), "remove it: TLS begins with the first byte"),
        None => {
            ("a connection without `auth`".to_owned(), "remove it: TLS begins with the first byte")
        }
    };
    report.add(&key.span(), format!("`start` is not for {whose}"), remedy);
}
