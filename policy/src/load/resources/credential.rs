//! Reads where a secret is kept. The policy's text is no place for it.

use super::path::check_path;
use crate::Credential;
use crate::load::reader::{Expected, Section};
use crate::load::report::Report;

/// The longest name of a credential.
const LONGEST_CREDENTIAL: usize = 253;

/// Returns where the secret of a key is kept.
pub(super) fn read(
    section: Section<'_, '_>,
    expected: Expected,
    report: &mut Report<'_>,
) -> Option<Credential> {
    let (text, span) = section.string(expected, report)?;
    match text.split_once(':') {
        Some(("credential", name)) if is_credential(name) => {
            Some(Credential::Named(name.to_owned()))
        }
        Some(("file", path)) => {
            check_path(path, &span, report).then(|| Credential::File(path.to_owned()))
        }
        _ => {
            // Never the text itself: it may be the secret.
            let key = expected.key;
            let message = format!("`{key}` does not say where the {} is kept", noun(key));
            report.add(&span, message, format!("write {}", expected.write));
            None
        }
    }
}

/// What is kept there: the last word of the key.
fn noun(key: &str) -> &str {
    key.rsplit('_').next().unwrap_or(key)
}

/// A file's name without a directory, see systemd.exec(5).
fn is_credential(name: &str) -> bool {
    let special = name == "." || name == "..";
    (1..=LONGEST_CREDENTIAL).contains(&name.len()) && !special && !name.contains(['/', '\0'])
}
