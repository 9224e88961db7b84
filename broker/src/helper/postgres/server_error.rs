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
    let said = format!("the server says {severity} {code}: {}", shown(field(b'M'), b"", told)?);
    Ok(cure(field(b'C')).map_or(said.clone(), |cure| format!("{said}; {cure}")))
}

/// What to do about a refusal with this SQLSTATE.
fn cure(code: &[u8]) -> Option<&'static str> {
    match code {
        b"28P01" => Some(
            "correct `user`, the password in its file, or the role's on the server; a changed `credential:` counts \
             after a restart of the unit",
        ),
        b"28000" => Some(
            "see whether the role may log in, and what pg_hba.conf of the server demands of it: TLS, or a certificate",
        ),
        b"3D000" => Some("correct `database`, or create it on the server"),
        b"53300" => Some(
            "raise `max_connections` of the server or of the role, or lower `holders` and `ready`, which add up there",
        ),
        _ => None,
    }
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
            format!(
                r#"the server says FATAL 28P01: "password authentication failed for user \"x\""; {}"#,
                cure(b"28P01").unwrap()
            )
        );
    }

    #[test]
    fn what_can_be_cured_is_said_by_the_code() {
        let told = |code: &str| said(format!("VFATAL\0C{code}\0Mno\0\0").as_bytes());
        for (code, named) in [
            ("28P01", "`user`"),
            ("28000", "pg_hba.conf"),
            ("3D000", "`database`"),
            ("53300", "`max_connections`"),
        ] {
            let said = told(code);
            assert!(said.starts_with(&format!("the server says FATAL {code}: \"no\"; ")), "{said}");
            assert!(said.contains(named), "{said}");
        }
        assert_eq!(told("57P03"), "the server says FATAL 57P03: \"no\"");
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
