//! Servers that lie, against the log-in.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};

use fdbroker_policy::{Auth, MysqlAuth, MysqlMethod};
use fdbroker_wire::Connection;

use crate::helper::server_words::HIDDEN;
use crate::helper::test_server::{Outcome, log_in_over, log_in_to_sender};

const PASSWORD: &[u8] = b"geheim";
const NONCE: &[u8; 20] = b"0123456789abcdefghij";
const SHA2: &str = "caching_sha2_password";
const NATIVE: &str = "mysql_native_password";
/// What `caching_sha2_password` and `mysql_native_password` prove the password with, to this nonce.
const SHA2_ANSWER: [u8; 32] = [
    154, 9, 154, 36, 247, 66, 94, 122, 216, 94, 183, 103, 19, 61, 168, 175, 231, 21, 200, 9, 193,
    169, 196, 86, 84, 28, 36, 215, 83, 184, 130, 163,
];
const NATIVE_ANSWER: [u8; 20] =
    [177, 6, 148, 143, 166, 123, 239, 214, 170, 236, 160, 0, 215, 205, 85, 119, 228, 172, 243, 170];
/// All capabilities but CLIENT_SSL and CLIENT_COMPRESS, which the broker does not ask for anyway.
const ALL: u32 = !0x820;
/// Those that the broker asks for: with a database.
const AGREED: u32 = 0xe_a20d;

fn auth(methods: &[MysqlMethod]) -> Auth {
    Auth::Mysql(MysqlAuth {
        user: "orders".to_owned(),
        database: Some("shop".to_owned()),
        password: None,
        methods: methods.to_vec(),
    })
}

/// What comes of a log-in to a server that sends these bytes and closes, and what it was sent.
fn told(methods: &[MysqlMethod], sent: &[u8]) -> (Outcome, Vec<u8>) {
    log_in_to_sender(&auth(methods), Some(PASSWORD), sent)
}

/// Why a log-in with every method fails.
fn refusal(sent: &[u8]) -> String {
    refusal_of(&MysqlMethod::ALL, sent)
}

fn refusal_of(methods: &[MysqlMethod], sent: &[u8]) -> String {
    let failure = told(methods, sent).0.unwrap_err();
    assert!(!failure.timed_out && !failure.text.contains("geheim"), "{failure:?}");
    failure.text
}

fn packet(number: u8, body: &[u8]) -> Vec<u8> {
    let [low, middle, high, _] = u32::try_from(body.len()).unwrap().to_le_bytes();
    [&[low, middle, high, number], body].concat()
}

fn greeting(method: &str, capabilities: u32) -> Vec<u8> {
    let [low, middle, high, highest] = capabilities.to_le_bytes();
    let body = [
        &b"\x0a10.11.6-MariaDB\0\x07\x01\0\0"[..],
        &NONCE[..8],
        &[0, low, middle, 45, 2, 0, high, highest, 21],
        &[0; 10],
        &NONCE[8..],
        b"\0",
        method.as_bytes(),
        b"\0",
    ];
    packet(0, &body.concat())
}

/// The greeting, and these packets after the response.
fn greeted(packets: &[&[u8]]) -> Vec<u8> {
    let mut sent = greeting(SHA2, ALL);
    // The numbers of the packets of a server that is not answered in between.
    for (number, body) in (2..).zip(packets) {
        sent.extend(packet(number, body));
    }
    sent
}

fn switch(method: &str, nonce: &[u8]) -> Vec<u8> {
    [b"\xfe", method.as_bytes(), b"\0", nonce].concat()
}

const OK: &[u8] = b"\0\0\0\x02\0\0\0";
const IS_CACHED: &[u8] = b"\x01\x03";
const IS_NOT_CACHED: &[u8] = b"\x01\x04";

/// The response to the greeting.
fn response(capabilities: u32, answer: &[u8], method: &str) -> Vec<u8> {
    let length = [u8::try_from(answer.len()).unwrap()];
    let body = [
        &capabilities.to_le_bytes()[..],
        &[0, 0, 0, 1, 45],
        &[0; 23],
        b"orders\0",
        &length,
        answer,
        b"shop\0",
        method.as_bytes(),
        b"\0",
    ];
    packet(1, &body.concat())
}

#[test]
fn a_session_has_what_the_server_reported_and_what_it_sent_early() {
    let sent = [greeted(&[OK]), b"early".to_vec()].concat();
    let (payload, received) = told(&[MysqlMethod::CachingSha2Password], &sent);
    let payload = payload.unwrap();
    let found: Vec<_> = Connection::parse(&payload).unwrap().fields().collect();
    let capabilities = AGREED.to_string();
    let expected: [(&str, &[u8]); 9] = [
        ("protocol", b"mysql"),
        ("user", b"orders"),
        ("database", b"shop"),
        ("parameter.server_version", b"10.11.6-MariaDB"),
        ("client.id", b"263"),
        ("capabilities", capabilities.as_bytes()),
        ("charset", b"45"),
        ("status", b"2"),
        ("early", b"early"),
    ];
    assert_eq!(found, expected);
    assert_eq!(received, response(AGREED, &SHA2_ANSWER, SHA2));
}

#[test]
fn a_server_that_has_the_user_in_its_cache_learns_no_password() {
    let (payload, received) = told(&[MysqlMethod::CachingSha2Password], &greeted(&[IS_CACHED, OK]));
    assert!(payload.is_ok());
    assert_eq!(received, response(AGREED, &SHA2_ANSWER, SHA2));
}

#[test]
fn the_password_itself_is_not_sent_where_others_could_read_it() {
    let sent = [greeted(&[IS_NOT_CACHED]), packet(4, OK)].concat();
    let (payload, received) = told(&[MysqlMethod::CachingSha2Password], &sent);
    assert!(payload.is_ok());
    let expected = [response(AGREED, &SHA2_ANSWER, SHA2), packet(3, b"geheim\0")].concat();
    assert_eq!(received, expected);

    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let socket = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (mut server, _) = listener.accept().unwrap();
    server.write_all(&sent).unwrap();
    let outcome = log_in_over(socket, &auth(&MysqlMethod::ALL), Some(PASSWORD));
    let said = outcome.unwrap_err().text;
    assert!(said.ends_with("itself: set `tls`, or connect by a Unix socket"), "{said}");
    let mut received = Vec::new();
    // A reset is as good as an end.
    let _ = server.read_to_end(&mut received);
    assert!(!received.windows(PASSWORD.len()).any(|part| part == PASSWORD));
}

#[test]
fn a_server_may_want_another_method_that_the_policy_allows() {
    let nonce = [NONCE, &b"\0"[..]].concat();
    let other = switch(NATIVE, &nonce);
    let sent = [greeted(&[&other]), packet(4, OK)].concat();
    let (payload, received) = told(&MysqlMethod::ALL, &sent);
    assert!(payload.is_ok());
    let answer = packet(3, &NATIVE_ANSWER);
    assert_eq!(received, [response(AGREED, &SHA2_ANSWER, SHA2), answer].concat());
    let said = refusal_of(&[MysqlMethod::CachingSha2Password], &sent);
    let expected = "the server asks for the method \"mysql_native_password\", \
                    which `methods` does not allow";
    assert_eq!(said, expected);
}

#[test]
fn the_method_of_the_greeting_is_used_where_it_is_allowed() {
    let sent = [greeting(NATIVE, ALL), packet(2, OK)].concat();
    let (payload, received) = told(&MysqlMethod::ALL, &sent);
    assert!(payload.is_ok());
    assert_eq!(received, response(AGREED, &NATIVE_ANSWER, NATIVE));
    let (payload, received) = told(&[MysqlMethod::CachingSha2Password], &sent);
    assert!(payload.is_ok());
    assert_eq!(received, response(AGREED, &SHA2_ANSWER, SHA2));
}

#[test]
fn without_a_method_the_server_is_told_nothing() {
    let (payload, received) = told(&[], &greeted(&[OK]));
    assert!(payload.is_ok());
    assert_eq!(received, response(AGREED, b"", SHA2));
    assert!(refusal_of(&[], &greeted(&[IS_NOT_CACHED])).contains("not valid"));
    let said = refusal_of(&[], &greeted(&[&switch(SHA2, NONCE)]));
    assert!(said.contains("which `methods` does not allow"), "{said}");
    let (_, received) = log_in_to_sender(&auth(&MysqlMethod::ALL), None, &greeted(&[OK]));
    assert_eq!(received, response(AGREED, b"", SHA2));
}

#[test]
fn a_method_that_is_not_known_is_named_escaped_and_short() {
    let said = refusal(&greeted(&[&switch("dialog\x1b[2J", b"")]));
    assert!(said.contains("the method \"dialog\\u{1b}[2J\", which"), "{said}");
    assert!(refusal(&greeted(&[&switch(&"x".repeat(4000), b"")])).len() < 300);
    let old = refusal(&greeted(&[b"\xfe"]));
    assert!(old.contains("the method \"mysql_old_password\", which"), "{old}");
}

#[test]
fn a_refusal_is_repeated_with_its_number() {
    let denied = b"\xff\x15\x04#28000Access denied for user 'orders'@'x'";
    let expected = "the server says 1045 (28000): \"Access denied for user 'orders'@'x'\"";
    assert_eq!(refusal(&greeted(&[denied])), expected);
    let full = packet(0, b"\xff\x10\x04Too many connections");
    assert_eq!(refusal(&full), "the server says 1040: \"Too many connections\"");
    let repeats = greeted(&[b"\xff\x15\x04#28000 geheim is wrong"]);
    assert!(refusal(&repeats).contains("contains the password"));
    // It was told the password.
    let denied = packet(4, b"\xff\x15\x04#28000wrong: MIEHEG");
    let said = refusal(&[greeted(&[IS_NOT_CACHED]), denied].concat());
    assert_eq!(said, format!("the server says 1045 (28000): \"…\" {HIDDEN}"));
}

#[test]
fn a_server_that_is_too_old_is_refused() {
    for capabilities in [ALL & !(1 << 9), ALL & !(1 << 15), ALL & !(1 << 19), 0] {
        let said = refusal(&greeting(SHA2, capabilities));
        assert!(said.contains("too old for a log-in by name"), "{said}");
    }
    let short = b"\x0a4.1.22\0\x07\0\0\x00abcdefgh\0\xff\xff";
    assert!(refusal(&packet(0, short)).contains("too old"));
    // It could not be told the database.
    assert!(refusal(&greeting(SHA2, ALL & !(1 << 3))).contains("greeting is not valid"));
}

#[test]
fn what_has_no_place_in_a_log_in_is_refused() {
    let other = switch(NATIVE, NONCE);
    for (sent, what) in [
        (packet(0, b""), "greeting"),
        (packet(0, b"\x09five"), "greeting"),
        (packet(1, b"\x0a"), "number of a packet"),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec(), "number of a packet"),
        (greeted(&[b""]), "authentication"),
        (greeted(&[b"\x02"]), "authentication"),
        (greeted(&[b"\0"]), "authentication"),
        (greeted(&[b"\0\xfb"]), "authentication"),
        (greeted(&[b"\x01"]), "authentication"),
        (greeted(&[b"\x01\x03\x03"]), "authentication"),
        (greeted(&[b"\x01\x05"]), "authentication"),
        (greeted(&[IS_CACHED, IS_CACHED]), "authentication"),
        (greeted(&[IS_CACHED, IS_NOT_CACHED]), "authentication"),
        (greeted(&[IS_CACHED, &other]), "authentication"),
        (greeted(&[&switch(NATIVE, b"short")]), "authentication"),
        (greeted(&[&switch(NATIVE, &[7; 22])]), "authentication"),
        ([greeted(&[&other]), packet(4, &other)].concat(), "authentication"),
        ([greeted(&[&other]), packet(4, IS_NOT_CACHED)].concat(), "authentication"),
        ([greeted(&[]), packet(3, OK)].concat(), "number of a packet"),
    ] {
        let said = refusal(&sent);
        let expected = format!("the server's {what} is not valid: is it MySQL?");
        assert!(said.starts_with(&expected), "{}: {said}", sent.escape_ascii());
    }
}

#[test]
fn a_length_that_lies_is_refused_before_anything_is_waited_for() {
    for head in [&b"\xff\xff\xff\0"[..], b"\0\0\x01\0"] {
        let said = refusal(head);
        assert!(said.contains("more than 65536 bytes before the log-in is over"), "{said}");
    }
    let flood = greeted(&[&[IS_CACHED, &[0; 60_000]].concat(), &[0; 60_000]]);
    assert!(refusal(&flood).contains("authentication is not valid"));
}

#[test]
fn a_password_with_a_nul_is_not_sent() {
    let (outcome, received) =
        log_in_to_sender(&auth(&MysqlMethod::ALL), Some(b"a\0b"), &greeted(&[IS_NOT_CACHED]));
    assert_eq!(outcome.unwrap_err().text, "the password contains a NUL byte");
    assert!(!received.windows(3).any(|part| part == b"a\0b"));
}

#[test]
fn a_server_that_closes_after_any_byte_ends_the_log_in() {
    let whole = greeted(&[IS_CACHED, OK]);
    for length in 0..whole.len() {
        let said = refusal(&whole[..length]);
        assert!(said.contains("closed the connection during the log-in"), "{length}: {said}");
    }
}

#[test]
fn garbage_at_any_byte_ends_the_log_in_or_changes_a_value() {
    let other = switch(NATIVE, NONCE);
    for whole in [greeted(&[IS_CACHED, OK]), [greeted(&[&other]), packet(4, OK)].concat()] {
        for at in 0..whole.len() {
            for value in [0, 1, 0x7f, 0x80, 0xfb, 0xfe, 0xff] {
                let mut sent = whole.clone();
                sent[at] = value;
                if let Ok(payload) = told(&MysqlMethod::ALL, &sent).0 {
                    assert!(Connection::parse(&payload).is_some(), "{at} {value}");
                }
            }
        }
    }
}
