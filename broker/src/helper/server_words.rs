//! What a server says of a log-in that it refuses, as a failure repeats it: quoted, short, and without the password.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use fdbroker_types::quoted;

use super::answer::{Failure, Step};
use super::secret::Secret;

/// How much of a server's words is repeated, in bytes.
const SHOWN: usize = 200;

/// Returns the words between quotation marks, escaped and cut. The secrets are the password, and other forms of it.
///
/// # Errors
/// The failure to report instead, if the words contain the password.
pub(super) fn shown<'s>(
    words: &[u8],
    secrets: impl IntoIterator<Item = &'s Secret>,
) -> Result<String, Failure> {
    if secrets.into_iter().any(|secret| secret.is_in(words)) {
        let text =
            "the server refuses the log-in; its message contains the password and is not shown";
        return Err(Failure::new(Step::LogIn, text));
    }
    let shown = words.get(..SHOWN).unwrap_or(words);
    Ok(quoted(OsStr::from_bytes(shown)).to_string())
}

/// Returns the failure that these words of a server tell.
pub(super) fn refused<'s>(words: &[u8], secrets: impl IntoIterator<Item = &'s Secret>) -> Failure {
    match shown(words, secrets) {
        Ok(words) => Failure::new(Step::LogIn, format!("the server says {words}")),
        Err(failure) => failure,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_that_mislead_are_escaped_and_cut() {
        let words = [&b"no\x1b[2J \"x\"\xff"[..], &[b'x'; 4000]].concat();
        let text = refused(&words, None).text;
        assert!(text.starts_with(r#"the server says "no\u{1b}[2J \"x\"\xFFxx"#), "{text}");
        assert!(text.len() < 300, "{text}");
    }

    #[test]
    fn a_password_that_a_server_repeats_is_not_shown() {
        let secret = Secret::for_a_test(b"geheim");
        for words in [&b"geheim"[..], &[&[b'x'; 4000][..], b"geheim"].concat()] {
            let text = refused(words, Some(&secret)).text;
            assert!(text.ends_with("contains the password and is not shown"), "{text}");
        }
        let none = Secret::for_a_test(b"");
        assert_eq!(refused(b"no", Some(&none)).text, "the server says \"no\"");
    }
}
