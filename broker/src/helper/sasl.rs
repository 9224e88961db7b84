//! PLAIN (RFC 4616) and LOGIN, by which mail servers are told a user and a password.

use zeroize::Zeroizing;

use super::answer::{Failure, Step};
use super::secret::Secret;

/// How the password is sent: with either it can be read by the server and on its way.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Method {
    Plain,
    Login,
}

/// Returns the password that there must be.
///
/// # Errors
/// If there is none, or it cannot be sent.
pub(super) fn password(secret: Option<&Secret>) -> Result<&Secret, Failure> {
    let text = match secret {
        Some(secret) if !secret.bytes().contains(&0) => return Ok(secret),
        Some(_) => "the password contains a NUL byte",
        None => "the policy names no password: add `password`",
    };
    Err(Failure::new(Step::LogIn, text))
}

/// Returns a method that stands in this list, with spaces between, PLAIN rather than LOGIN.
///
/// # Errors
/// If neither does.
pub(super) fn chosen(offered: &[u8]) -> Result<Method, Failure> {
    let is_offered = |name: &[u8]| {
        offered.split(|byte| *byte == b' ').any(|offered| offered.eq_ignore_ascii_case(name))
    };
    if is_offered(b"PLAIN") {
        Ok(Method::Plain)
    } else if is_offered(b"LOGIN") {
        Ok(Method::Login)
    } else {
        let text = "the server offers no log-in by PLAIN or LOGIN; it may want TLS first";
        Err(Failure::new(Step::LogIn, text))
    }
}

/// Returns the message of PLAIN, encoded.
pub(super) fn plain(user: &str, password: &Secret) -> Secret {
    Secret::base64(&[b"\0", user.as_bytes(), b"\0", password.bytes()])
}

/// Returns the two messages of LOGIN, encoded.
pub(super) fn login(user: &str, password: &Secret) -> [Secret; 2] {
    [Secret::base64(&[user.as_bytes()]), Secret::base64(&[password.bytes()])]
}

/// Returns the line with this at its end.
pub(super) fn line(before: &[u8], encoded: &Secret) -> Zeroizing<Vec<u8>> {
    Zeroizing::new([before, encoded.bytes(), b"\r\n"].concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_is_the_message_of_rfc_4616() {
        let encoded = plain("tim", &Secret::for_a_test(b"tanstaaftanstaaf"));
        assert_eq!(encoded.bytes(), b"AHRpbQB0YW5zdGFhZnRhbnN0YWFm");
    }

    #[test]
    fn plain_is_chosen_rather_than_login() {
        assert_eq!(chosen(b"CRAM-MD5 LOGIN PLAIN"), Ok(Method::Plain));
        assert_eq!(chosen(b"login"), Ok(Method::Login));
        for offered in [&b""[..], b"CRAM-MD5", b"PLAIN-CLIENTTOKEN", b"XLOGIN"] {
            assert!(chosen(offered).unwrap_err().text.contains("may want TLS first"));
        }
    }

    #[test]
    fn a_password_must_be_there_and_without_a_nul() {
        assert!(password(None).err().unwrap().text.contains("add `password`"));
        let nul = Secret::for_a_test(b"a\0b");
        assert!(password(Some(&nul)).err().unwrap().text.contains("NUL byte"));
    }
}
