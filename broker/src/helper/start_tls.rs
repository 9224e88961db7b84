//! What the protocols have in common whose servers are asked for TLS in plain text: what is refused before the
//! handshake.
//!
//! Somebody between can change all of it. So nothing of it counts afterwards, and the log-in never goes on without TLS.

use super::answer::{Failure, Step};
use super::stream::Stream;

/// Fails if something follows the server's answer: it would be taken for what the server says under encryption
/// (CVE-2011-0411, CVE-2021-23222).
///
/// # Errors
/// As it says.
pub(super) fn refuse_more(stream: &Stream<'_>) -> Result<(), Failure> {
    match stream.rest() {
        [] => Ok(()),
        _ => Err(failure(
            "somebody sends bytes before the handshake: the connection may be tampered with",
        )),
    }
}

/// Returns the failure of a server that does not say that it can do STARTTLS.
pub(super) fn not_offered() -> Failure {
    failure(
        "the server does not offer STARTTLS, or somebody between removes the offer: \
         check `start`, and STARTTLS of the server",
    )
}

/// Returns the failure of a server that refuses STARTTLS, as a log-in would tell it.
pub(super) fn refused(failure: Failure) -> Failure {
    Failure { step: Step::Tls, ..failure }
}

fn failure(text: &str) -> Failure {
    Failure::new(Step::Tls, text)
}
