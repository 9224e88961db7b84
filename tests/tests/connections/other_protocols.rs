//! Servers that speak something else than the policy says: the log tells what.

use std::io::Write;
use std::sync::atomic::{AtomicUsize, Ordering};

use fdbroker_tests::authority::VALID;
use fdbroker_tests::{Authority, Daemon, Encryption, MailServer, Redis, wait_until};

use crate::resource::{SLOT, auth, failure, in_time, server, tcp};
use crate::tls::{HERE, tls};

/// What the log says of a log-in of this kind, to this port, with these lines beside.
#[track_caller]
fn said(kind: &str, port: u16, lines: &str) -> String {
    let builder = Daemon::open();
    let path = builder.directory().private_file("password", "hunter2-geheim");
    let login = format!("user = \"orders\", password = \"file:{}\"", path.display());
    let lines = format!("auth = {{ {kind} = {{ {login} }} }}\n{lines}");
    let daemon = builder.policy(&in_time(&tcp(port), &lines, "6s")).start();
    let errno = daemon.connect().get(SLOT).errno();
    assert!([libc::EIO, libc::ETIMEDOUT].contains(&errno), "{errno}");
    let said = failure(&daemon);
    assert!(!daemon.log().text().contains("geheim"));
    said
}

#[test]
fn a_server_that_speaks_tls_is_told_from_one_that_does_not_answer() {
    let what = "a server that speaks TLS is told from one that does not answer";
    let Some(authority) = Authority::new(what) else { return };
    let signed = authority.sign("server", HERE, VALID);
    let mail = MailServer::smtp(what, "orders", "x", Encryption::Implicit(&signed));
    if let Some(mail) = mail {
        let said = said("smtp", mail.port(), "");
        assert!(
            said.contains("it has sent nothing, as a server does that waits for TLS"),
            "{said}"
        );
    }
    let redis = Redis::start_encrypted(what, &[], &signed, &authority.certificate());
    if let Some(redis) = redis {
        let said = said("redis", redis.port(), "");
        assert!(
            said.contains("it has sent nothing, as a server does that waits for TLS"),
            "{said}"
        );
    }
}

#[test]
fn a_server_that_speaks_no_tls_is_quoted() {
    let what = "a server that speaks no TLS is quoted";
    let Some(authority) = Authority::new(what) else { return };
    let tls = tls(&authority.certificate(), "");
    if let Some(mail) = MailServer::smtp(what, "orders", "x", Encryption::None) {
        let said = said("smtp", mail.port(), &tls);
        assert!(said.contains("the server does not speak TLS: it says \"220 "), "{said}");
        assert!(said.contains("if it has STARTTLS, add `start = \"starttls\"`"), "{said}");
    }
    let silent = server(|mut stream| drop(std::io::copy(&mut stream, &mut std::io::sink())));
    let said = said("redis", silent, &tls);
    assert!(said.contains("has sent nothing: it may not speak TLS"), "{said}");
}

#[test]
fn a_server_of_another_protocol_is_named() {
    let greets = |greeting: &'static [u8]| {
        server(move |mut stream| {
            stream.write_all(greeting).unwrap();
            drop(std::io::copy(&mut stream, &mut std::io::sink()));
        })
    };
    for (kind, greeting, expected) in [
        ("imap", &b"220 mail ESMTP\r\n"[..], "is it IMAP?; it speaks SMTP, or FTP"),
        ("smtp", b"SSH-2.0-OpenSSH_9.2\r\n", "is it SMTP?; it speaks SSH"),
        ("smtp", b"hello\x1b[2J there", "; it has sent \"hello\\u{1b}[2J there\""),
        ("redis", b"HTTP/1.1 400 Bad Request\r\n\r\n", "; it speaks HTTP"),
        ("redis", b"\x15\x03\x01\0\x02\x02\x46", "; it speaks TLS: add `tls`"),
        ("postgres", b"* OK ready\r\n", "; it speaks IMAP"),
    ] {
        let said = said(kind, greets(greeting), "");
        assert!(said.contains(expected), "{said}");
    }
}

#[test]
fn another_failure_than_the_first_is_in_the_log_too() {
    let connections = AtomicUsize::new(0);
    let changes = server(move |mut stream| {
        let first = connections.fetch_add(1, Ordering::Relaxed) == 0;
        let said = if first { &b"HTTP/1.1 400 Bad Request\r\n\r\n"[..] } else { b"SSH-2.0-x\r\n" };
        // The other side may have gone.
        let _ = stream.write_all(said);
        drop(std::io::copy(&mut stream, &mut std::io::sink()));
    });
    let builder = Daemon::open();
    let path = builder.directory().private_file("password", "geheim");
    let daemon = builder.policy(&in_time(&tcp(changes), &auth(&path, ""), "30s")).start();
    let mut peer = daemon.connect();
    for reason in ["it speaks HTTP", "it speaks SSH"] {
        wait_until("the log has the reason", || {
            assert_eq!(peer.get(SLOT).errno(), libc::EIO);
            let lines = daemon.log().lines();
            lines.iter().any(|line| !line.is_audit() && line.message.contains(reason))
        });
    }
}
