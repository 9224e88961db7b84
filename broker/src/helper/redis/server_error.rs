//! What a server says of a log-in that it refuses.

use crate::helper::answer::Failure;
use crate::helper::server_words::{self, Told};

/// The first words of errors that a log-in meets, by which Redis tells them apart.
const CODES: [&[u8]; 10] = [
    b"BUSY",
    b"DENIED",
    b"ERR",
    b"LOADING",
    b"MASTERDOWN",
    b"MISCONF",
    b"NOAUTH",
    b"NOPERM",
    b"NOPROTO",
    b"WRONGPASS",
];
/// Errors that are known word by word: there is nothing else in them.
const KNOWN: [&[u8]; 6] = [
    b"ERR Client sent AUTH, but no password is set",
    b"ERR DB index is out of range",
    b"ERR invalid password",
    b"ERR max number of clients reached",
    b"NOAUTH Authentication required.",
    b"WRONGPASS invalid username-password pair or user is disabled.",
];

/// Returns the failure that an error tells.
pub(super) fn refused(words: &[u8], told: Told<'_>) -> Failure {
    server_words::refused(words, code(words), told)
}

fn code(words: &[u8]) -> &[u8] {
    if KNOWN.contains(&words) {
        return words;
    }
    let first = words.split(|byte| *byte == b' ').next().unwrap_or_default();
    if CODES.contains(&first) { first } else { b"" }
}
