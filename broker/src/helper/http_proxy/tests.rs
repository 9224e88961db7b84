//! Proxies that lie, against the log-in.

use fdbroker_policy::{Auth, ProxyAuth, ProxyTarget};
use fdbroker_wire::Connection;
use fdbroker_wire::connection::{TARGET, USER};

use crate::helper::server_words::HIDDEN;
use crate::helper::test_server::{Outcome, forms, log_in_to_sender};

const CONNECTED: &[u8] = b"HTTP/1.0 200 Connection established\r\nProxy-agent: it\r\n\r\n";
/// `me:geheim`.
const ENCODED: &str = "bWU6Z2VoZWlt";

/// What comes of a log-in with this password to a proxy that sends these bytes; and what it was sent.
fn told(password: Option<&[u8]>, sent: &[u8]) -> (Outcome, String) {
    let auth = Auth::HttpProxy(ProxyAuth {
        target: ProxyTarget { host: "web.example.net".to_owned(), port: 80 },
        user: password.map(|_| "me".to_owned()),
        password: None,
    });
    let (outcome, received) = log_in_to_sender(&auth, password, sent);
    (outcome, String::from_utf8(received).unwrap())
}

fn refusal(password: Option<&[u8]>, sent: &[u8]) -> String {
    let failure = told(password, sent).0.unwrap_err();
    let is_secret = failure.text.contains("geheim") || failure.text.contains(ENCODED);
    assert!(!failure.timed_out && !is_secret, "{failure:?}");
    failure.text
}

#[test]
fn the_proxy_is_told_the_target_the_user_and_the_password() {
    let (payload, received) = told(Some(b"geheim"), &[CONNECTED, b"220 early\n\n"].concat());
    let head = "CONNECT web.example.net:80 HTTP/1.1\r\nHost: web.example.net:80\r\n";
    assert_eq!(received, format!("{head}Proxy-Authorization: Basic {ENCODED}\r\n\r\n"));
    let payload = payload.unwrap();
    let connection = Connection::parse(&payload).unwrap();
    assert_eq!(connection.protocol(), "http-proxy");
    assert_eq!(connection.text(USER), Some("me"));
    assert_eq!(connection.text(TARGET), Some("web.example.net:80"));
    assert_eq!(connection.early(), b"220 early\n\n");
}

#[test]
fn without_a_user_nothing_is_told_of_one() {
    let (payload, received) = told(None, CONNECTED);
    assert!(!received.contains("Authorization"), "{received}");
    let payload = payload.unwrap();
    assert_eq!(Connection::parse(&payload).unwrap().text(USER), None);
}

#[test]
fn every_form_of_success_ends_with_its_empty_line() {
    for sent in [
        "HTTP/1.1 200\r\n\r\n",
        "HTTP/1.1 200 \r\n\r\n",
        "HTTP/1.0 299 OK\n\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 7\r\nTransfer-Encoding: chunked\r\n\r\n",
        "HTTP/1.1 200 OK\nA: b\n\r\n",
    ] {
        let payload = told(None, format!("{sent}\r\nrest").as_bytes()).0.unwrap();
        assert_eq!(Connection::parse(&payload).unwrap().early(), b"\r\nrest", "{sent:?}");
    }
}

#[test]
fn a_refusal_says_what_the_proxy_answers() {
    let wrong = b"HTTP/1.1 407 Denied\r\nProxy-Authenticate: Basic realm=\"x\"\r\n\r\n";
    assert_eq!(
        refusal(Some(b"geheim"), wrong),
        format!("the proxy refuses the user or the password: it says \"HTTP/1.1 407 …\" {HIDDEN}")
    );
    let other = refusal(Some(b"geheim"), b"HTTP/1.0 401 Unauthorized\r\n\r\n");
    assert!(other.starts_with("the proxy refuses the user or the password: "), "{other}");
    let asks = refusal(None, wrong);
    assert!(asks.starts_with("the proxy asks for a log-in, and the policy names none"), "{asks}");
    let other = b"HTTP/1.1 407 x\r\nproxy-authenticate: Negotiate, NTLM basic\r\n\r\n";
    let other = refusal(Some(b"geheim"), other);
    assert!(other.starts_with("the proxy accepts no log-in by Basic: "), "{other}");
    let both = b"HTTP/1.1 407 x\r\nProxy-Authenticate: NTLM\r\nProxy-Authenticate: basic\r\n\r\n";
    assert!(refusal(Some(b"geheim"), both).starts_with("the proxy refuses the user"));
    for (code, line) in [(502, "Bad Gateway"), (100, "Continue"), (302, "Found"), (199, "")] {
        let sent = format!("HTTP/1.1 {code} {line}\r\n\r\n");
        let expected =
            format!("the proxy does not connect to `target`: it says \"HTTP/1.1 {code} {line}\"");
        assert_eq!(refusal(None, sent.as_bytes()), expected);
    }
}

#[test]
fn a_refusal_is_short_escaped_and_without_the_password() {
    let long = format!("HTTP/1.1 500 {}\u{9b}31m\r\n\r\n", "x".repeat(4000));
    assert!(refusal(None, long.as_bytes()).len() < 300);
    let turned = refusal(None, "HTTP/1.1 500 a\u{202e}b\r\n\r\n".as_bytes());
    assert!(turned.ends_with("\"HTTP/1.1 500 a\\u{202e}b\""), "{turned}");
    for form in forms() {
        let sent = format!("HTTP/1.1 403 {form}\r\n\r\n");
        let said = refusal(Some(b"geheim"), sent.as_bytes());
        assert!(said.ends_with(&format!(": it says \"HTTP/1.1 403 …\" {HIDDEN}")), "{said}");
    }
}

#[test]
fn a_proxy_that_lies_is_refused() {
    for sent in [
        &b"\x05\xff"[..],
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"HTTP/2 200\r\n\r\n",
        b"\r\nHTTP/1.1 200 OK\r\n\r\n",
        b"HTTP/1.1 20 OK\r\n\r\n",
        b"HTTP/1.1 +200 OK\r\n\r\n",
        b"HTTP/1.1 2000 OK\r\n\r\n",
        b"HTTP/1.1  200 OK\r\n\r\n",
        b"HTTP/1.1 200 O\0K\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nno header\r\n\r\n",
        b"HTTP/1.1 200 OK\r\na b: c\r\n\r\n",
        b"HTTP/1.1 200 OK\r\na: b\0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n: b\r\n\r\n",
    ] {
        let said = refusal(None, sent);
        let sent = sent.escape_ascii();
        assert!(said.contains("not valid: is it an HTTP proxy?"), "{sent}: {said}");
    }
}

#[test]
fn an_answer_has_a_bound() {
    let headers = |number: usize, length: usize| {
        let header = format!("a: {}\r\n", "b".repeat(length));
        format!("HTTP/1.1 200 OK\r\n{}\r\n", header.repeat(number)).into_bytes()
    };
    assert!(told(None, &headers(64, 1)).0.is_ok());
    assert_eq!(refusal(None, &headers(65, 1)), "the proxy's answer has more than 64 headers");
    let longest = 8192 - headers(1, 0).len();
    assert!(told(None, &headers(1, longest)).0.is_ok());
    let long = "the proxy's answer has more than 8192 bytes";
    assert_eq!(refusal(None, &headers(1, longest + 1)), long);
    assert_eq!(refusal(None, &headers(1, 1 << 20)), long);
}

#[test]
fn a_proxy_that_closes_at_any_byte_ends_it() {
    for length in 0..CONNECTED.len() {
        let said = refusal(Some(b"geheim"), &CONNECTED[..length]);
        assert!(said.contains("closed the connection during the log-in"), "{length}: {said}");
    }
}

#[test]
fn garbage_at_any_byte_ends_the_log_in_or_changes_nothing() {
    for at in 0..CONNECTED.len() {
        for value in [0, b'\r', b'\n', b':', b' ', 0x7f, 0xff] {
            let mut sent = CONNECTED.to_vec();
            sent[at] = value;
            if let Ok(payload) = told(None, &sent).0 {
                assert!(Connection::parse(&payload).is_some(), "{at} {value}");
            }
        }
    }
}
