//! What a server says of a log-in that it refuses, as a failure repeats it: quoted, short, and without the password.
//!
//! A server that was told the password can repeat it in any form: encoded, in capitals, in part. So its own text is
//! not shown then. What is shown is a code, which each protocol knows: a number, or one of a few fixed words.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use fdbroker_types::quoted;

use super::answer::{Failure, Step};
use super::secret::Secret;

/// How much of a server's words is repeated, in bytes.
const SHOWN: usize = 200;
/// The length of an SQLSTATE.
const SQLSTATE: usize = 5;
/// What is told instead of the text.
pub(super) const HIDDEN: &str = "(the text is not shown: the server knows the password)";

/// What a server has been told so far.
#[derive(Clone, Copy)]
pub(super) enum Told<'s> {
    /// Nothing, or what proves that the broker knows this password.
    Proof(Option<&'s Secret>),
    /// The password itself, encoded or not.
    Password,
}

impl<'s> Told<'s> {
    pub(super) fn new(secret: Option<&'s Secret>, is_told: bool) -> Self {
        if is_told { Self::Password } else { Self::Proof(secret) }
    }
}

/// Returns the words between quotation marks, escaped and cut. From a server that was told the password, returns only
/// the code with which the words begin.
///
/// # Errors
/// The failure to report instead, if the words contain the password.
pub(super) fn shown(words: &[u8], code: &[u8], told: Told<'_>) -> Result<String, Failure> {
    match told {
        Told::Password if words != code => {
            let separator = if code.is_empty() { "" } else { " " };
            let code = quoted(OsStr::from_bytes(code)).to_string();
            Ok(format!("\"{}{separator}…\" {HIDDEN}", code.trim_matches('"')))
        }
        Told::Proof(Some(secret)) if secret.is_in(words) => {
            let text =
                "the server refuses the log-in; its message contains the password and is not shown";
            Err(Failure::new(Step::LogIn, text))
        }
        _ => {
            let shown = words.get(..SHOWN).unwrap_or(words);
            Ok(quoted(OsStr::from_bytes(shown)).to_string())
        }
    }
}

/// Returns a word without quotation marks. From a server that was told the password, it must be a known one.
///
/// # Errors
/// As [`shown`].
pub(super) fn word(word: &[u8], is_known: bool, told: Told<'_>) -> Result<String, Failure> {
    match told {
        Told::Password if !is_known && !word.is_empty() => Ok("…".to_owned()),
        _ => shown(word, word, told).map(|word| word.trim_matches('"').to_owned()),
    }
}

/// Returns the failure that these words of a server tell.
pub(super) fn refused(words: &[u8], code: &[u8], told: Told<'_>) -> Failure {
    match shown(words, code, told) {
        Ok(words) => Failure::new(Step::LogIn, format!("the server says {words}")),
        Err(failure) => failure,
    }
}

/// Returns whether it has the form of an SQLSTATE, which has no room for more.
pub(super) fn is_sqlstate(word: &[u8]) -> bool {
    let is_allowed = |byte: &u8| byte.is_ascii_digit() || byte.is_ascii_uppercase();
    word.len() == SQLSTATE && word.iter().all(is_allowed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::helper::test_server::forms;

    #[test]
    fn words_that_mislead_are_escaped_and_cut() {
        let words = [&b"no\x1b[2J \"x\"\xff"[..], &[b'x'; 4000]].concat();
        let text = refused(&words, b"", Told::Proof(None)).text;
        assert!(text.starts_with(r#"the server says "no\u{1b}[2J \"x\"\xFFxx"#), "{text}");
        assert!(text.len() < 300, "{text}");
    }

    #[test]
    fn a_password_that_a_server_repeats_is_not_shown() {
        let secret = Secret::for_a_test(b"geheim");
        for words in [&b"geheim"[..], &[&[b'x'; 4000][..], b"geheim"].concat()] {
            let text = refused(words, b"", Told::Proof(Some(&secret))).text;
            assert!(text.ends_with("contains the password and is not shown"), "{text}");
        }
        let none = Secret::for_a_test(b"");
        let said = refused(b"no", b"", Told::Proof(Some(&none))).text;
        assert_eq!(said, "the server says \"no\"");
    }

    #[test]
    fn a_server_that_was_told_the_password_is_quoted_with_its_code_alone() {
        for form in forms() {
            let words = format!("535 {form}");
            let said = refused(words.as_bytes(), b"535", Told::Password).text;
            assert_eq!(said, format!("the server says \"535 …\" {HIDDEN}"));
            let said = refused(form.as_bytes(), b"", Told::Password).text;
            assert_eq!(said, format!("the server says \"…\" {HIDDEN}"));
            assert_eq!(word(form.as_bytes(), false, Told::Password), Ok("…".to_owned()));
        }
        assert_eq!(refused(b"NO", b"NO", Told::Password).text, "the server says \"NO\"");
        assert_eq!(word(b"FATAL", true, Told::Password), Ok("FATAL".to_owned()));
    }
}
