//! How TLS begins with a mail server that is asked for it: STARTTLS (RFC 3207).

use fdbroker_policy::SmtpAuth;

use super::reply::{READY, Reply};
use super::session::Session;
use crate::helper::answer::Failure;
use crate::helper::server_words::Told;
use crate::helper::start_tls::{not_offered, refuse_more, refused};
use crate::helper::stream::Stream;

/// The keyword of the offer, and the command.
const STARTTLS: &str = "starttls";

/// Asks for TLS. The server greets but once, and its offer counts for nothing afterwards.
///
/// # Errors
/// If the server does not offer it, refuses it, or sends more than its answer.
pub(crate) fn start_tls(stream: &mut Stream<'_>, auth: &SmtpAuth) -> Result<(), Failure> {
    let offered = Session::begin(stream, auth)?;
    if offered.extension(STARTTLS).is_none() {
        return Err(not_offered());
    }
    stream.send(b"STARTTLS\r\n")?;
    let answer = Reply::take(stream).map_err(refused)?;
    answer.expect(READY, stream, Told::Proof(None)).map_err(refused)?;
    refuse_more(stream)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::helper::answer::Step;
    use crate::helper::test_server::ask_a_sender;

    const OFFER: &str = "220 ready\r\n250-mail.example.net\r\n250-AUTH PLAIN\r\n250 starttls\r\n";

    /// What a server that sends this is asked.
    fn asked(sent: &str) -> (Result<(), Failure>, String) {
        let auth =
            SmtpAuth { user: "user".to_owned(), password: None, client_name: "shop".to_owned() };
        let (outcome, asked) = ask_a_sender(sent.as_bytes(), |stream| start_tls(stream, &auth));
        (outcome, String::from_utf8(asked).unwrap())
    }

    #[test]
    fn a_server_that_offers_starttls_is_asked_for_it() {
        let (outcome, asked) = asked(&format!("{OFFER}220-go\r\n220 ahead\r\n"));
        assert_eq!(outcome, Ok(()));
        assert_eq!(asked, "EHLO shop\r\nSTARTTLS\r\n");
    }

    #[test]
    fn a_server_without_starttls_is_asked_nothing_more() {
        for offer in ["250 x", "250-x\r\n250 AUTH PLAIN STARTTLS", "250-x\r\n250 XSTARTTLS"] {
            let (outcome, asked) = asked(&format!("220 ready\r\n{offer}\r\n220 go\r\n"));
            let Failure { step, text, .. } = outcome.unwrap_err();
            assert!(step == Step::Tls && text.contains("does not offer STARTTLS"), "{text}");
            assert_eq!(asked, "EHLO shop\r\n");
        }
    }

    #[test]
    fn a_server_that_refuses_or_lies_gets_no_handshake() {
        for (answer, step, expected) in [
            ("454 not now\r\n", Step::Tls, "the server says \"454 not now\""),
            ("250 go\r\n", Step::Tls, "the server says \"250 go\""),
            ("220 go\r\n250 x\r\n", Step::Tls, "somebody sends bytes before the handshake"),
            ("220 go\r\n2", Step::Tls, "somebody sends bytes before the handshake"),
            ("go\r\n", Step::Tls, "is it SMTP?"),
            ("220 go", Step::Tls, "the server closed the connection"),
        ] {
            let failure = asked(&format!("{OFFER}{answer}")).0.unwrap_err();
            assert!(failure.step == step && failure.text.contains(expected), "{failure:?}");
        }
    }
}
