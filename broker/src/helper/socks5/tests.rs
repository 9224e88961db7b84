//! Proxies that lie, against the log-in.

use fdbroker_policy::{Auth, ProxyAuth, ProxyTarget};
use fdbroker_wire::Connection;
use fdbroker_wire::connection::{BOUND, TARGET, USER};

use crate::helper::test_server::{Outcome, log_in_to_sender};

/// The reply of a proxy that has connected, from 127.0.0.1:258.
const CONNECTED: &[u8] = b"\x05\0\0\x01\x7f\0\0\x01\x01\x02";

/// What comes of a log-in with this password to a proxy that sends these bytes; and what it was sent.
fn told(password: Option<&[u8]>, sent: &[u8]) -> (Outcome, Vec<u8>) {
    let auth = Auth::Socks5(ProxyAuth {
        target: ProxyTarget { host: "web.example.net".to_owned(), port: 80 },
        user: password.map(|_| "me".to_owned()),
        password: None,
    });
    log_in_to_sender(&auth, password, sent)
}

fn refusal(password: Option<&[u8]>, sent: &[u8]) -> String {
    let failure = told(password, sent).0.unwrap_err();
    assert!(!failure.timed_out && !failure.text.contains("geheim"), "{failure:?}");
    failure.text
}

#[test]
fn the_proxy_is_told_the_user_the_password_and_the_target() {
    let sent = [b"\x05\x02\x01\0", CONNECTED, b"220 early"].concat();
    let (payload, received) = told(Some(b"geheim"), &sent);
    assert_eq!(
        received,
        b"\x05\x02\0\x02\x01\x02me\x06geheim\x05\x01\0\x03\x0fweb.example.net\0\x50"
    );
    let payload = payload.unwrap();
    let connection = Connection::parse(&payload).unwrap();
    assert_eq!(connection.text(USER), Some("me"));
    assert_eq!(connection.text(TARGET), Some("web.example.net:80"));
    assert_eq!(connection.text(BOUND), Some("127.0.0.1:258"));
    assert_eq!(connection.early(), b"220 early");
}

#[test]
fn a_proxy_that_asks_for_no_password_is_told_none() {
    for password in [None, Some(&b"geheim"[..])] {
        let (payload, received) = told(password, &[b"\x05\0", CONNECTED].concat());
        let payload = payload.unwrap();
        assert_eq!(Connection::parse(&payload).unwrap().text(USER), None);
        assert!(!received.windows(6).any(|part| part == b"geheim"));
    }
}

#[test]
fn the_address_that_the_proxy_connects_from_has_three_forms() {
    for (address, expected) in [
        (&b"\x01\xc0\0\x02\x07\0\0"[..], "192.0.2.7:0"),
        (b"\x04\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01\0\x50", "[::1]:80"),
        (b"\x03\x05a.b-c\xff\xff", "a.b-c:65535"),
    ] {
        let (payload, _) = told(None, &[b"\x05\0\x05\0\0", address].concat());
        let payload = payload.unwrap();
        assert_eq!(Connection::parse(&payload).unwrap().text(BOUND), Some(expected));
    }
}

#[test]
fn a_refusal_is_told_in_words() {
    for (number, meaning) in [
        (1, "general failure"),
        (2, "its rules do not allow the connection"),
        (3, "network unreachable"),
        (4, "host unreachable"),
        (5, "connection refused"),
        (6, "TTL expired"),
        (7, "it does not support CONNECT"),
        (8, "it does not support this type of address"),
        (9, "not a known reason"),
        (255, "not a known reason"),
    ] {
        let said = refusal(None, &[5, 0, 5, number, 0, 1]);
        let expected =
            format!("the proxy does not connect to `target`: {meaning} (reply {number})");
        assert_eq!(said, expected);
    }
}

#[test]
fn a_log_in_that_is_refused_says_so_without_the_password() {
    let refused = refusal(Some(b"geheim"), b"\x05\x02\x01\x07");
    assert_eq!(refused, "the proxy refuses the user or the password (status 7)");
    let without = refusal(None, b"\x05\xff");
    assert!(without.ends_with("the policy names none: add `user` and `password`"), "{without}");
    let with = refusal(Some(b"geheim"), b"\x05\xff");
    assert_eq!(with, "the proxy accepts no log-in with a user and a password");
}

#[test]
fn a_password_that_does_not_fit_is_not_sent() {
    for password in [&b""[..], &b"geheim".repeat(50)] {
        let (result, received) = told(Some(password), b"\x05\x02\x01\0");
        let text = result.unwrap_err().text;
        let length = password.len();
        let expected = format!("the password has {length} bytes, and SOCKS5 allows 1 to 255");
        assert_eq!((text, received), (expected, Vec::new()));
    }
}

#[test]
fn a_proxy_that_lies_is_refused() {
    for sent in [
        &b"\x04\0"[..],
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        b"\x05\x01",
        b"\x05\x02",
        b"\x05\x03",
        b"\x05\0\x04\0\0\x01",
        b"\x05\0\x05\0\x01\x01",
        b"\x05\0\x05\0\0\x02",
        b"\x05\0\x05\0\0\0",
        b"\x05\0\x05\0\0\x03\0\0\x50",
        b"\x05\0\x05\0\0\x03\x03a b\0\x50",
        b"\x05\0\x05\0\0\x03\x03\x1b[2\0\x50",
        b"\x05\0\x05\0\0\x03\x02\xff\xff\0\x50",
    ] {
        assert!(refusal(None, sent).contains("not valid: is it SOCKS5?"), "{sent:?}");
    }
    let second = refusal(Some(b"geheim"), b"\x05\x02\x05\0");
    assert_eq!(second, "the proxy's second message is not valid: is it SOCKS5?");
}

#[test]
fn a_proxy_that_closes_at_any_byte_ends_it() {
    let whole = [b"\x05\x02\x01\0", CONNECTED].concat();
    for length in 0..whole.len() {
        let said = refusal(Some(b"geheim"), &whole[..length]);
        assert!(said.contains("closed") || said.contains("connection failed"), "{length}: {said}");
    }
}
