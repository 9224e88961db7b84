//! Servers that lie, against the log-in.

use fdbroker_policy::{Auth, SmtpAuth};
use fdbroker_wire::Connection;

use crate::helper::server_words::HIDDEN;
use crate::helper::test_server::{Outcome, forms, log_in_to_sender};

const GREETING: &[u8] = b"220-mail.example.net\r\n220 ready\r\n";
const OFFER: &[u8] = b"250-mail.example.net hello\r\n250-SIZE 10240000\r\n250-AUTH LOGIN PLAIN\r\n\
    250 8BITMIME\r\n";
const ACCEPTED: &[u8] = b"235 2.7.0 accepted\r\n";
/// `geheim`, and the message of PLAIN with it.
const ENCODED: &str = "Z2VoZWlt";
const PLAIN: &str = "AHVzZXIAZ2VoZWlt";

/// What comes of a log-in to a server that sends these bytes and closes, and what it was sent.
fn told(sent: &[u8]) -> (Outcome, String) {
    let auth = Auth::Smtp(SmtpAuth {
        user: "user".to_owned(),
        password: None,
        client_name: "shop".to_owned(),
    });
    let (outcome, received) = log_in_to_sender(&auth, Some(b"geheim"), sent);
    (outcome, String::from_utf8(received).unwrap())
}

/// Why a log-in fails.
fn refusal(sent: &[u8]) -> String {
    let failure = told(sent).0.unwrap_err();
    let is_secret = ["geheim", ENCODED, PLAIN].iter().any(|it| failure.text.contains(it));
    assert!(!failure.timed_out && !is_secret, "{failure:?}");
    failure.text
}

#[test]
fn a_session_has_what_the_server_offers_and_what_it_sent_early() {
    let (payload, received) = told(&[GREETING, OFFER, ACCEPTED, b"421 early"].concat());
    assert_eq!(received, format!("EHLO shop\r\nAUTH PLAIN {PLAIN}\r\n"));
    let payload = payload.unwrap();
    let found: Vec<_> = Connection::parse(&payload).unwrap().fields().collect();
    let expected: [(&str, &[u8]); 6] = [
        ("protocol", b"smtp"),
        ("user", b"user"),
        ("parameter.8bitmime", b""),
        ("parameter.auth", b"LOGIN PLAIN"),
        ("parameter.size", b"10240000"),
        ("early", b"421 early"),
    ];
    assert_eq!(found, expected);
}

#[test]
fn login_is_used_where_plain_is_not_offered() {
    let offer = b"250-x\r\n250 auth login\r\n";
    let more = b"334 VXNlcm5hbWU6\r\n334 UGFzc3dvcmQ6\r\n";
    let (payload, received) = told(&[GREETING, offer, more, ACCEPTED].concat());
    assert!(payload.is_ok());
    assert_eq!(received, format!("EHLO shop\r\nAUTH LOGIN\r\ndXNlcg==\r\n{ENCODED}\r\n"));
}

#[test]
fn without_a_method_the_password_is_not_sent() {
    for offer in [&b"250 x\r\n"[..], b"250-x\r\n250-STARTTLS\r\n250 AUTH CRAM-MD5\r\n"] {
        let (payload, received) = told(&[GREETING, offer, ACCEPTED].concat());
        let said = payload.unwrap_err().text;
        assert!(said.ends_with("offers no log-in by PLAIN or LOGIN; it may want TLS first"));
        assert_eq!(received, "EHLO shop\r\n");
    }
}

#[test]
fn a_refusal_is_repeated_escaped_short_and_without_the_password() {
    let denied = [GREETING, OFFER, b"535-5.7.8 no\r\n535 5.7.8 wrong\x1b[2J\r\n"].concat();
    assert_eq!(refusal(&denied), format!("the server says \"535 5.7.8 …\" {HIDDEN}"));
    let sent = b"554 go away\x1b[2J\r\n";
    assert_eq!(refusal(sent), r#"the server says "554 go away\u{1b}[2J""#);
    let early = [GREETING, b"502 no EHLO\r\n"].concat();
    assert_eq!(refusal(&early), r#"the server says "502 no EHLO""#);
    let offers = [(OFFER, ""), (b"250-x\r\n250 AUTH LOGIN\r\n", "334 a\r\n334 b\r\n")];
    for form in forms() {
        for (offer, before) in offers {
            let denied = format!("{before}535 {form}\r\n");
            let said = refusal(&[GREETING, offer, denied.as_bytes()].concat());
            assert_eq!(said, format!("the server says \"535 …\" {HIDDEN}"));
        }
    }
    for status in ["5.7", "5.7.8.9", "5.77.8", "5.7.8888", "5.7.x", "..", "geheim.7.8"] {
        let denied = format!("535 {status} no\r\n");
        let said = refusal(&[GREETING, OFFER, denied.as_bytes()].concat());
        assert_eq!(said, format!("the server says \"535 …\" {HIDDEN}"));
    }
    let long = [&b"554 "[..], &[b'x'; 4000], b"\r\n"].concat();
    assert!(refusal(&long).len() < 300);
}

#[test]
fn what_is_no_reply_is_refused() {
    for sent in [
        &b"* OK IMAP\r\n"[..],
        b"22\r\n",
        b"2200\r\n",
        b"220x\r\n",
        b"120 x\r\n",
        b"+20 x\r\n",
        b"220-x\r\n221 y\r\n",
        b"220-x\r\n\r\n",
        &[b'x'; 5000],
        &[GREETING, b"250-x\r\n250  a\r\n"].concat(),
        &[GREETING, b"250-x\r\n250 a\xff b\r\n"].concat(),
        &[GREETING, b"250-x\r\n250 ", &[b'a'; 65], b"\r\n"].concat(),
    ] {
        let said = refusal(sent);
        let sent = sent.escape_ascii();
        assert!(said.contains("not valid: is it SMTP?"), "{sent}: {said}");
    }
}

#[test]
fn a_server_that_floods_is_cut_off() {
    let flood = b"220-x\r\n".repeat(20_000);
    assert!(refusal(&flood).contains("more than 65536 bytes before the log-in is over"));
}

#[test]
fn a_server_that_closes_after_any_byte_ends_the_log_in() {
    let whole = [GREETING, OFFER, ACCEPTED].concat();
    for length in 0..whole.len() {
        let said = refusal(&whole[..length]);
        assert!(said.contains("closed the connection during the log-in"), "{length}: {said}");
    }
}

#[test]
fn garbage_at_any_byte_ends_the_log_in_or_changes_a_value() {
    let whole = [GREETING, OFFER, ACCEPTED].concat();
    for at in 0..whole.len() {
        for value in [0, b'\r', b'-', b' ', b'9', 0xff] {
            let mut sent = whole.clone();
            sent[at] = value;
            if let Ok(payload) = told(&sent).0 {
                assert!(Connection::parse(&payload).is_some(), "{at} {value}");
            }
        }
    }
}
