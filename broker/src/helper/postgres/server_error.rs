//! What a server says of a log-in that it refuses.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use fdbroker_types::quoted;

use crate::helper::answer::{Failure, Step};
use crate::helper::secret::Secret;

/// How much of the server's message is repeated, in bytes.
const SHOWN: usize = 200;

/// Returns the failure that an ErrorResponse tells: severity, code and message, quoted.
pub(super) fn failure(body: &[u8], secret: Option<&Secret>) -> Failure {
    let field = |kind: u8| {
        let mut fields = body.split(|byte| *byte == 0).filter_map(<[u8]>::split_first);
        fields.find(|(found, _)| **found == kind).map(|(_, value)| value).unwrap_or_default()
    };
    let severity = Some(field(b'V')).filter(|it| !it.is_empty()).unwrap_or(field(b'S'));
    let parts = [severity, field(b'C'), field(b'M')];
    if secret.is_some_and(|secret| parts.iter().any(|part| secret.is_in(part))) {
        let text =
            "the server refuses the log-in; its message contains the password and is not shown";
        return Failure::new(Step::LogIn, text);
    }
    let [severity, code, message] = parts.map(|part| {
        let shown = part.get(..SHOWN).unwrap_or(part);
        quoted(OsStr::from_bytes(shown)).to_string()
    });
    let word = |quoted: &str| quoted.trim_matches('"').to_owned();
    let text = format!("the server says {} {}: {message}", word(&severity), word(&code));
    Failure::new(Step::LogIn, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(body: &[u8]) -> String {
        failure(body, Some(&Secret::for_a_test(b"hunter2"))).text
    }

    #[test]
    fn a_refusal_is_repeated_with_its_code() {
        let body = b"SFATAL\0VFATAL\0C28P01\0Mpassword authentication failed for user \"x\"\0\0";
        assert_eq!(
            text(body),
            r#"the server says FATAL 28P01: "password authentication failed for user \"x\"""#
        );
    }

    #[test]
    fn a_refusal_that_is_none_misleads_nobody() {
        assert_eq!(text(b""), "the server says  : \"\"");
        let long = [&b"M\n\x1b[2J\xff"[..], &[b'x'; 60_000]].concat();
        let text = text(&long);
        assert!(text.starts_with(r#"the server says  : "\n\u{1b}[2J\xFFxxx"#) && text.len() < 300);
    }

    #[test]
    fn a_password_that_the_server_repeats_is_not_shown() {
        assert!(!text(b"C28000\0Myour password hunter2 is wrong\0\0").contains("hunter2"));
    }
}
