//! Servers that lie, against the log-in.

use fdbroker_policy::{Auth, ImapAuth};
use fdbroker_wire::Connection;

use crate::helper::server_words::HIDDEN;
use crate::helper::test_server::{Outcome, forms, log_in_to_sender};

const GREETING: &[u8] = b"* OK [CAPABILITY IMAP4rev1] ready\r\n";
const OFFER: &[u8] = b"* CAPABILITY IMAP4rev1 AUTH=PLAIN\r\nf1 OK done\r\n";
const ACCEPTED: &[u8] = b"+ \r\n* 3 EXISTS\r\nf2 OK logged in\r\n";
const AFTER: &[u8] = b"* CAPABILITY IMAP4rev1 IDLE\r\nf3 OK done\r\n";
/// The message of PLAIN.
const PLAIN: &str = "AHVzZXIAZ2VoZWlt";

/// What comes of a log-in to a server that sends these bytes and closes, and what it was sent.
fn told(sent: &[u8]) -> (Outcome, String) {
    let auth = Auth::Imap(ImapAuth { user: "user".to_owned(), password: None });
    let (outcome, received) = log_in_to_sender(&auth, Some(b"geheim"), sent);
    (outcome, String::from_utf8(received).unwrap())
}

/// Why a log-in fails.
fn refusal(sent: &[u8]) -> String {
    let failure = told(sent).0.unwrap_err();
    let is_secret = ["geheim", PLAIN].iter().any(|it| failure.text.contains(it));
    assert!(!failure.timed_out && !is_secret, "{failure:?}");
    failure.text
}

#[test]
fn a_session_has_what_the_server_can_do_and_what_it_sent_early() {
    let (payload, received) =
        told(&[GREETING, OFFER, ACCEPTED, AFTER, b"* BYE early\r\n"].concat());
    let expected =
        format!("f1 CAPABILITY\r\nf2 AUTHENTICATE PLAIN\r\n{PLAIN}\r\nf3 CAPABILITY\r\n");
    assert_eq!(received, expected);
    let payload = payload.unwrap();
    let found: Vec<_> = Connection::parse(&payload).unwrap().fields().collect();
    let expected: [(&str, &[u8]); 4] = [
        ("protocol", b"imap"),
        ("user", b"user"),
        ("parameter.capability", b"IMAP4rev1 IDLE"),
        ("early", b"* BYE early\r\n"),
    ];
    assert_eq!(found, expected);
}

#[test]
fn login_is_used_where_plain_is_not_offered() {
    let offer = b"* capability IMAP4rev1\r\nf1 ok done\r\n";
    let accepted = b"+ ready\r\n+ ready\r\nf2 OK logged in\r\n";
    let (payload, received) = told(&[GREETING, offer, accepted, AFTER].concat());
    assert!(payload.is_ok());
    let expected = "f1 CAPABILITY\r\nf2 LOGIN {4}\r\nuser {6}\r\ngeheim\r\nf3 CAPABILITY\r\n";
    assert_eq!(received, expected);
}

#[test]
fn without_a_method_the_password_is_not_sent() {
    let offer = b"* CAPABILITY IMAP4rev1 STARTTLS LOGINDISABLED\r\nf1 OK done\r\n";
    let (payload, received) = told(&[GREETING, offer, ACCEPTED].concat());
    let said = payload.unwrap_err().text;
    assert!(said.ends_with("offers no log-in by PLAIN or LOGIN; it may want TLS first"), "{said}");
    assert_eq!(received, "f1 CAPABILITY\r\n");
}

#[test]
fn a_refusal_is_repeated_escaped_short_and_without_the_password() {
    for (sent, expected) in [
        (b"* BYE busy\x1b[2J\r\n".to_vec(), r#""BYE busy\u{1b}[2J""#),
        ([GREETING, b"f1 BAD what?\r\n"].concat(), r#""BAD what?""#),
        ([GREETING, OFFER, b"f2 NO unknown\r\n"].concat(), r#""NO unknown""#),
        ([GREETING, OFFER, b"* BYE go\r\n"].concat(), r#""BYE go""#),
    ] {
        assert_eq!(refusal(&sent), format!("the server says {expected}"));
    }
    for form in forms() {
        for (line, code) in [
            (format!("f2 NO {form}\r\n"), "NO "),
            (format!("f2 NO [AUTHENTICATIONFAILED] {form}\r\n"), "NO [AUTHENTICATIONFAILED] "),
            (format!("f2 NO [{form}] no\r\n"), "NO "),
            (format!("f2 {form}\r\n"), ""),
            (format!("* BYE {form}\r\n"), "BYE "),
            // Also later.
            (format!("f2 OK\r\nf3 BAD {form}\r\n"), "BAD "),
        ] {
            let said = refusal(&[GREETING, OFFER, b"+ \r\n", line.as_bytes()].concat());
            assert_eq!(said, format!("the server says \"{code}…\" {HIDDEN}"));
        }
    }
    let long = [&b"* BYE "[..], &[b'x'; 4000], b"\r\n"].concat();
    assert!(refusal(&long).len() < 300);
    assert!(refusal(b"* PREAUTH hello\r\n").contains("(PREAUTH)"));
}

#[test]
fn what_is_no_response_is_refused() {
    for sent in [
        &b"220 mail\r\n"[..],
        b"* NO\r\n",
        b"*OK\r\n",
        b"+ OK\r\n",
        &[b'x'; 9000],
        &[GREETING, b"f1 OK done\r\n"].concat(),
        &[GREETING, b"f2 OK done\r\n"].concat(),
        &[GREETING, b"f1OK done\r\n"].concat(),
        &[GREETING, b"+ more\r\n"].concat(),
        &[GREETING, OFFER, b"f1 OK done\r\n"].concat(),
        &[GREETING, OFFER, b"+ \r\n+ \r\n"].concat(),
        &[GREETING, OFFER, ACCEPTED, b"f3 OK done\r\n"].concat(),
    ] {
        let said = refusal(sent);
        assert!(said.contains("not valid: is it IMAP?"), "{}: {said}", sent.escape_ascii());
    }
    // It was not asked for the password.
    let early = refusal(&[GREETING, OFFER, b"f2 OK done\r\n"].concat());
    assert_eq!(early, "the server says \"OK done\"");
}

#[test]
fn a_server_that_floods_is_cut_off() {
    let flood = [GREETING, &b"* 1 EXISTS\r\n".repeat(20_000)].concat();
    assert!(refusal(&flood).contains("more than 65536 bytes before the log-in is over"));
}

#[test]
fn a_server_that_closes_after_any_byte_ends_the_log_in() {
    let whole = [GREETING, OFFER, ACCEPTED, AFTER].concat();
    for length in 0..whole.len() {
        let said = refusal(&whole[..length]);
        assert!(said.contains("closed the connection during the log-in"), "{length}: {said}");
    }
}

#[test]
fn garbage_at_any_byte_ends_the_log_in_or_changes_a_value() {
    let whole = [GREETING, OFFER, ACCEPTED, AFTER].concat();
    for at in 0..whole.len() {
        for value in [0, b'\r', b'*', b' ', b'+', 0xff] {
            let mut sent = whole.clone();
            sent[at] = value;
            if let Ok(payload) = told(&sent).0 {
                assert!(Connection::parse(&payload).is_some(), "{at} {value}");
            }
        }
    }
}
