//! Reads what several kinds of log-in have: names that are sent to a server, and where a password is kept.

use crate::Credential;
use crate::load::reader::{Expected, Section};
use crate::load::report::Report;
use crate::load::resources::credential;

/// Who logs in.
pub(super) const USER: Expected = Expected { key: "user", write: "the user's name in quotes" };
pub(super) const PASSWORD: Expected = Expected {
    key: "password",
    write: "where the password is kept: \"credential:NAME\" or \"file:PATH\"",
};
/// The longest name that is sent to a server, far above what servers allow.
const LONGEST_NAME: usize = 255;

/// A name that is sent to the server: it ends with a NUL there.
pub(super) fn name(
    section: Section<'_, '_>,
    expected: Expected,
    report: &mut Report<'_>,
) -> Option<String> {
    let (text, span) = section.string(expected, report)?;
    if text.is_empty() || text.len() > LONGEST_NAME || text.contains('\0') {
        let message = format!("`{}` cannot be a name of the server", expected.key);
        let remedy = format!("write 1 to {LONGEST_NAME} bytes without NUL");
        report.add(&span, message, remedy);
        return None;
    }
    Some(text.to_owned())
}

/// Returns where the password is kept.
pub(super) fn password(section: Section<'_, '_>, report: &mut Report<'_>) -> Option<Credential> {
    credential::read(section, PASSWORD, report)
}
