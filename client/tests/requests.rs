//! Requests and their answers, good and bad, of one session.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod support;

use std::io::Read;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use fdbroker::{Broker, Connector, Error, NewDeposit, Trust};
use fdbroker_wire::{Errno, Info, add_head, info, reply};
use rustix::io::FdFlags;
use support::{Fake, SECRET, assert_hides_secret, slot};

fn pipe() -> (OwnedFd, OwnedFd) {
    rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).unwrap()
}

/// Waits until every copy of the other end has been closed.
fn all_closed(reading: OwnedFd) {
    let mut rest = Vec::new();
    std::fs::File::from(reading).read_to_end(&mut rest).unwrap();
    assert!(rest.is_empty());
}

/// A broker that tells of each connection whether it heard anything.
fn listening() -> (Fake, mpsc::Receiver<bool>) {
    let (tell, heard) = mpsc::channel();
    (Fake::playing(move |mut peer| tell.send(peer.next().is_some()).unwrap()), heard)
}

#[test]
fn payloads_of_every_size_come_back_with_and_without_a_descriptor() {
    let fake = Fake::honest();
    let mut broker = Broker::connect_to(fake.path()).unwrap();
    let (_reading, writing) = pipe();
    for size in [0, 1, 32767, 32768] {
        let payload = vec![b'x'; size];
        broker.add(slot("1/1"), None, &payload).unwrap();
        broker.add(slot("1/2"), Some(writing.as_fd()), &payload).unwrap();

        let plain = broker.get(slot("1/1")).unwrap();
        assert_eq!((plain.ufd, &plain.payload), (-1, &payload));
        assert!(plain.descriptor.is_none());
        let full = broker.get(slot("1/2")).unwrap();
        assert_eq!((full.ufd, &full.payload), (writing.as_raw_fd(), &payload));
        assert!(full.descriptor.is_some());
        let total = i32::try_from(size).unwrap() * 2;
        assert_eq!(broker.tag(slot("1/0").tag).unwrap(), Info { used: 3, total });
    }
    broker.del(slot("1/1")).unwrap();
    assert!(matches!(broker.del(slot("1/1")), Err(Error::Absent { .. })));
}

#[test]
fn a_descriptor_that_came_is_close_on_exec_and_the_very_one() {
    let fake = Fake::honest();
    let mut broker = Broker::connect_to(fake.path()).unwrap();
    let (reading, writing) = pipe();
    broker.add_numbered(slot("1/1"), writing.as_fd(), 77, b"").unwrap();
    drop(writing);
    let deposit = broker.get(slot("1/1")).unwrap();
    assert_eq!(deposit.ufd, 77);
    let descriptor = deposit.descriptor.unwrap();
    assert!(rustix::io::fcntl_getfd(&descriptor).unwrap().contains(FdFlags::CLOEXEC));
    rustix::io::write(&descriptor, b"through").unwrap();
    let mut bytes = [0; 7];
    rustix::io::read(&reading, &mut bytes).unwrap();
    assert_eq!(&bytes, b"through");
}

#[test]
fn each_error_number_is_told_apart_and_names_slot_and_socket() {
    let kind = |errno: Errno| {
        let fake = Fake::failing(errno.get(), "a \x1b[31msentence\nof two lines");
        let mut broker = Connector::new()
            .socket(fake.path())
            .retry_for(Duration::from_millis(20))
            .connect()
            .unwrap();
        let error = broker.get(slot("10/3")).unwrap_err();
        assert_eq!(error.errno(), Some(errno));
        let text = error.to_string();
        assert!(
            text.contains("get 10/3") && text.contains(fake.path().to_str().unwrap()),
            "{text}"
        );
        assert!(!text.contains(['\x1b', '\n']), "unescaped: {text:?}");
        error
    };
    assert!(matches!(kind(Errno::ACCES), Error::Refused { .. }));
    assert!(matches!(kind(Errno::NOENT), Error::Absent { .. }));
    assert!(matches!(kind(Errno::DQUOT), Error::Quota { .. }));
    assert!(matches!(kind(Errno::MFILE), Error::Quota { .. }));
    for errno in [Errno::INVAL, Errno::IO, Errno::NODEV, Errno::OPNOTSUPP, Errno::AGAIN] {
        assert!(matches!(kind(errno), Error::Failed { .. }), "{errno}");
    }
}

#[test]
fn a_payload_that_is_too_large_is_never_sent() {
    let (fake, heard) = listening();
    let mut broker = Broker::connect_to(fake.path()).unwrap();
    let error = broker.add(slot("1/1"), None, &[0; 32769]).unwrap_err();
    assert!(matches!(error, Error::TooLarge { size: 32769, .. }), "{error:?}");
    drop(broker);
    assert!(!heard.recv().unwrap());
}

#[test]
fn answers_that_make_no_sense_are_protocol_errors() {
    let (asked, other) = (slot("1/1"), slot("1/2"));
    let mut twice = reply(-2, "one");
    twice.extend(reply(-2, "two"));
    let answers = [
        vec![0xff; 16],
        b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec(),
        add_head(other, -1, 0).to_vec(),
        add_head(asked, 7, 0).to_vec(),
        info(Info { used: 0, total: 0 }).to_vec(),
        reply(0, "done"),
        reply(5, "a positive number"),
        twice,
    ];
    for answer in answers {
        let fake = Fake::saying(answer.clone(), Vec::new());
        let mut broker = Broker::connect_to(fake.path()).unwrap();
        let error = broker.get(asked).unwrap_err();
        assert!(matches!(error, Error::Protocol { .. }), "{answer:?} gave {error:?}");
    }
}

#[test]
fn an_answer_that_breaks_off_is_an_error_and_is_not_asked_for_again() {
    let connections = Arc::new(Mutex::new(0));
    let counted = Arc::clone(&connections);
    let fake = Fake::playing(move |mut peer| {
        *counted.lock().unwrap() += 1;
        peer.next();
        peer.send(&add_head(slot("1/1"), -1, 100)[..10], &[]);
    });
    let mut broker = Broker::connect_to(fake.path()).unwrap();
    let error = broker.get(slot("1/1")).unwrap_err();
    assert!(matches!(error, Error::Broken { .. }), "{error:?}");
    assert_eq!(*connections.lock().unwrap(), 1);
}

#[test]
fn an_answer_in_pieces_is_one_answer() {
    let fake = Fake::playing(|mut peer| {
        while peer.next().is_some() {
            let mut bytes = add_head(slot("1/1"), -1, 5).to_vec();
            bytes.extend(b"hello");
            for byte in bytes {
                peer.send(&[byte], &[]);
                thread::sleep(Duration::from_millis(1));
            }
        }
    });
    let mut broker = Broker::connect_to(fake.path()).unwrap();
    for _ in 0..3 {
        assert_eq!(broker.get(slot("1/1")).unwrap().payload, b"hello");
    }
}

#[test]
fn descriptors_that_no_answer_announces_are_closed() {
    let ordinary = add_head(slot("1/1"), -1, 0).to_vec();
    let refusal = reply(-13, "refused");
    let one = add_head(slot("1/1"), 3, 0).to_vec();
    for (answer, count) in [(ordinary, 1), (refusal, 1), (one.clone(), 2), (one, 253)] {
        let (reading, writing) = pipe();
        let copies = (0..count).map(|_| writing.try_clone().unwrap()).collect::<Vec<_>>();
        let mut copies = Some(copies);
        let fake = Fake::playing(move |mut peer| {
            peer.next();
            peer.send(&answer, &support::borrowed(&copies.take().unwrap()));
        });
        let mut broker = Broker::connect_to(fake.path()).unwrap();
        let error = broker.get(slot("1/1")).unwrap_err();
        assert!(matches!(error, Error::Protocol { .. }), "{error:?}");
        drop(writing);
        all_closed(reading);
    }
}

#[test]
fn a_broker_that_is_not_there_is_told_with_its_path() {
    let fake = Fake::absent();
    let started = Instant::now();
    let error = Broker::connect_to(fake.path()).unwrap_err();
    assert!(started.elapsed() < Duration::from_secs(1), "the first connection is tried once");
    assert!(matches!(error, Error::Broken { .. }), "{error:?}");
    assert!(error.to_string().contains(fake.path().to_str().unwrap()), "{error}");
    let error = Broker::connect_to("/".repeat(200)).unwrap_err();
    assert!(error.to_string().contains("107 bytes"), "{error}");
}

#[test]
fn a_broker_that_runs_as_somebody_else_is_sent_nothing_and_its_uid_is_told() {
    let own = rustix::process::geteuid().as_raw();
    let (fake, heard) = listening();
    let connect = |trust| Connector::new().socket(fake.path()).trust(trust).connect();
    let error = connect(Trust::Uid(own + 1)).unwrap_err();
    assert!(matches!(error, Error::Untrusted { uid, .. } if uid == own), "{error:?}");
    assert!(error.to_string().contains(&format!("user id {own}")), "{error}");
    for trust in [Trust::RootOrSelf, Trust::Uid(own), Trust::Anyone] {
        connect(trust).unwrap();
    }
    assert!(heard.iter().take(4).all(|anything| !anything));
}

#[test]
fn an_out_of_band_byte_is_read_in_its_place() {
    let fake = Fake::playing(|mut peer| {
        peer.next();
        let answer = reply(0, "done");
        let (last, rest) = answer.split_last().unwrap();
        peer.send(rest, &[]);
        rustix::net::send(&peer.stream, &[*last], rustix::net::SendFlags::OOB).unwrap();
        peer.next();
    });
    let patience = Some(Duration::from_secs(20));
    let connector = Connector::new().socket(fake.path()).timeout(patience);
    connector.connect().unwrap().del(slot("1/0")).unwrap();
}

#[test]
fn an_answer_that_does_not_come_in_time_is_a_timeout_and_the_next_request_starts_afresh() {
    let (gave_up, has_given_up) = mpsc::channel();
    let (answered, was_answered) = mpsc::channel();
    let mut late = Some((has_given_up, answered));
    let fake = Fake::playing(move |mut peer| {
        while peer.next().is_some() {
            let Some((has_given_up, answered)) = late.take() else {
                peer.send(&info(Info { used: 1, total: 2 }), &[]);
                continue;
            };
            has_given_up.recv().unwrap();
            peer.send(&info(Info { used: 7, total: 7 }), &[]);
            answered.send(()).unwrap();
        }
    });
    let limit = Some(Duration::from_millis(300));
    let mut broker = Connector::new().socket(fake.path()).timeout(limit).connect().unwrap();
    let error = broker.tag(slot("1/0").tag).unwrap_err();
    assert!(matches!(error, Error::Timeout { .. }), "{error:?}");
    gave_up.send(()).unwrap();
    was_answered.recv().unwrap();
    assert_eq!(broker.tag(slot("1/0").tag).unwrap(), Info { used: 1, total: 2 });
}

#[test]
fn a_quota_that_deposits_do_not_fill_brings_no_advice_to_delete_them() {
    let advice = |said: &str| {
        let fake = Fake::failing(Errno::DQUOT.get(), said);
        let mut broker = Connector::new().socket(fake.path()).connect().unwrap();
        broker.add(slot("1/1"), None, b"x").unwrap_err().to_string()
    };
    let connections =
        advice("this user has 9 connections already, the most that max_connections_per_uid allows");
    assert!(connections.contains("close connections of this user"), "{connections}");
    assert!(!connections.contains("delete deposits"), "{connections}");
    let deposits = advice("this user has 9 deposits already (max_slots_per_uid)");
    assert!(deposits.contains("delete deposits"), "{deposits}");
    assert!(!deposits.contains("close connections"), "{deposits}");
}

#[test]
fn only_requests_on_a_tag_that_find_no_answer_suspect_another_session() {
    let silent = || Fake::playing(|mut peer| while peer.next().is_some() {});
    let broker = |fake: &Fake| {
        let timeout = Duration::from_millis(20);
        Connector::new().socket(fake.path()).timeout(Some(timeout)).connect().unwrap()
    };
    let (fake, other) = (silent(), silent());
    let on_a_tag = broker(&fake).get(slot("1/1")).unwrap_err().to_string();
    assert!(on_a_tag.contains("another session may hold the tag"), "{on_a_tag}");
    let without = broker(&other).find("web").unwrap_err().to_string();
    assert!(
        without.contains("the broker may be overloaded, hang, or not start; its log says why"),
        "{without}"
    );
}

#[test]
fn an_empty_slot_asks_for_a_deposit_only_from_who_wanted_one() {
    let fake = Fake::failing(Errno::NOENT.get(), "the slot is empty");
    let mut broker = Connector::new().socket(fake.path()).connect().unwrap();
    let told = broker.del(slot("1/1")).unwrap_err().to_string();
    assert!(told.ends_with("there is nothing to delete"), "{told}");
    let fake = Fake::failing(Errno::NOENT.get(), "the slot is empty");
    let mut broker = Connector::new().socket(fake.path()).connect().unwrap();
    let told = broker.get(slot("1/1")).unwrap_err().to_string();
    assert!(told.ends_with("add something first"), "{told}");
}

#[test]
fn an_answer_that_was_sent_before_the_question_was_read_counts() {
    let (left, has_left) = mpsc::channel();
    let fake = Fake::playing(move |mut peer| {
        peer.send(&reply(-122, "too many connections"), &[]);
        drop(peer);
        left.send(()).unwrap();
    });
    let mut broker = Broker::connect_to(fake.path()).unwrap();
    has_left.recv().unwrap();
    let error = broker.add(slot("1/1"), None, &[7; 32768]).unwrap_err();
    assert!(matches!(error, Error::Quota { .. }), "{error:?}");
}

#[test]
fn no_debug_output_shows_a_payload() {
    let fake = Fake::honest();
    let mut broker = Broker::connect_to(fake.path()).unwrap();
    broker.add(slot("1/1"), None, SECRET.as_bytes()).unwrap();
    let deposit = broker.get(slot("1/1")).unwrap();
    assert_eq!(deposit.payload, SECRET.as_bytes());
    assert_hides_secret(&broker);
    assert_hides_secret(&deposit);
    let index = slot("1/1").index;
    assert_hides_secret(&NewDeposit { index, descriptor: None, payload: SECRET.as_bytes() });
    let shown = format!("{broker:?}");
    assert!(shown.contains(fake.path().to_str().unwrap()), "{shown}");
}

#[test]
fn an_error_becomes_an_io_error_of_its_kind_and_stays_what_it_was() {
    use std::io::{self, ErrorKind};
    for (errno, kind) in [
        (Errno::ACCES, ErrorKind::PermissionDenied),
        (Errno::NOENT, ErrorKind::NotFound),
        (Errno::DQUOT, ErrorKind::QuotaExceeded),
        (Errno::STALE, ErrorKind::StaleNetworkFileHandle),
        (Errno::INVAL, ErrorKind::InvalidInput),
    ] {
        let fake = Fake::saying(reply(-errno.get(), "no"), Vec::new());
        let error = Broker::connect_to(fake.path()).unwrap().get(slot("1/1")).unwrap_err();
        let (said, error) = (error.to_string(), io::Error::from(error));
        assert_eq!((error.kind(), error.to_string()), (kind, said));
        assert!(error.get_ref().unwrap().is::<Error>());
    }
    let error = Broker::connect_to("/nonexistent/socket").unwrap_err();
    assert_eq!(io::Error::from(error).kind(), ErrorKind::NotFound);
}
