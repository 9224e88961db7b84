//! How TLS begins with a PostgreSQL server: SSLRequest, and an answer of one byte.

use crate::helper::answer::{Failure, Step};
use crate::helper::start_tls::refuse_more;
use crate::helper::stream::Stream;

/// The length, which counts itself, and the number of the request.
const SSL_REQUEST: [u8; 8] = *b"\0\0\0\x08\x04\xd2\x16\x2f";

/// Asks for TLS.
///
/// # Errors
/// If the server does not offer it, or sends more than its answer.
pub(crate) fn ask_for_tls(stream: &mut Stream<'_>) -> Result<(), Failure> {
    stream.send(&SSL_REQUEST)?;
    let answer = stream.take(1)?;
    let text = match stream.bytes(answer) {
        b"S" => return refuse_more(stream),
        b"N" => "the server does not offer TLS: set `ssl = on` there, or remove `tls`",
        _ => "the answer to the request for TLS is not valid; is it PostgreSQL?",
    };
    Err(Failure::new(Step::Tls, text))
}
