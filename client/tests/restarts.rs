//! A broker that goes away in the middle of a request and comes back.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod support;

use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use fdbroker::{Broker, Connector, Error};
use fdbroker_wire::{Errno, Info, reply};
use support::{Fake, Shelf, nobody, slot};

/// What a broker does at the moment of its death.
#[derive(Clone, Copy)]
enum Dies {
    /// Before it has read the request.
    Unread,
    /// With the request read, not carried out.
    BeforeTheWork,
    /// With the work done, not answered.
    BeforeTheAnswer,
}

/// A broker that dies at every second request, and keeps what it was given.
fn mortal(dies: Dies) -> Fake {
    let mut shelf = Shelf::default();
    Fake::playing(move |mut peer| {
        if let Some(message) = peer.next() {
            shelf.answer(&mut peer, message);
        }
        match dies {
            Dies::Unread => {}
            Dies::BeforeTheWork => drop(peer.next()),
            Dies::BeforeTheAnswer => {
                let mut deaf = std::mem::replace(&mut peer, nobody());
                if let Some(message) = deaf.next() {
                    shelf.answer(&mut peer, message);
                }
            }
        }
    })
}

#[test]
fn no_request_notices_that_the_broker_dies_again_and_again() {
    for dies in [Dies::Unread, Dies::BeforeTheWork, Dies::BeforeTheAnswer] {
        let fake = mortal(dies);
        let mut broker = Broker::connect_to(fake.path()).unwrap();
        for round in 0..20 {
            let payload = vec![b'x'; 1 << (round % 16)];
            broker.add(slot("1/1"), None, &payload).unwrap();
            assert_eq!(broker.get(slot("1/1")).unwrap().payload, payload);
            let total = i32::try_from(payload.len()).unwrap();
            assert_eq!(broker.tag(slot("1/0").tag).unwrap(), Info { used: 2, total });
            broker.del(slot("1/1")).unwrap();
        }
    }
}

#[test]
fn only_a_repeated_del_may_find_nothing() {
    let fake = mortal(Dies::BeforeTheAnswer);
    let mut broker = Broker::connect_to(fake.path()).unwrap();
    broker.add(slot("1/1"), None, b"").unwrap();
    broker.del(slot("1/1")).unwrap();
    let fake = Fake::honest();
    let mut broker = Broker::connect_to(fake.path()).unwrap();
    assert!(matches!(broker.del(slot("1/1")), Err(Error::Absent { .. })));
}

#[test]
fn a_broker_that_comes_back_at_a_new_socket_file_is_found() {
    let (died, has_died) = mpsc::channel();
    let fake = Arc::new(Fake::playing(move |mut peer| {
        peer.next();
        drop(peer);
        died.send(()).unwrap();
    }));
    let mut broker = Broker::connect_to(fake.path()).unwrap();
    std::fs::remove_file(fake.path()).unwrap();
    let later = Arc::clone(&fake);
    thread::spawn(move || {
        has_died.recv().unwrap();
        let mut shelf = Shelf::default();
        later.listen(move |peer| shelf.serve(peer));
    });
    broker.add(slot("1/1"), None, b"kept").unwrap();
    assert_eq!(broker.get(slot("1/1")).unwrap().payload, b"kept");
}

#[test]
fn a_broker_that_stays_away_is_given_up_when_patience_ends() {
    let fake = Fake::playing(|mut peer| drop(peer.next()));
    let patience = Duration::from_millis(200);
    let mut broker = Connector::new().socket(fake.path()).retry_for(patience).connect().unwrap();
    std::fs::remove_file(fake.path()).unwrap();
    let started = Instant::now();
    let error = broker.get(slot("1/1")).unwrap_err();
    assert!(matches!(error, Error::Broken { .. }), "{error:?}");
    assert!((patience..patience * 10).contains(&started.elapsed()));
}

#[test]
fn without_patience_a_lost_connection_is_an_error_and_the_next_request_connects_anew() {
    let fake = mortal(Dies::Unread);
    let mut broker =
        Connector::new().socket(fake.path()).retry_for(Duration::ZERO).connect().unwrap();
    broker.add(slot("1/1"), None, b"kept").unwrap();
    let error = broker.get(slot("1/1")).unwrap_err();
    assert!(matches!(error, Error::Broken { .. }), "{error:?}");
    assert_eq!(broker.get(slot("1/1")).unwrap().payload, b"kept");
}

#[test]
fn a_broker_that_is_starting_is_asked_again() {
    let asked = Arc::new(Mutex::new(0));
    let count = Arc::clone(&asked);
    let fake = Fake::playing(move |mut peer| {
        while peer.next().is_some() {
            let mut asked = count.lock().unwrap();
            *asked += 1;
            let rc = if *asked < 5 { -Errno::AGAIN.get() } else { 0 };
            peer.send(&reply(rc, "starting"), &[]);
        }
    });
    let mut broker = Broker::connect_to(fake.path()).unwrap();
    broker.add(slot("1/1"), None, b"").unwrap();
    assert_eq!(*asked.lock().unwrap(), 5);
}
