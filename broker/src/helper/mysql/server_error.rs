//! What a server says of a log-in that it refuses (ERR_Packet).

use super::reader::Reader;
use crate::helper::answer::{Failure, Step};
use crate::helper::server_words::{Told, is_sqlstate, shown, word};

/// The first byte of such a packet.
pub(super) const ERROR: u8 = 0xff;

/// Returns the failure that the rest of the packet tells: number, state and message, quoted.
pub(super) fn failure(body: &[u8], told: Told<'_>) -> Failure {
    text(body, told).map_or_else(|failure| failure, |text| Failure::new(Step::LogIn, text))
}

fn text(body: &[u8], told: Told<'_>) -> Result<String, Failure> {
    let mut body = Reader(body);
    let number = body.array().map(u16::from_le_bytes).unwrap_or_default();
    // A server that refuses the connection at once sends no state.
    let state = match body.0.strip_prefix(b"#").and_then(<[u8]>::split_first_chunk::<5>) {
        Some((state, message)) => {
            body.0 = message;
            format!(" ({})", word(state, is_sqlstate(state), told)?)
        }
        None => String::new(),
    };
    Ok(format!("the server says {number}{state}: {}", shown(body.0, b"", told)?))
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
    fn a_server_that_was_told_the_password_is_quoted_with_number_and_state() {
        let told = |body: &[u8]| failure(body, Told::Password).text;
        for form in forms() {
            let said = told(format!("\x15\x04#28000{form}").as_bytes());
            assert!(said.starts_with("the server says 1045 (28000): \"…\" (the text"), "{said}");
            let said = told(format!("\x10\x04{form}").as_bytes());
            assert!(said.starts_with("the server says 1040: \"…\" (the text"), "{said}");
        }
        assert!(told(b"\x15\x04#gehei").starts_with("the server says 1045 (…): \"\""));
    }

    #[test]
    fn a_refusal_is_repeated_with_its_number_and_state() {
        let said_so = said(b"\x15\x04#28000Access denied for user 'x'@'y' (using password: YES)");
        let expected = "the server says 1045 (28000): \
                        \"Access denied for user 'x'@'y' (using password: YES)\"";
        assert_eq!(said_so, expected);
        let early = said(b"\x10\x04Too many connections");
        assert_eq!(early, "the server says 1040: \"Too many connections\"");
    }

    #[test]
    fn a_refusal_that_is_none_misleads_nobody() {
        assert_eq!(said(b""), "the server says 0: \"\"");
        assert_eq!(said(b"\x01\0#\x1b[2\n\"x"), "the server says 1 (\\u{1b}[2\\n\\): \"x\"");
        assert!(said(&[b'x'; 60_000]).len() < 300);
    }

    #[test]
    fn a_password_that_the_server_repeats_is_not_shown() {
        assert!(!said(b"\x15\x04#28000your password hunter2 is wrong").contains("hunter2"));
    }
}
