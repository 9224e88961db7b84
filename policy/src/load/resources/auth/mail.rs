//! Reads `smtp` and `imap`: the log-in to mail servers.

use super::names::{PASSWORD, USER, name, password};
use crate::load::reader::{Expected, Section};
use crate::load::report::Report;
use crate::{ImapAuth, SmtpAuth};

const CLIENT_NAME: Expected =
    Expected { key: "client_name", write: "the name of this machine in quotes" };
/// What a client without a name calls itself.
const DEFAULT_NAME: &str = "localhost";
/// The longest name of a host (RFC 1035).
const LONGEST_NAME: usize = 253;

pub(super) fn smtp(section: Section<'_, '_>, report: &mut Report<'_>) -> Option<SmtpAuth> {
    section.refuse_unknown_keys(&[USER.key, PASSWORD.key, CLIENT_NAME.key], report);
    require(section, report);
    let user = name(section, USER, report);
    let password = password(section, report);
    let client_name = client_name(section, report);
    Some(SmtpAuth { user: user?, password: Some(password?), client_name: client_name? })
}

pub(super) fn imap(section: Section<'_, '_>, report: &mut Report<'_>) -> Option<ImapAuth> {
    section.refuse_unknown_keys(&[USER.key, PASSWORD.key], report);
    require(section, report);
    let user = name(section, USER, report);
    let password = password(section, report);
    Some(ImapAuth { user: user?, password: Some(password?) })
}

fn require(section: Section<'_, '_>, report: &mut Report<'_>) {
    for missing in [USER, PASSWORD].into_iter().filter(|key| section.get(key.key).is_none()) {
        let message = format!("{} has no `{}`", section.what, missing.key);
        let remedy = format!("add `{} =` with {}", missing.key, missing.write);
        report.add_missing(section.name, message, remedy);
    }
}

/// Returns the name of EHLO, which is a word of its line.
fn client_name(section: Section<'_, '_>, report: &mut Report<'_>) -> Option<String> {
    let Some((text, span)) = section.string(CLIENT_NAME, report) else {
        return Some(DEFAULT_NAME.to_owned());
    };
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-._:[]".contains(&byte);
    if (1..=LONGEST_NAME).contains(&text.len()) && text.bytes().all(is_allowed) {
        return Some(text.to_owned());
    }
    let remedy = "write a name of a host, or an address in brackets";
    report.add(&span, "`client_name` cannot be the name of a mail client", remedy);
    None
}
