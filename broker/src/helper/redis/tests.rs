//! Servers that lie, against the log-in.

use fdbroker_policy::{Auth, RedisAuth};
use fdbroker_wire::Connection;

use crate::helper::server_words::HIDDEN;
use crate::helper::test_server::{Outcome, forms, log_in_to_sender};

const HELLO: &[u8] = b"%7\r\n$6\r\nserver\r\n$5\r\nredis\r\n$7\r\nversion\r\n$5\r\n7.0.1\r\n\
    $5\r\nproto\r\n:3\r\n$2\r\nid\r\n:12\r\n$4\r\nmode\r\n$10\r\nstandalone\r\n\
    $4\r\nrole\r\n$6\r\nmaster\r\n$7\r\nmodules\r\n*1\r\n%1\r\n+name\r\n*0\r\n";
const UNKNOWN: &[u8] = b"-ERR unknown command `HELLO`\r\n";

/// What comes of a log-in to a server that sends these bytes and closes, and what it was asked.
fn asked(user: Option<&str>, sent: &[u8]) -> (Outcome, String) {
    let auth = Auth::Redis(RedisAuth {
        user: user.map(str::to_owned),
        password: None,
        database: 4,
        client_name: Some("shop".to_owned()),
    });
    let (outcome, asked) = log_in_to_sender(&auth, Some(b"geheim"), sent);
    (outcome, String::from_utf8(asked).unwrap())
}

/// Why a log-in fails.
fn refusal(sent: &[u8]) -> String {
    let failure = asked(None, sent).0.unwrap_err();
    assert!(!failure.timed_out && !failure.text.contains("geheim"), "{failure:?}");
    failure.text
}

#[test]
fn a_session_has_what_the_server_reported_and_what_it_sent_early() {
    let (payload, asked) = asked(Some("orders"), &[HELLO, b"+OK\r\n", b">early"].concat());
    let payload = payload.unwrap();
    let found: Vec<_> = Connection::parse(&payload).unwrap().fields().skip(1).collect();
    let expected: [(&str, &[u8]); 9] = [
        ("user", b"orders"),
        ("database", b"4"),
        ("client.id", b"12"),
        ("parameter.mode", b"standalone"),
        ("parameter.proto", b"3"),
        ("parameter.role", b"master"),
        ("parameter.server", b"redis"),
        ("parameter.version", b"7.0.1"),
        ("early", b">early"),
    ];
    assert_eq!(found, expected);
    let hello = "*7\r\n$5\r\nHELLO\r\n$1\r\n3\r\n$4\r\nAUTH\r\n$6\r\norders\r\n$6\r\ngeheim\r\n\
                 $7\r\nSETNAME\r\n$4\r\nshop\r\n";
    assert_eq!(asked, format!("{hello}*2\r\n$6\r\nSELECT\r\n$1\r\n4\r\n"));
}

#[test]
fn a_server_without_hello_is_asked_one_by_one() {
    let sent = [UNKNOWN, b"+OK\r\n+OK\r\n+PONG\r\n+OK\r\n"].concat();
    let (payload, asked) = asked(None, &sent);
    let payload = payload.unwrap();
    let connection = Connection::parse(&payload).unwrap();
    assert_eq!(connection.parameter("proto"), Some("2"));
    assert_eq!(connection.text("user"), Some("default"));
    assert!(asked.contains("*2\r\n$4\r\nAUTH\r\n$6\r\ngeheim\r\n"), "{asked}");
}

#[test]
fn a_user_is_not_left_out_for_an_old_server() {
    let (result, asked) = asked(Some("orders"), UNKNOWN);
    assert!(result.unwrap_err().text.contains("has no users (Redis before 6.0)"));
    assert_eq!(asked.matches("geheim").count(), 1);
}

#[test]
fn a_server_that_closes_after_any_byte_ends_the_log_in() {
    let whole = [HELLO, b"+OK\r\n"].concat();
    for length in 0..whole.len() {
        let said = refusal(&whole[..length]);
        assert!(said.contains("closed the connection during the log-in"), "{length}: {said}");
    }
}

#[test]
fn garbage_at_any_byte_ends_the_log_in_or_changes_a_value() {
    let whole = [HELLO, b"+OK\r\n"].concat();
    for at in 0..whole.len() {
        for value in [0, b'\r', b'9', b'-', b'*', 0xff] {
            let mut sent = whole.clone();
            sent[at] = value;
            if let Ok(payload) = asked(None, &sent).0 {
                assert!(Connection::parse(&payload).is_some(), "{at} {value}");
            }
        }
    }
}

#[test]
fn lengths_and_numbers_that_lie_are_bounded() {
    let deep = b"*1\r\n".repeat(20_000);
    for (sent, expected) in [
        (&b"%1\r\n$99999999999\r\n"[..], "more than 65536 bytes"),
        (b"%1\r\n$99999999999999999999999\r\n", "not valid"),
        (b"%-1\r\n", "not valid"),
        (b"*14\r\n", "not valid"),
        (b"HTTP/1.1 400 Bad Request\r\n", "is it Redis?"),
        (&[&b"%18446744073709551615\r\n+k\r\n"[..], &deep].concat(), "more than 65536 bytes"),
        (&[&b"+"[..], &[b'x'; 60_000]].concat(), "not valid"),
        (&[HELLO, b"+NO\r\n"].concat(), "not valid"),
    ] {
        let said = refusal(sent);
        assert!(said.contains(expected), "{said}");
    }
}

#[test]
fn a_refusal_is_repeated_escaped_short_and_without_the_password() {
    let wrong = refusal(b"-WRONGPASS invalid\x1b[2J \"x\"\r\n");
    assert_eq!(wrong, format!("the server says \"WRONGPASS …\" {HIDDEN}"));
    let long = refusal(&[&b"-ERR "[..], &[b'x'; 4000], b"\r\n"].concat());
    assert!(long.len() < 300, "{long}");
    for form in forms() {
        for (line, code) in [(format!("-ERR {form}"), "ERR "), (format!("-{form}"), "")] {
            let sent = format!("{line}\r\n");
            let expected = format!("the server says \"{code}…\" {HIDDEN}");
            assert_eq!(refusal(sent.as_bytes()), expected);
            // Also later, and from an old server.
            assert_eq!(refusal(&[HELLO, sent.as_bytes()].concat()), expected);
            assert_eq!(refusal(&[UNKNOWN, sent.as_bytes()].concat()), expected);
        }
    }
    let range = [HELLO, b"-ERR DB index is out of range\r\n"].concat();
    assert_eq!(refusal(&range), r#"the server says "ERR DB index is out of range""#);
}

#[test]
fn values_that_no_payload_can_hold_are_refused() {
    let value = "v".repeat(40_000);
    let sent = format!("%1\r\n+version\r\n$40000\r\n{value}\r\n+OK\r\n");
    assert!(refusal(sent.as_bytes()).contains("takes more than a payload"));
}
