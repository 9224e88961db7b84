//! Reads `protocol`: what the payload is to call what the broker knows nothing of.

use crate::load::reader::{Expected, Section};
use crate::load::report::Report;

pub(super) const PROTOCOL: Expected = Expected {
    key: "protocol",
    write: "what the payload is to call the protocol, such as \"pop3\"",
};
const LONGEST: usize = 32;
/// What the payload of a connection without a log-in has.
const BARE: [&str; 2] = ["tcp", "unix"];

/// Returns the protocol, `own` if the key is not there. Where these are all kinds of log-in, it is not to be taken for
/// one of the others.
pub(super) fn protocol(
    section: Section<'_, '_>,
    own: &str,
    kinds: &[&str],
    report: &mut Report<'_>,
) -> String {
    named(section, own, kinds, report).unwrap_or_else(|| own.to_owned())
}

fn named(
    section: Section<'_, '_>,
    own: &str,
    kinds: &[&str],
    report: &mut Report<'_>,
) -> Option<String> {
    let (text, span) = section.string(PROTOCOL, report)?;
    let is_plain = text.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-'));
    let remedy = if text.is_empty() || text.len() > LONGEST || !is_plain {
        format!("write 1 to {LONGEST} small letters, digits and `-`")
    } else if text != own && (kinds.contains(&text) || BARE.contains(&text)) {
        "write another name: this one stands for what the broker itself knows".to_owned()
    } else {
        return Some(text.to_owned());
    };
    report.add(&span, "`protocol` cannot be this", remedy);
    None
}
