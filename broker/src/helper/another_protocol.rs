//! Servers that speak something else than the policy says: what a failure tells of that.
//!
//! A server that was told the password is not quoted. So what is told is the name of a protocol, or, of a server that was
//! told nothing at all, its own words.

use super::answer::Failure;
use super::spoken::{Spoken, words};
use super::stream::Stream;

/// The kind of log-in that can be one to any server.
const SCRIPT: &str = "script";

/// Returns the failure of a log-in of this kind, with what the server speaks instead.
pub(super) fn instead(failure: Failure, kind: &str, stream: &Stream<'_>) -> Failure {
    let first = stream.received();
    let other = Spoken::of(first).filter(|spoken| match kind {
        SCRIPT => *spoken == Spoken::Tls,
        kind => spoken.kind() != Some(kind),
    });
    let is_at_a_loss = stream.has_failed() || failure.text.ends_with('?');
    let told = match other {
        Some(spoken) => spoken.told().to_owned(),
        None if !is_at_a_loss || stream.has_sent() && !first.is_empty() => return failure,
        None if is_text(first) => format!("it has sent {}", words(first)),
        None if !first.is_empty() => return failure,
        None if stream.is_encrypted() || stream.is_local() => return failure,
        None => "it has sent nothing, as a server does that waits for TLS, or for another protocol"
            .to_owned(),
    };
    Failure { text: format!("{}; {told}", failure.text), ..failure }
}

fn is_text(first: &[u8]) -> bool {
    first.first().is_some_and(|byte| byte.is_ascii_graphic())
}
