//! Servers that lie, stall and flood: an error in time, no helper that stays, and a broker that serves others.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use fdbroker_tests::{Daemon, PATIENCE, process, request, wait_for, wait_until};
use rustix::process::Signal;

use crate::resource::{SLOT, auth, daemon, failure, in_time, server, tcp, with_password};

/// Who may see the status.
const OPERATORS: &str = "[[rules]]\nid = \"operators\"\nallow = [\"operate\"]\nanyone = true\n";
/// How long a caller waits at most, whatever else this machine does.
const IN_TIME: Duration = Duration::from_secs(20);

/// A daemon that logs in to a server, with so much time for all of it.
fn within(open_timeout: &str, serve: impl Fn(TcpStream) + Send + Sync + 'static) -> Daemon {
    let builder = Daemon::open();
    let path = builder.directory().private_file("password", "geheim");
    builder.policy(&in_time(&tcp(server(serve)), &auth(&path, ""), open_timeout)).start()
}

/// What comes of asking for a connection: its error number, and what the log says.
#[track_caller]
fn asked(daemon: &Daemon) -> (i32, String) {
    let worker = daemon.worker_pid();
    let mut peer = daemon.connect();
    let before = daemon.descriptors_with(&mut peer);
    let began = Instant::now();
    let errno = peer.get(SLOT).errno();
    assert!(began.elapsed() < IN_TIME, "after {:?}", began.elapsed());
    let said = failure(daemon);
    assert!(!daemon.log().text().contains("geheim"));
    daemon.wait_for_descriptors(before);
    daemon.connect().add((1, 9), b"still served").done();
    assert_eq!(daemon.worker_pid(), worker);
    (errno, said)
}

/// What the log says of a server that is refused long before the time is up.
#[track_caller]
fn refused(serve: impl Fn(TcpStream) + Send + Sync + 'static) -> String {
    let (errno, said) = asked(&within("30s", serve));
    assert_eq!(errno, libc::EIO, "{said}");
    said
}

/// The time is up before such a server has let the broker in.
#[track_caller]
fn never_lets_us_in(serve: impl Fn(TcpStream) + Send + Sync + 'static) {
    let (errno, said) = asked(&within("1s", serve));
    assert_eq!(errno, libc::ETIMEDOUT, "{said}");
    assert!(said.contains(" timed out"), "{said}");
}

/// Reads until the client has gone.
fn drain(mut stream: TcpStream) {
    let _ = std::io::copy(&mut stream, &mut std::io::sink());
}

#[test]
fn a_server_that_says_nothing() {
    never_lets_us_in(drain);
}

#[test]
fn a_server_that_says_a_little_for_ever() {
    never_lets_us_in(|mut stream| {
        let notice = b"N\0\0\0\x08abc\0";
        while stream.write_all(notice).is_ok() {
            std::thread::sleep(Duration::from_millis(50));
        }
    });
}

#[test]
fn the_log_says_what_a_server_that_stalls_was_asked_for() {
    let (_, said) = asked(&within("5s", drain));
    assert!(said.contains("log-in timed out after "), "{said}");
    assert!(said.contains("the server does not answer"), "{said}");
}

#[test]
fn a_server_that_sends_a_gigabyte() {
    let said = refused(|mut stream| {
        let part = [&b"N\0\0\x70\x04"[..], &[b'x'; 0x7000]].concat();
        for _ in 0..(1 << 30) / part.len() {
            if stream.write_all(&part).is_err() {
                return;
            }
        }
        panic!("all of it was read");
    });
    assert!(said.contains("more than 65536 bytes before the log-in is over"), "{said}");
}

#[test]
fn a_server_that_announces_a_gigabyte() {
    let said = refused(|mut stream| {
        stream.write_all(b"R\x40\0\0\0").unwrap();
        drain(stream);
    });
    assert!(said.contains("bytes during the log-in: is it PostgreSQL?"), "{said}");
}

#[test]
fn a_server_that_hangs_up() {
    let said = refused(drop);
    // What was not read makes it a reset.
    let expected = ["closed the connection during the log-in", "Connection reset by peer"];
    assert!(expected.iter().any(|expected| said.contains(expected)), "{said}");
}

#[test]
fn a_server_of_another_protocol() {
    let said = refused(|mut stream| {
        stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").unwrap();
        drain(stream);
    });
    assert!(said.contains("log-in failed after "), "{said}");
}

#[test]
fn a_server_whose_words_mislead() {
    let said = refused(|mut stream| {
        let message = [&b"SFATAL\0C\x1b[2J\0Mroot\n{\"message\":\"audit\"}geheim\0\0"[..]].concat();
        let length = u32::try_from(4 + message.len()).unwrap().to_be_bytes();
        stream.write_all(&[b"E", &length[..], &message].concat()).unwrap();
        drain(stream);
    });
    assert!(said.contains("its message contains the password and is not shown"), "{said}");
}

#[test]
fn others_are_served_while_many_wait_for_a_server_that_stalls() {
    let builder = Daemon::open();
    let path = builder.directory().private_file("password", "geheim");
    let policy = in_time(&tcp(server(drain)), &auth(&path, ""), "5s");
    let daemon = builder.policy(&format!("{policy}{OPERATORS}")).start();
    let mut waiting: Vec<_> = (0..8).map(|_| daemon.connect()).collect();
    for peer in &mut waiting {
        peer.send(&request::get(SLOT), &[]);
    }
    let supervisor = daemon.supervisor_pid();
    wait_until("helpers run", || !process::helpers(supervisor).is_empty());
    let counted = || !daemon.says(&["status"]).contains("\nhelpers=0\n");
    wait_until("the status says so", counted);
    daemon.connect().add((1, 9), b"served").done();
    for peer in &mut waiting {
        // Beyond a user's share of openings the answer comes at once.
        assert!([libc::ETIMEDOUT, libc::EBUSY].contains(&peer.answer().errno()));
    }
    wait_until("all helpers are gone", || process::helpers(supervisor).is_empty());
    wait_until("the status says so", || !counted());
}

#[test]
fn a_helper_ends_with_its_supervisor() {
    let (connected, waits) = channel();
    let port = server(move |mut stream| {
        stream.read_exact(&mut [0; 8]).unwrap();
        connected.send(()).unwrap();
        drain(stream);
    });
    let mut daemon = with_password(Daemon::open(), &tcp(port), "geheim", "").start();
    let mut peer = daemon.connect();
    peer.send(&request::get(SLOT), &[]);
    waits.recv_timeout(PATIENCE).unwrap();
    let helper = wait_for("a helper runs", || process::helpers(daemon.supervisor_pid()).pop());
    daemon.kill_both();
    wait_until("the helper is gone", || !process::runs(helper));
}

#[test]
fn a_helper_that_is_killed_or_stopped_is_an_error_in_time() {
    for (signal, time, errno) in
        [(Signal::KILL, "30s", libc::EIO), (Signal::STOP, "4s", libc::ETIMEDOUT)]
    {
        let daemon = within(time, drain);
        let mut peer = daemon.connect();
        peer.send(&request::get(SLOT), &[]);
        let helper = wait_for("a helper runs", || process::helpers(daemon.supervisor_pid()).pop());
        process::signal(helper, signal);
        assert_eq!(peer.answer().errno(), errno, "{signal:?}");
        wait_until("the helper is gone", || !process::runs(helper));
    }
}

#[test]
fn a_caller_who_leaves_costs_nothing() {
    let daemon = daemon(&tcp(server(drop)), "geheim", "");
    for _ in 0..20 {
        let mut peer = daemon.connect();
        peer.send(&request::get(SLOT), &[]);
    }
    let supervisor = daemon.supervisor_pid();
    wait_until("all helpers are gone", || process::helpers(supervisor).is_empty());
    daemon.connect().add((1, 9), b"served").done();
}

#[test]
fn a_reset_right_after_the_log_in_is_told_as_what_it_is() {
    let port = server(|mut stream| {
        rustix::net::sockopt::set_socket_linger(&stream, Some(Duration::ZERO)).unwrap();
        let _ = stream.write_all(b"+OK\r\n");
    });
    let line = "auth.script = { protocol = \"lines\", steps = [\"expect:+OK\"] }";
    let daemon = Daemon::open().policy(&in_time(&tcp(port), line, "30s")).start();
    let mut peer = daemon.connect();
    // Sometimes the reset comes later, or sooner.
    wait_until("it comes right after the log-in", || {
        let failed = peer.get(SLOT).errno() == libc::EIO;
        failed
            && failure(&daemon)
                .contains("the server has reset the connection right after the log-in")
    });
    assert!(!daemon.log().text().contains("taken over"), "{}", daemon.log().text());
}
