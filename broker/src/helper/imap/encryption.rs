//! How TLS begins with a mailbox that is asked for it: STARTTLS (RFC 9051, 6.2.1).

use super::response::{begin, capabilities, done, has};
use crate::helper::answer::Failure;
use crate::helper::server_words::Told;
use crate::helper::start_tls::{not_offered, refuse_more, refused};
use crate::helper::stream::Stream;

/// The tags of the commands, others than those of the log-in: no answer is taken for that of another.
const OFFER: &str = "s1";
const START: &str = "s2";

/// Asks for TLS. The server greets but once, and what it says that it can do counts for nothing afterwards.
///
/// # Errors
/// If the server does not offer it, refuses it, has logged somebody in already, or sends more than its answer.
pub(crate) fn start_tls(stream: &mut Stream<'_>) -> Result<(), Failure> {
    begin(stream)?;
    let offered = capabilities(stream, OFFER, Told::Proof(None))?;
    if !has(&offered, b"STARTTLS") {
        return Err(not_offered());
    }
    stream.send(format!("{START} STARTTLS\r\n").as_bytes())?;
    done(stream, START, Told::Proof(None)).map_err(refused)?;
    refuse_more(stream)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::helper::answer::Step;
    use crate::helper::test_server::ask_a_sender;

    const OFFER: &str =
        "* OK ready\r\n* CAPABILITY IMAP4rev1 starttls LOGINDISABLED\r\ns1 OK done\r\n";

    /// What a server that sends this is asked.
    fn asked(sent: &str) -> (Result<(), Failure>, String) {
        let (outcome, asked) = ask_a_sender(sent.as_bytes(), start_tls);
        (outcome, String::from_utf8(asked).unwrap())
    }

    #[test]
    fn a_mailbox_that_offers_starttls_is_asked_for_it() {
        let (outcome, asked) = asked(&format!("{OFFER}* 1 EXISTS\r\ns2 OK go\r\n"));
        assert_eq!(outcome, Ok(()));
        assert_eq!(asked, "s1 CAPABILITY\r\ns2 STARTTLS\r\n");
    }

    #[test]
    fn a_mailbox_without_starttls_is_asked_nothing_more() {
        let offer = "* OK ready\r\n* CAPABILITY IMAP4rev1 XSTARTTLS\r\ns1 OK done\r\ns2 OK go\r\n";
        let (outcome, asked) = asked(offer);
        let Failure { step, text, .. } = outcome.unwrap_err();
        assert!(step == Step::Tls && text.contains("does not offer STARTTLS"), "{text}");
        assert_eq!(asked, "s1 CAPABILITY\r\n");
    }

    #[test]
    fn a_mailbox_that_refuses_or_lies_gets_no_handshake() {
        for (answer, step, expected) in [
            ("s2 NO not now\r\n", Step::Tls, "the server says \"NO not now\""),
            ("s2 BAD what?\r\n", Step::Tls, "the server says \"BAD what?\""),
            ("* BYE\r\n", Step::Tls, "the server says \"BYE\""),
            ("s2 OK go\r\n* OK\r\n", Step::Tls, "somebody sends bytes before the handshake"),
            ("s2 OK go\r\nf", Step::Tls, "somebody sends bytes before the handshake"),
            ("f2 OK go\r\n", Step::Tls, "is it IMAP?"),
        ] {
            let failure = asked(&format!("{OFFER}{answer}")).0.unwrap_err();
            assert!(failure.step == step && failure.text.contains(expected), "{failure:?}");
        }
        let failure = asked("* PREAUTH hello\r\n").0.unwrap_err();
        assert!(failure.text.contains("(PREAUTH)"), "{failure:?}");
    }
}
