//! Requests of version 2: HEL before them, what they give, and how each fails.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod support;

use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use fdbroker::{Broker, Connector, Error, Found, Kind, Listed};
use fdbroker_wire::version2::{Answer, Features, Listing, MAX_NAME, Report, Request};
use fdbroker_wire::{Errno, Hello, Message, hello, reply};
use support::{Fake, Peer, slot};

fn entry(place: &str, name: &str) -> Listed {
    Listed {
        slot: slot(place),
        kind: Some(Kind::File),
        resource: false,
        unreachable: false,
        here_only: false,
        route: None,
        owner: None,
        payload: None,
        name: name.to_owned(),
    }
}

/// Has a listing say that there is more, by an entry that finds no room.
fn break_off(listing: &mut Listing) {
    assert!(!listing.push(entry("1/0", &"x".repeat(65536))));
}

/// A broker whose listing comes one entry at a time.
fn listing(entries: Vec<Listed>) -> Fake {
    Fake::answering(move |request| {
        let Request::List { tag, after } = request else { panic!("no LIST: {request:?}") };
        let mut left = entries
            .iter()
            .filter(|entry| tag.is_none_or(|tag| entry.slot.tag == tag))
            .filter(|entry| after.is_none_or(|after| entry.slot > after));
        let mut page = Listing::new();
        left.next().into_iter().for_each(|entry| assert!(page.push(entry.clone())));
        if left.next().is_some() {
            break_off(&mut page);
        }
        Answer::Listing(page)
    })
}

fn report(error: Option<Errno>, text: &str) -> Answer {
    Answer::Report(Report { error, text: text.to_owned() })
}

#[test]
fn names_are_found_as_slots_and_as_tags() {
    let fake = Fake::answering(|request| match request {
        Request::Find(name) if name.as_str() == "web" => {
            Answer::Found(Found::Tag(slot("10/0").tag))
        }
        Request::Find(name) if name.as_str() == "web/3" => Answer::Found(Found::Slot(slot("10/3"))),
        other => panic!("{other:?}"),
    });
    let mut broker = Broker::connect_to(fake.path()).unwrap();
    assert_eq!(broker.find("web").unwrap(), Found::Tag(slot("10/0").tag));
    assert_eq!(broker.find("web/3").unwrap(), Found::Slot(slot("10/3")));
    for wrong in ["", "a\0b", &"x".repeat(MAX_NAME + 1)] {
        let error = broker.find(wrong).unwrap_err();
        assert!(matches!(error, Error::BadName { .. }), "{error:?}");
    }
}

#[test]
fn a_listing_is_asked_for_until_there_is_no_more() {
    let entries = vec![entry("1/0", "zero"), entry("1/7", "a/7"), entry("2/1", "")];
    let fake = listing(entries.clone());
    let mut broker = Broker::connect_to(fake.path()).unwrap();
    assert_eq!(broker.list(None).unwrap(), entries);
    assert_eq!(broker.list(Some(slot("1/0").tag)).unwrap(), entries[..2]);
    assert_eq!(broker.list(Some(slot("9/0").tag)).unwrap(), []);
}

#[test]
fn a_listing_that_does_not_go_on_is_a_protocol_error() {
    let page = |places: &[&str], more: bool| {
        let mut page = Listing::new();
        for place in places {
            assert!(page.push(entry(place, "")));
        }
        if more {
            break_off(&mut page);
        }
        Answer::Listing(page)
    };
    for answer in [
        page(&[], true),
        page(&["1/1"], true),
        page(&["1/2", "1/1"], false),
        page(&["1/1", "1/1"], false),
        page(&["2/1"], false),
        report(None, "no listing"),
    ] {
        let fake = Fake::answering(move |_| answer.clone());
        let mut broker = Broker::connect_to(fake.path()).unwrap();
        let error = broker.list(Some(slot("1/0").tag)).unwrap_err();
        assert!(matches!(error, Error::Protocol { .. }), "{error:?}");
    }
}

#[test]
fn reports_are_given_and_a_failure_carries_them() {
    let fake = Fake::answering(|request| match request {
        Request::Reload => report(Some(Errno::INVAL), "policy.toml:1:2: \x1b[2J\nand more"),
        Request::Purge(None) => report(None, "2 deposits deleted"),
        Request::Purge(Some(place)) if place == slot("1/2") => report(None, "deleted"),
        Request::Status => report(None, "well"),
        Request::Leases { after: 0 } => report(None, "lease=1 uid=2\nlease=3 uid=2\n"),
        Request::Leases { after: 3 } => report(None, "lease=4 uid=3\n"),
        Request::Leases { after: 4 } => report(None, ""),
        Request::EndLease(_) => report(None, "lease 1 has ended"),
        other => panic!("{other:?}"),
    });
    let mut broker = Broker::connect_to(fake.path()).unwrap();
    assert_eq!(broker.status().unwrap(), "well");
    assert_eq!(broker.purge(None).unwrap(), "2 deposits deleted");
    assert_eq!(broker.purge(Some(slot("1/2"))).unwrap(), "deleted");
    assert_eq!(broker.leases().unwrap().lines().count(), 3);
    let error = broker.reload().unwrap_err();
    let said = error.to_string();
    assert!(said.contains("reload") && !said.contains(['\x1b', '\n']), "{said:?}");
    assert_eq!(error.errno(), Some(Errno::INVAL));
    let Error::Reported { text, .. } = error else { panic!("{error:?}") };
    assert!(text.ends_with("and more"));
}

#[test]
fn behind_a_note_of_the_list_of_leases_nothing_is_asked_for() {
    let fake = Fake::answering(|request| match request {
        Request::Leases { after: 0 } => report(None, "lease=1 uid=2\n"),
        Request::Leases { after: 1 } => report(None, "# these are your own\n"),
        other => panic!("{other:?}"),
    });
    let listed = Broker::connect_to(fake.path()).unwrap().leases().unwrap();
    assert_eq!(listed, "lease=1 uid=2\n# these are your own\n");
}

#[test]
fn each_error_number_is_told_apart_as_in_version_1() {
    let kind = |errno: Errno| {
        let fake = Fake::greeting(move |peer, _| peer.send(&reply(-errno.get(), "because"), &[]));
        let mut broker = Connector::new()
            .socket(fake.path())
            .retry_for(Duration::from_millis(20))
            .connect()
            .unwrap();
        let error = broker.find("web/3").unwrap_err();
        assert_eq!(error.errno(), Some(errno));
        assert!(error.to_string().contains("web/3"), "{error}");
        error
    };
    assert!(matches!(kind(Errno::ACCES), Error::Refused { .. }));
    assert!(matches!(kind(Errno::NOENT), Error::Absent { .. }));
    assert!(matches!(kind(Errno::DQUOT), Error::Quota { .. }));
    for errno in [Errno::INVAL, Errno::PROTO, Errno::IO, Errno::AGAIN] {
        assert!(matches!(kind(errno), Error::Failed { .. }), "{errno}");
    }
}

#[test]
fn a_broker_of_version_1_is_said_to_be_one_and_goes_on_serving() {
    let fake = Fake::honest();
    let mut broker = Broker::connect_to(fake.path()).unwrap();
    broker.add(slot("1/1"), None, b"kept").unwrap();
    let errors = [
        broker.find("web").unwrap_err(),
        broker.list(None).unwrap_err(),
        broker.reload().unwrap_err(),
        broker.purge(None).unwrap_err(),
        broker.status().unwrap_err(),
        broker.instance().unwrap_err(),
    ];
    for error in errors {
        assert!(matches!(error, Error::Version1 { .. }), "{error:?}");
        assert!(error.to_string().contains("version 1 of the protocol only"), "{error}");
    }
    assert_eq!(broker.get(slot("1/1")).unwrap().payload, b"kept");
}

#[test]
fn a_refusal_of_the_connection_is_told_as_such_and_not_as_an_old_broker() {
    let fake = Fake::failing(Errno::DQUOT.get(), "too many connections");
    let mut broker = Broker::connect_to(fake.path()).unwrap();
    assert!(matches!(broker.status(), Err(Error::Quota { .. })));
}

#[test]
fn answers_to_a_greeting_that_make_no_sense_are_protocol_errors() {
    for key in [0, -1] {
        let answer = hello(Hello { tags: 1, flags: 3, key });
        let fake = Fake::saying(answer.to_vec(), Vec::new());
        let mut broker = Broker::connect_to(fake.path()).unwrap();
        let error = broker.instance().unwrap_err();
        assert!(matches!(error, Error::Protocol { .. }), "{error:?}");
        let error = broker.status().unwrap_err();
        assert!(matches!(error, Error::Protocol { .. }), "{error:?}");
    }
}

#[test]
fn hello_is_said_once_on_each_connection_and_only_when_it_is_needed() {
    let heard = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&heard);
    let fake = Fake::playing(move |mut peer| {
        // Each connection is lost after four messages.
        for _ in 0..4 {
            let Some(message) = peer.next() else { return };
            log.lock().unwrap().push(name(&message));
            answer(&mut peer, message);
        }
    });
    let mut broker = Broker::connect_to(fake.path()).unwrap();
    broker.get(slot("1/1")).unwrap_err();
    broker.status().unwrap();
    broker.status().unwrap();
    broker.status().unwrap();
    broker.get(slot("1/1")).unwrap_err();
    broker.status().unwrap();
    let expected = ["get", "hello", "status", "status", "hello", "status", "get", "status"];
    assert_eq!(*heard.lock().unwrap(), expected);
}

#[test]
fn the_instance_is_asked_for_anew_each_time() {
    let mut instance = 7;
    let fake = Fake::playing(move |mut peer| {
        peer.next();
        instance += 1;
        peer.send(&hello(Hello { tags: 1, flags: 3, key: instance }), &[]);
    });
    let mut broker = Broker::connect_to(fake.path()).unwrap();
    assert_eq!(broker.instance().unwrap(), 8);
    assert_eq!(broker.instance().unwrap(), 9);
}

#[test]
fn a_broker_that_is_starting_is_greeted_again() {
    let mut asked = 0;
    let fake = Fake::playing(move |mut peer| {
        while let Some(message) = peer.next() {
            asked += 1;
            match asked {
                1..4 => peer.send(&reply(-Errno::AGAIN.get(), "starting"), &[]),
                _ => answer(&mut peer, message),
            }
        }
    });
    let mut broker = Broker::connect_to(fake.path()).unwrap();
    assert_eq!(broker.status().unwrap(), "well");
}

fn name(message: &Message<OwnedFd>) -> &'static str {
    match message {
        Message::Hello(hello) => {
            assert_eq!((hello.tags, hello.key), (0, 0));
            assert_eq!(Features::from_flags(hello.flags), Features::ALL);
            "hello"
        }
        Message::Extended(_) => "status",
        Message::Get(_) => "get",
        other => panic!("{other:?}"),
    }
}

fn answer(peer: &mut Peer, message: Message<OwnedFd>) {
    match message {
        Message::Hello(_) => peer.send(&hello(Hello { tags: 1, flags: 3, key: 5 }), &[]),
        Message::Extended(_) => peer.answer(report(None, "well")),
        _ => peer.send(&reply(-Errno::NOENT.get(), "nothing"), &[]),
    }
}
