//! What a server says that no step expects.

use crate::helper::answer::{Failure, Step};
use crate::helper::server_words::{Told, shown};

/// The length of the number with which many servers begin a line.
const NUMBER: usize = 3;
/// How other servers begin a line that refuses something.
const CODES: [&[u8]; 11] = [
    b"-DENIED",
    b"-ERR",
    b"-NOAUTH",
    b"-NOPERM",
    b"-WRONGPASS",
    b"BAD",
    b"BYE",
    b"ERR",
    b"ERROR",
    b"FAIL",
    b"NO",
];

/// Returns the failure that tells it.
pub(super) fn unexpected(words: &[u8], told: Told<'_>) -> Failure {
    match shown(words, code(words), told) {
        Ok(words) => {
            Failure::new(Step::LogIn, format!("the server says {words}, which is not expected"))
        }
        Err(failure) => failure,
    }
}

/// Returns the number or the known word with which the last line begins.
fn code(words: &[u8]) -> &[u8] {
    let line = words.rsplit(|byte| *byte == b'\n').next().unwrap_or_default();
    let number = line.split(|byte| b" -".contains(byte)).next().unwrap_or_default();
    if number.len() == NUMBER && number.iter().all(u8::is_ascii_digit) {
        return number;
    }
    let word = line.split(u8::is_ascii_whitespace).next().unwrap_or_default();
    if CODES.contains(&word) { word } else { b"" }
}
