//! Servers that lie, against the log-in.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;

use fdbroker_policy::{Auth, PostgresAuth, PostgresMethod};
use fdbroker_wire::Connection;

use crate::helper::server_words::HIDDEN;
use crate::helper::test_server::{Outcome, log_in_to};

const PASSWORD: &[u8] = b"geheim";

fn auth(methods: &[PostgresMethod]) -> Auth {
    Auth::Postgres(PostgresAuth {
        user: "orders".to_owned(),
        database: "shop".to_owned(),
        password: None,
        methods: methods.to_vec(),
    })
}

/// What comes of a log-in to a server.
fn payload_of(methods: &[PostgresMethod], serve: impl FnOnce(Server) + Send) -> Outcome {
    log_in_to(&auth(methods), Some(PASSWORD), |stream| serve(Server(stream)))
}

/// Why a log-in with SCRAM alone fails.
fn refusal(serve: impl FnOnce(Server) + Send) -> String {
    let failure = payload_of(&[PostgresMethod::ScramSha256], serve).unwrap_err();
    assert!(!failure.timed_out, "{failure:?}");
    assert!(!failure.text.contains("geheim"), "{failure:?}");
    failure.text
}

/// The server's end.
struct Server(UnixStream);

impl Server {
    /// Sends what the client may have stopped reading.
    fn send(&mut self, bytes: &[u8]) {
        let _ = self.0.write_all(bytes);
    }

    /// Reads the start-up message.
    fn start_up(&mut self) -> Vec<u8> {
        self.body()
    }

    /// Reads an answer to a question of the authentication.
    fn response(&mut self) -> Vec<u8> {
        let mut kind = [0];
        self.0.read_exact(&mut kind).unwrap();
        assert_eq!(kind, [b'p']);
        self.body()
    }

    fn body(&mut self) -> Vec<u8> {
        let mut length = [0; 4];
        self.0.read_exact(&mut length).unwrap();
        let mut body = vec![0; usize::try_from(u32::from_be_bytes(length)).unwrap() - 4];
        self.0.read_exact(&mut body).unwrap();
        body
    }

    /// Asks for SCRAM, and sends as the first message what is made of the client's nonce. Returns the proof.
    fn scram(&mut self, first: impl FnOnce(&str) -> String) -> Vec<u8> {
        self.start_up();
        self.send(&question(10, b"SCRAM-SHA-256\0\0"));
        let initial = String::from_utf8(self.response()).unwrap();
        let nonce = initial.split_once(",r=").unwrap().1.to_owned();
        self.send(&question(11, first(&nonce).as_bytes()));
        let mut kind = [0];
        match self.0.read_exact(&mut kind) {
            Ok(()) => self.body(),
            Err(_) => Vec::new(),
        }
    }
}

fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(4 + body.len()).unwrap().to_be_bytes();
    [&[kind][..], &length, body].concat()
}

fn question(number: u32, rest: &[u8]) -> Vec<u8> {
    message(b'R', &[&number.to_be_bytes(), rest].concat())
}

/// All that a server sends which asks for no password.
fn trusting() -> Vec<u8> {
    [
        message(b'N', b"SNOTICE\0Mhello\0\0"),
        question(0, b""),
        message(b'S', b"server_version\x0015.6\0"),
        message(b'S', b"search_path\0one\0"),
        message(b'S', b"search_path\0two\0"),
        message(b'K', &[&7u32.to_be_bytes()[..], &[1, 2, 3, 4]].concat()),
        message(b'Z', b"I"),
    ]
    .concat()
}

const SALT: &str = "s=QSXCR+Q6sek8bf92";

#[test]
fn a_session_has_what_the_server_reported_and_what_it_sent_early() {
    let early = message(b'N', b"Mlater\0\0");
    let sent = [trusting(), early.clone()].concat();
    let payload = payload_of(&[], |mut server| {
        assert_eq!(server.start_up(), b"\0\x03\0\0user\0orders\0database\0shop\0\0");
        server.send(&sent);
    });
    let payload = payload.unwrap();
    let connection = Connection::parse(&payload).unwrap();
    let found: Vec<_> = connection.fields().skip(1).collect();
    let expected: [(&str, &[u8]); 8] = [
        ("user", b"orders"),
        ("database", b"shop"),
        ("parameter.search_path", b"two"),
        ("parameter.server_version", b"15.6"),
        ("backend.pid", b"7"),
        ("backend.key", &[1, 2, 3, 4]),
        ("transaction", b"I"),
        ("early", &early),
    ];
    assert_eq!(found, expected);
}

#[test]
fn a_server_that_closes_after_any_byte_ends_the_log_in() {
    let whole = trusting();
    for length in 0..whole.len() {
        let said = refusal(|mut server| {
            server.start_up();
            server.send(&whole[..length]);
        });
        assert!(said.contains("closed the connection during the log-in"), "{length}: {said}");
    }
}

#[test]
fn garbage_at_any_byte_ends_the_log_in_or_changes_a_value() {
    let whole = trusting();
    for at in 0..whole.len() {
        for value in [0, 1, 0x7f, 0x80, 0xff] {
            let mut sent = whole.clone();
            sent[at] = value;
            let payload = payload_of(&[], |mut server| {
                server.start_up();
                server.send(&sent);
            });
            if let Ok(payload) = payload {
                assert!(Connection::parse(&payload).is_some(), "{at} {value}");
            }
        }
    }
}

#[test]
fn a_length_that_lies_is_refused_before_anything_is_waited_for() {
    for (length, expected) in [
        (0u32, "not valid"),
        (3, "not valid"),
        (65_537, "bytes during the log-in: is it PostgreSQL?"),
        (0x7fff_ffff, "bytes during the log-in: is it PostgreSQL?"),
        (u32::MAX, "bytes during the log-in: is it PostgreSQL?"),
    ] {
        let said = refusal(|mut server| {
            server.start_up();
            server.send(&[&b"S"[..], &length.to_be_bytes()].concat());
            // It stays open until the client has given up.
            let _ = server.0.read(&mut [0]);
        });
        assert!(said.contains(expected), "{length}: {said}");
    }
}

#[test]
fn a_server_that_floods_is_cut_off() {
    let notice = message(b'N', &[b'x'; 1000]);
    let said = refusal(|mut server| {
        server.start_up();
        while server.0.write_all(&notice).is_ok() {}
    });
    assert!(said.contains("more than 65536 bytes before the log-in is over"), "{said}");
}

#[test]
fn parameters_that_no_payload_can_hold_are_refused() {
    let parameters = |number: usize, length: usize| {
        let value = "v".repeat(length);
        let one = |n| message(b'S', format!("name{n}\0{value}\0").as_bytes());
        [question(0, b""), (0..number).flat_map(one).collect(), message(b'Z', b"I")].concat()
    };
    for (sent, expected) in [
        (parameters(50, 1000), "takes more than a payload"),
        ([question(0, b""), message(b'S', b"a b\0c\0")].concat(), "ParameterStatus"),
        ([question(0, b""), message(b'S', b"\0c\0")].concat(), "ParameterStatus"),
        ([question(0, b""), message(b'S', &[b'n'; 300])].concat(), "ParameterStatus"),
        ([question(0, b""), message(b'K', b"123")].concat(), "BackendKeyData"),
        ([question(0, b""), message(b'Z', b"T")].concat(), "ReadyForQuery"),
    ] {
        let said = refusal(|mut server| {
            server.start_up();
            server.send(&sent);
        });
        assert!(said.contains(expected), "{said}");
    }
}

#[test]
fn nothing_is_taken_from_a_server_that_has_not_let_us_in() {
    for kind in *b"SKZDCTv?\0" {
        let said = refusal(|mut server| {
            server.start_up();
            server.send(&message(kind, b"I"));
        });
        assert!(said.contains("is it PostgreSQL?"), "{said}");
    }
}

#[test]
fn a_method_that_the_policy_does_not_name_is_not_answered() {
    for (sent, method) in [(question(3, b""), "password"), (question(5, b"salt"), "md5")] {
        let said = refusal(|mut server| {
            server.start_up();
            server.send(&sent);
            assert_eq!(server.0.read(&mut [0]).unwrap(), 0, "it was answered");
        });
        assert!(said.contains(&format!("the method {method}, which `methods`")), "{said}");
    }
    for (sent, expected) in [
        (question(10, b"SCRAM-SHA-256-PLUS\0\0"), "offers no SCRAM-SHA-256"),
        (question(10, b""), "offers no SCRAM-SHA-256"),
        (question(7, b""), "not supported (number 7)"),
        (question(11, b""), "not supported (number 11)"),
        (message(b'R', b"xy"), "authentication message is not valid"),
    ] {
        let said = refusal(|mut server| {
            server.start_up();
            server.send(&sent);
        });
        assert!(said.contains(expected), "{said}");
    }
}

#[test]
fn a_server_must_prove_that_it_knows_the_password() {
    let first = |nonce: &str| format!("r={nonce}x,{SALT},i=4096");
    for end in [
        question(0, b""),
        question(12, b"v=AAAA"),
        question(12, b"v=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="),
        question(12, b"e=other-error"),
        question(12, b""),
    ] {
        let said = refusal(|mut server| {
            assert!(server.scram(first).windows(3).any(|part| part == b",p="));
            server.send(&[end.clone(), trusting()].concat());
        });
        assert!(said.contains("does not prove that it knows the password"), "{said}");
    }
}

#[test]
fn a_scram_message_that_lies_is_not_answered() {
    type First = fn(&str) -> String;
    let lies: [(First, &str); 9] = [
        (|_| format!("r=other,{SALT},i=4096"), "not valid"),
        (|nonce| format!("r={},{SALT},i=4096", &nonce[1..]), "not valid"),
        (|nonce| format!("r={nonce}x,s=?,i=4096"), "not valid"),
        (|nonce| format!("r={nonce}x,{SALT}"), "not valid"),
        (|nonce| format!("r={nonce}x,{SALT},i=-1"), "not valid"),
        (|nonce| format!("r={nonce}x,{SALT},i=99999999999"), "not valid"),
        (|nonce| format!("r={nonce}x,{SALT},i=1"), "1 SCRAM iterations, and 4096 to 100000"),
        (|nonce| format!("r={nonce}x,{SALT},i=4095"), "4095 SCRAM iterations"),
        (|nonce| format!("r={nonce}x,{SALT},i=4294967295"), "4294967295 SCRAM iterations"),
    ];
    for (first, expected) in lies {
        let said = refusal(|mut server| {
            assert!(server.scram(first).is_empty(), "it was answered");
        });
        assert!(said.contains(expected), "{said}");
    }
}

#[test]
fn the_password_itself_is_sent_only_where_the_policy_says_so() {
    let mut told = Vec::new();
    let payload = payload_of(&[PostgresMethod::Cleartext], |mut server| {
        server.start_up();
        server.send(&question(3, b""));
        told = server.response();
        server.send(&trusting());
    });
    assert_eq!(told, b"geheim\0");
    assert!(Connection::parse(&payload.unwrap()).is_some());
    let payload = payload_of(&[PostgresMethod::Md5], |mut server| {
        server.start_up();
        server.send(&question(5, b"salt"));
        told = server.response();
        server.send(&trusting());
    });
    assert!(told.starts_with(b"md5") && told.len() == 36 && payload.is_ok());
}

#[test]
fn a_server_that_was_told_the_password_is_not_quoted() {
    let refused_by = |method: PostgresMethod, question: Vec<u8>| {
        let payload = payload_of(&[method], |mut server| {
            server.start_up();
            server.send(&question);
            server.response();
            server.send(&message(b'E', b"SFATAL\0C28P01\0Mwrong: MIEHEG\0\0"));
        });
        payload.unwrap_err().text
    };
    let said = refused_by(PostgresMethod::Cleartext, question(3, b""));
    assert!(said.starts_with(&format!("the server says FATAL 28P01: \"…\" {HIDDEN}; ")), "{said}");
    let said = refused_by(PostgresMethod::Md5, question(5, b"salt"));
    assert!(said.starts_with("the server says FATAL 28P01: \"wrong: MIEHEG\"; "), "{said}");
}

#[test]
fn a_server_asks_once() {
    let said = refusal(|mut server| {
        server.start_up();
        server.send(&[question(0, b""), question(0, b"")].concat());
    });
    assert!(said.contains("authentication message is not valid"), "{said}");
}
