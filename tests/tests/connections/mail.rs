//! Connections to real mail servers.

use std::io::{BufRead, BufReader, Read, Write};

use fdbroker_tests::authority::VALID;
use fdbroker_tests::{Authority, Daemon, Encryption, HelperProcess, MailServer, is_root};
use fdbroker_wire::Connection;

use crate::exec::{Caller, PYTHON};
use crate::pages::example;
use crate::resource::{SLOT, There, connecting, connection, failure, tcp};
use crate::tls::{HERE, tls};

/// Who has no right on any credential.
const CALLER: u32 = 64038;

fn daemon(kind: &str, port: u16, password: &str) -> Daemon {
    encrypted(kind, port, password, "")
}

/// The same, with this line for `tls`.
pub fn encrypted(kind: &str, port: u16, password: &str, tls: &str) -> Daemon {
    let builder = Daemon::open();
    let path = builder.directory().private_file("password", password);
    let login = format!("user = \"orders\", password = \"file:{}\"", path.display());
    let line = format!("auth = {{ {kind} = {{ {login} }} }}\n{tls}");
    builder.policy(&connecting(&tcp(port), &line)).start()
}

/// Has another user get the session, and ask this; returns the first line of the answer, and the payload.
#[track_caller]
pub fn asked(daemon: &Daemon, kind: &str, question: &str) -> (String, Vec<u8>) {
    let caller = if is_root() { HelperProcess::user(CALLER) } else { HelperProcess::same() };
    if is_root() {
        let password = caller.open(&daemon.directory().join("password"), false);
        assert_eq!(password.unwrap_err().raw_os_error(), Some(libc::EACCES));
    }
    let (socket, payload) = connection(caller.connect(daemon).get(SLOT), daemon);
    let session = Connection::parse(&payload).unwrap();
    assert_eq!((session.protocol(), session.text("user")), (kind, Some("orders")));
    let mut there = There(caller.keep(socket));
    there.write_all(question.as_bytes()).unwrap();
    let mut line = String::new();
    BufReader::new(session.early().chain(there)).read_line(&mut line).unwrap();
    assert!(!daemon.log().text().contains("geheim"));
    assert!(!String::from_utf8_lossy(&payload).contains("geheim"));
    (line.trim_end().to_owned(), payload)
}

#[test]
fn an_unprivileged_caller_gets_an_smtp_session_and_no_password() {
    let what = "an unprivileged caller gets an SMTP session and no password";
    let server = MailServer::smtp(what, "orders", "hunter2-geheim", Encryption::None);
    let Some(server) = server else { return };
    let right = daemon("smtp", server.port(), "hunter2-geheim\n");
    let (line, payload) = asked(&right, "smtp", "MAIL FROM:<orders@example.net>\r\n");
    assert_eq!(line, "250 OK");
    let session = Connection::parse(&payload).unwrap();
    assert!(session.parameter("auth").unwrap().contains("PLAIN"));
    let wrong = daemon("smtp", server.port(), "wrong-geheim");
    assert_eq!(wrong.connect().get(SLOT).errno(), libc::EIO);
    let said = failure(&wrong);
    assert!(said.contains("the server says \"535 ") && !said.contains("geheim"), "{said}");
}

#[test]
fn an_unprivileged_caller_gets_an_imap_session_and_no_password() {
    let what = "an unprivileged caller gets an IMAP session and no password";
    let server = MailServer::imap(what, "orders", "hunter2-geheim", Encryption::None);
    let Some(server) = server else { return };
    let right = daemon("imap", server.port(), "hunter2-geheim\n");
    let (line, payload) = asked(&right, "imap", "a STATUS INBOX (MESSAGES)\r\n");
    assert_eq!(line, "* STATUS INBOX (MESSAGES 0)");
    let session = Connection::parse(&payload).unwrap();
    assert!(session.parameter("capability").unwrap().contains("IMAP4rev1"));
    let wrong = daemon("imap", server.port(), "wrong-geheim");
    assert_eq!(wrong.connect().get(SLOT).errno(), libc::EIO);
    let said = failure(&wrong);
    assert!(said.contains("the server says \"NO [AUTH") && !said.contains("geheim"), "{said}");
}

#[test]
fn mail_servers_speak_tls_from_the_first_byte() {
    let what = "mail servers speak TLS from the first byte";
    let Some(authority) = Authority::new(what) else { return };
    let signed = authority.sign("mail", HERE, VALID);
    for (kind, server) in both(what, Encryption::Implicit(&signed)) {
        let tls = tls(&authority.certificate(), "");
        works(kind, &encrypted(kind, server.port(), "hunter2-geheim\n", &tls));
    }
}

/// A server of each kind, as far as there are any here.
#[track_caller]
pub fn both(what: &str, encryption: Encryption<'_>) -> Vec<(&'static str, MailServer)> {
    let smtp = MailServer::smtp(what, "orders", "hunter2-geheim", encryption);
    let imap = MailServer::imap(what, "orders", "hunter2-geheim", encryption);
    let smtp = smtp.map(|server| ("smtp", server));
    smtp.into_iter().chain(imap.map(|server| ("imap", server))).collect()
}

/// Another user gets a session with TLS, and can use it. Returns the payload.
#[track_caller]
pub fn works(kind: &str, daemon: &Daemon) -> Vec<u8> {
    let (question, expected) = match kind {
        "smtp" => ("MAIL FROM:<orders@example.net>\r\n", "250 OK"),
        _ => ("a STATUS INBOX (MESSAGES)\r\n", "* STATUS INBOX (MESSAGES 0)"),
    };
    let (line, payload) = asked(daemon, kind, question);
    assert_eq!(line, expected);
    assert_eq!(Connection::parse(&payload).unwrap().text("relay"), Some("relayed"));
    payload
}

/// What a program of docs/connections.md prints that gets the session of a server.
#[track_caller]
fn printed(kind: &str, heading: &str, server: &MailServer) -> String {
    let caller = Caller::of(daemon(kind, server.port(), "hunter2-geheim\n"));
    let program = example(heading, "python");
    caller.says(caller.exec("1/5", PYTHON, &["-c", &program]))
}

#[test]
fn smtplib_runs_on_a_descriptor_of_the_broker_as_its_page_says() {
    let what = "smtplib runs on a descriptor of the broker";
    let server = MailServer::smtp(what, "orders", "hunter2-geheim", Encryption::None);
    let Some(server) = server else { return };
    assert_eq!(printed("smtp", "### smtplib", &server), "sent");
}

#[test]
fn imaplib_runs_on_a_descriptor_of_the_broker_as_its_page_says() {
    let what = "imaplib runs on a descriptor of the broker";
    let server = MailServer::imap(what, "orders", "hunter2-geheim", Encryption::None);
    let Some(server) = server else { return };
    assert_eq!(printed("imap", "### imaplib", &server), "INBOX (MESSAGES 0)");
}
