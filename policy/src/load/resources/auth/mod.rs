//! Reads `auth`: how a connection is authenticated. Each kind has a file; what several kinds have is here.

mod postgres;

use toml::de::DeTable;

use super::path::check_path;
use crate::load::reader::{Expected, Section, wrong_type};
use crate::load::report::{Report, Span};
use crate::{Auth, Credential};

pub(super) const AUTH: Expected = Expected {
    key: "auth",
    write: "a table with one kind, such as { postgres = { user = \"…\" } }",
};
/// What stands behind the key of a kind.
const KIND: &str = "a table with `user`, `password` and more";
const PASSWORD: Expected = Expected {
    key: "password",
    write: "where the password is kept: \"credential:NAME\" or \"file:PATH\"",
};
/// The longest name of a credential.
const LONGEST_CREDENTIAL: usize = 253;
/// The longest name that is sent to a server, far above what servers allow.
const LONGEST_NAME: usize = 255;

/// Reads the table of one kind.
type Read = fn(Section<'_, '_>, &mut Report<'_>) -> Option<Auth>;

/// Each kind, by its key.
const KINDS: [(&str, Read); 1] =
    [("postgres", |section, report| postgres::read(section, report).map(Auth::Postgres))];

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
    let (keys, span) = table(auth, Expected { key, write: KIND }, report)?;
    read(Section { what: &format!("`{key}`"), name: &span, table: keys }, report)
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

/// A name that is sent to the server: it ends with a NUL there.
fn name(section: Section<'_, '_>, expected: Expected, report: &mut Report<'_>) -> Option<String> {
    let (text, span) = section.string(expected, report)?;
    if text.is_empty() || text.len() > LONGEST_NAME || text.contains('\0') {
        let message = format!("`{}` cannot be a name of the server", expected.key);
        let remedy = format!("write 1 to {LONGEST_NAME} bytes without NUL");
        report.add(&span, message, remedy);
        return None;
    }
    Some(text.to_owned())
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
    (1..=LONGEST_CREDENTIAL).contains(&name.len()) && !special && !name.contains(['/', '\0'])
}
