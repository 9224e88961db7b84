//! What a server says of a log-in that it refuses.

use crate::helper::answer::{Failure, Step};
use crate::helper::server_words::{Told, is_sqlstate, shown, word};

/// How much of the session an error ends.
const SEVERITIES: [&[u8]; 3] = [b"ERROR", b"FATAL", b"PANIC"];

/// Returns the failure that an ErrorResponse tells: severity, code and message, quoted.
pub(super) fn failure(body: &[u8], told: Told<'_>) -> Failure {
    text(body, told).map_or_else(|failure| failure, |text| Failure::new(Step::LogIn, text))
}

fn text(body: &[u8], told: Told<'_>) -> Result<String, Failure> {
    let field = |kind: u8| {
        let mut fields = body.split(|byte| *byte == 0).filter_map(<[u8]>::split_first);
        fields.find(|(found, _)| **found == kind).map(|(_, value)| value).unwrap_or_default()
    };
    let severity = Some(field(b'V')).filter(|it| !it.is_empty()).unwrap_or(field(b'S'));
    let severity = word(severity, SEVERITIES.contains(&severity), told)?;
    let code = word(field(b'C'), is_sqlstate(field(b'C')), told)?;
    Ok(format!("the server says {severity} {code}: {}", shown(field(b'M'), b"", told)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::helper::secret::Secret;
    use crate::helper::test_server::forms;

    fn said(body: &[u8]) -> String {
        failure(body, Told::Proof(Some(&Secret::for_a_test(b"hunter2")))).text
    }

    #[test]
    fn a_server_that_was_told_the_password_is_quoted_with_its_code() {
        let told = |body: &str| failure(body.as_bytes(), Told::Password).text;
        for form in forms() {
            let said = told(&format!("SFATAL\0VFATAL\0C28P01\0M{form}\0\0"));
            assert!(said.starts_with("the server says FATAL 28P01: \"…\" (the text"), "{said}");
            let said = told(&format!("S{form}\0C{form}\0M{form}\0\0"));
            assert!(said.starts_with("the server says … …: \"…\" (the text"), "{said}");
        }
    }

    #[test]
    fn a_refusal_is_repeated_with_its_code() {
        let body = b"SFATAL\0VFATAL\0C28P01\0Mpassword authentication failed for user \"x\"\0\0";
        assert_eq!(
            said(body),
            r#"the server says FATAL 28P01: "password authentication failed for user \"x\"""#
        );
    }

    #[test]
    fn a_refusal_that_is_none_misleads_nobody() {
        assert_eq!(said(b""), "the server says  : \"\"");
        let long = [&b"M\n\x1b[2J\xff"[..], &[b'x'; 60_000]].concat();
        let text = said(&long);
        assert!(text.starts_with(r#"the server says  : "\n\u{1b}[2J\xFFxxx"#) && text.len() < 300);
    }

    #[test]
    fn a_password_that_the_server_repeats_is_not_shown() {
        assert!(!said(b"C28000\0Myour password hunter2 is wrong\0\0").contains("hunter2"));
    }
}
