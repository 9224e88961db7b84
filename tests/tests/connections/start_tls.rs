//! Real mail servers that are asked for TLS by STARTTLS, and somebody between who changes what they say before.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

use fdbroker_tests::authority::VALID;
use fdbroker_tests::{Authority, Encryption, MailServer};
use fdbroker_wire::Connection;

use crate::mail::{both, encrypted, works};
use crate::resource::{SLOT, failure, server};
use crate::tls::{HERE, tls};

const START: &str = ", start = \"starttls\"";
const PASSWORD: &str = "hunter2-geheim";

/// Both kinds of server, with a certificate of an authority for this machine.
#[track_caller]
fn servers(what: &str) -> Option<(Authority, Vec<(&'static str, MailServer)>)> {
    let authority = Authority::new(what)?;
    let signed = authority.sign("mail", HERE, VALID);
    let servers = both(what, Encryption::StartTls(&signed));
    Some((authority, servers))
}

#[test]
fn mail_servers_speak_tls_when_they_are_asked_for_it() {
    let what = "mail servers speak TLS when they are asked for it";
    let Some((authority, servers)) = servers(what) else { return };
    for (kind, server) in servers {
        let with = |keys| {
            let line = tls(&authority.certificate(), keys);
            encrypted(kind, server.port(), PASSWORD, &line)
        };
        works(kind, &with(START));
        let at_once = with("");
        assert_eq!(at_once.connect().get(SLOT).errno(), libc::EIO);
        let said = failure(&at_once);
        assert!(said.contains("the server does not speak TLS"), "{said}");
    }
}

#[test]
fn a_mail_server_with_another_certificate_is_refused_after_starttls() {
    let what = "a mail server with another certificate is refused after STARTTLS";
    let Some((_authority, servers)) = servers(what) else { return };
    let Some(another) = Authority::named(what, "another") else { return };
    for (kind, server) in servers {
        let line = tls(&another.certificate(), START);
        let daemon = encrypted(kind, server.port(), PASSWORD, &line);
        assert_eq!(daemon.connect().get(SLOT).errno(), libc::EIO);
        let said = failure(&daemon);
        assert!(said.contains("nobody in `ca` has signed"), "{said}");
    }
}

/// Somebody between the broker and a server, who changes the lines of the server before TLS.
struct Between {
    port: u16,
    /// What the broker has sent.
    sent: Arc<Mutex<Vec<u8>>>,
}

impl Between {
    fn new(server_port: u16, change: impl Fn(&str) -> String + Send + Sync + 'static) -> Self {
        let sent = Arc::<Mutex<Vec<u8>>>::default();
        let kept = Arc::clone(&sent);
        let port = server(move |broker| {
            let server = TcpStream::connect(("127.0.0.1", server_port)).unwrap();
            thread::scope(|scope| {
                scope.spawn(|| keep_and_pass_on(&broker, &server, &kept));
                change_and_pass_on(&server, &broker, &change);
            });
        });
        Self { port, sent }
    }

    fn sent(&self) -> String {
        String::from_utf8_lossy(&self.sent.lock().unwrap()).into_owned()
    }
}

fn keep_and_pass_on(mut from: &TcpStream, mut to: &TcpStream, kept: &Mutex<Vec<u8>>) {
    let mut room = [0; 4096];
    while let Ok(length @ 1..) = from.read(&mut room) {
        kept.lock().unwrap().extend(&room[..length]);
        if to.write_all(&room[..length]).is_err() {
            break;
        }
    }
    // The other side may have gone.
    let _ = to.shutdown(Shutdown::Both);
}

fn change_and_pass_on(from: &TcpStream, mut to: &TcpStream, change: impl Fn(&str) -> String) {
    let mut lines = BufReader::new(from);
    let mut line = String::new();
    while matches!(lines.read_line(&mut line), Ok(1..)) {
        if to.write_all(change(&line).as_bytes()).is_err() {
            break;
        }
        if is_last(&line) {
            let _ = std::io::copy(&mut lines, &mut to);
        }
        line.clear();
    }
    let _ = to.shutdown(Shutdown::Both);
}

/// Whether it is the server's answer to STARTTLS.
fn is_last(line: &str) -> bool {
    line.starts_with("s2 ") || (line.starts_with("220 ") && line.contains("TLS"))
}

/// What the log says of servers whose lines somebody changes so, and what the broker has sent them.
#[track_caller]
fn refused(what: &str, change: fn(&str) -> String) -> Vec<(&'static str, String, String)> {
    let Some((authority, servers)) = servers(what) else { return Vec::new() };
    let refused = |(kind, server): (&'static str, MailServer)| {
        let between = Between::new(server.port(), change);
        let line = tls(&authority.certificate(), START);
        let daemon = encrypted(kind, between.port, PASSWORD, &line);
        assert_eq!(daemon.connect().get(SLOT).errno(), libc::EIO);
        (kind, failure(&daemon), between.sent())
    };
    servers.into_iter().map(refused).collect()
}

#[test]
fn somebody_between_cannot_take_starttls_away() {
    let what = "somebody between cannot take STARTTLS away";
    for (kind, said, sent) in refused(what, |line| line.replace("STARTTLS", "XSTARTXX")) {
        assert!(said.contains("TLS failed after "), "{said}");
        assert!(said.contains("the server does not offer STARTTLS"), "{said}");
        let expected = if kind == "smtp" { "EHLO localhost\r\n" } else { "s1 CAPABILITY\r\n" };
        assert_eq!(sent, expected);
    }
    let refuse = |line: &str| {
        let no = if line.starts_with("s2 ") { "s2 NO no\r\n" } else { "454 no\r\n" };
        if is_last(line) { no.to_owned() } else { line.to_owned() }
    };
    for (kind, said, sent) in refused(what, refuse) {
        let expected = if kind == "smtp" { "\"454 no\"" } else { "\"NO no\"" };
        assert!(said.contains(&format!("the server says {expected}")), "{said}");
        assert!(sent.ends_with("STARTTLS\r\n"), "{sent}");
    }
}

#[test]
fn what_somebody_between_adds_to_an_offer_counts_for_nothing() {
    let what = "what somebody between adds to an offer counts for nothing";
    let behind = |line: &str| match is_last(line) {
        true if line.starts_with("s2 ") => format!("{line}* CAPABILITY AUTH=PLAIN XEVIL\r\n"),
        true => format!("{line}250-x\r\n250 AUTH PLAIN\r\n"),
        false => line.to_owned(),
    };
    for (_, said, sent) in refused(what, behind) {
        assert!(said.contains("somebody sends bytes before the handshake"), "{said}");
        assert!(sent.ends_with("STARTTLS\r\n"), "{sent}");
    }
    let before = |line: &str| {
        line.replace("250-SIZE", "250-XEVIL\r\n250-SIZE").replace("IMAP4rev1", "IMAP4rev1 XEVIL")
    };
    let Some((authority, servers)) = servers(what) else { return };
    for (kind, server) in servers {
        let between = Between::new(server.port(), before);
        let line = tls(&authority.certificate(), START);
        let payload = works(kind, &encrypted(kind, between.port, PASSWORD, &line));
        let session = Connection::parse(&payload).unwrap();
        assert!(session.fields().all(|(name, value)| {
            !name.contains("evil") && !String::from_utf8_lossy(value).contains("EVIL")
        }));
        assert!(!between.sent().contains("geheim"));
    }
}
