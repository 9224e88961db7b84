//! How TLS begins with a MySQL server: after its greeting, by the beginning of a response (SSLRequest).

use fdbroker_policy::MysqlAuth;

use super::capabilities::{TLS, agreed};
use super::greeting::Greeting;
use super::packet::{Packets, malformed};
use super::response;
use crate::helper::answer::{Failure, Step};
use crate::helper::start_tls::refuse_more;
use crate::helper::stream::Stream;

/// Asks for TLS. The greeting stays in the stream, for the log-in.
///
/// The request has the flags of the response that follows: MariaDB takes those of the first packet for good, and
/// would drop the database.
///
/// # Errors
/// If the server does not offer it, or sends more than its greeting.
pub(crate) fn ask_for_tls(stream: &mut Stream<'_>, auth: &MysqlAuth) -> Result<(), Failure> {
    let mut packets = Packets::new(stream);
    let greeting = packets.take()?;
    let greeting = Greeting::of(packets.bytes(greeting), None)?;
    if greeting.capabilities & TLS == 0 {
        let text =
            "the server does not offer TLS: set `ssl_cert` and `ssl_key` there, or remove `tls`";
        return Err(Failure::new(Step::Tls, text));
    }
    refuse_more(packets.stream())?;
    let capabilities = agreed(greeting.capabilities, auth.database.is_some())
        .ok_or_else(|| malformed("greeting"))?;
    packets.send(&response::beginning(capabilities | TLS))
}

#[cfg(test)]
mod tests {
    use fdbroker_policy::MysqlMethod;

    use super::*;
    use crate::helper::test_server::ask_a_sender;

    const CAPABILITIES: u16 = 0x8200;

    /// A greeting with these capabilities.
    fn greeting(capabilities: u16) -> Vec<u8> {
        let [low, high] = capabilities.to_le_bytes();
        let body = [
            &b"\x0a8.0.36\0\x07\0\0\x0001234567\0"[..],
            &[low, high, 45, 2, 0, 8, 0, 21],
            &[0; 10],
            b"89abcdefghij\0caching_sha2_password\0",
        ];
        let body = body.concat();
        [&[u8::try_from(body.len()).unwrap(), 0, 0, 0], &body[..]].concat()
    }

    /// What a server that sends these bytes is asked.
    fn asked(sent: &[u8], database: Option<&str>) -> Result<Vec<u8>, Failure> {
        let (user, methods) = ("orders".to_owned(), MysqlMethod::ALL.to_vec());
        let database = database.map(str::to_owned);
        let auth = MysqlAuth { user, database, password: None, methods };
        let (outcome, asked) = ask_a_sender(sent, |stream| ask_for_tls(stream, &auth));
        outcome.map(|()| asked)
    }

    #[test]
    fn a_server_that_offers_tls_is_asked_for_it() {
        let expected =
            |low| [&b"\x20\0\0\x01"[..], &[low], b"\x8a\x08\0\0\0\0\x01\x2d", &[0; 23]].concat();
        let offers = greeting(CAPABILITIES | 0x0808);
        assert_eq!(asked(&offers, None).unwrap(), expected(0));
        assert_eq!(asked(&offers, Some("shop")).unwrap(), expected(8), "the flags of the response");
    }

    #[test]
    fn a_server_without_tls_or_with_bytes_before_it_is_refused() {
        let offers = greeting(CAPABILITIES | 0x0800);
        for (sent, expected) in [
            (greeting(CAPABILITIES), "the server does not offer TLS"),
            ([&offers[..], b"\x16"].concat(), "bytes before the handshake"),
            (b"\x03\0\0\0\xff\x10\x04".to_vec(), "the server says 1040: \"\""),
            (b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec(), "is it MySQL?"),
        ] {
            let text = asked(&sent, None).unwrap_err().text;
            assert!(text.contains(expected), "{text}");
        }
    }
}
