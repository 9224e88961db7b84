//! The client that never waits, driven with poll(2).
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod support;

use std::os::fd::{AsFd, OwnedFd};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use fdbroker::{Claimed, Connector, Error, Event, Mode, Outcome, Polled, State, Tag, Ticket, What};
use fdbroker_wire::{Message, add_head, hello, reply};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use support::{Fake, SECRET, Shelf, assert_hides_secret, slot};

fn tag(number: i16) -> Tag {
    Tag::new(number).unwrap()
}

/// Waits until the broker has something, or takes something, or is late.
fn wait(broker: &Polled) {
    let flags = if broker.wants_write() { PollFlags::IN | PollFlags::OUT } else { PollFlags::IN };
    let left = broker.deadline().map(|end| end.saturating_duration_since(Instant::now()));
    let patience = Timespec::try_from(left.unwrap_or(Duration::from_secs(30))).unwrap();
    poll(&mut [PollFd::new(broker, flags)], Some(&patience)).unwrap();
}

/// Goes on until it fails.
fn failure(broker: &mut Polled) -> Error {
    loop {
        match broker.process() {
            Ok(()) => wait(broker),
            Err(error) => return error,
        }
    }
}

fn answer(broker: &mut Polled, ticket: Ticket) -> Result<Outcome, Error> {
    loop {
        broker.process()?;
        match broker.answer(ticket) {
            Some(answer) => return answer,
            None => wait(broker),
        }
    }
}

fn connect(fake: &Fake) -> Polled {
    Connector::new().socket(fake.path()).connect_polled().unwrap()
}

/// A broker that keeps deposits, and knows version 2.
fn honest() -> Fake {
    let shelf = Shelf::default();
    Fake::greeting(move |peer, message| shelf.clone().answer(peer, message))
}

#[test]
fn requests_are_under_way_at_once_and_each_ticket_has_its_own_answer() {
    let fake = honest();
    let mut broker = connect(&fake);
    let file = tempfile::tempfile().unwrap();
    let payload = vec![b'x'; 32768];
    let added: Vec<_> = (0..40)
        .map(|number| {
            broker.add(slot(&format!("1/{number}")), Some(file.as_fd()), &payload[..number])
        })
        .collect();
    let got: Vec<_> = (0..40).map(|number| broker.get(slot(&format!("1/{number}")))).collect();
    let info = broker.tag(tag(1));
    let gone = broker.del(slot("1/3"));
    let absent = broker.get(slot("1/3"));
    for ticket in added {
        assert!(matches!(answer(&mut broker, ticket).unwrap(), Outcome::Done));
    }
    for (number, ticket) in got.into_iter().enumerate() {
        let Outcome::Deposit(deposit) = answer(&mut broker, ticket).unwrap() else { panic!() };
        assert_eq!(deposit.payload, payload[..number]);
        assert!(deposit.descriptor.is_some());
        assert!(broker.answer(ticket).is_none(), "once");
    }
    assert!(matches!(answer(&mut broker, info).unwrap(), Outcome::Info(info) if info.used == 40));
    assert!(matches!(answer(&mut broker, gone).unwrap(), Outcome::Done));
    assert!(matches!(answer(&mut broker, absent), Err(Error::Absent { .. })));
}

#[test]
fn what_is_known_without_asking_is_answered_at_once() {
    let fake = honest();
    let mut broker = connect(&fake);
    let large = broker.add(slot("1/1"), None, &[0; 32769]);
    assert!(matches!(broker.answer(large), Some(Err(Error::TooLarge { .. }))));
    let nothing = broker.get_many(tag(1), &[]);
    assert!(matches!(broker.answer(nothing), Some(Ok(Outcome::Many(none))) if none.is_empty()));
    let unclaimed = broker.ready(tag(1));
    assert!(matches!(broker.answer(unclaimed), Some(Err(Error::Broken { .. }))));
}

#[test]
fn what_was_forgotten_is_closed_and_nobody_gets_it() {
    let (reading, writing) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).unwrap();
    let (go_on, may_go_on) = mpsc::channel::<()>();
    let (asked, was_asked) = mpsc::channel();
    let mut once = Some(writing);
    let fake = Fake::playing(move |mut peer| {
        peer.next();
        peer.send(&hello(support::GREETING), &[]);
        peer.next();
        asked.send(()).unwrap();
        may_go_on.recv().unwrap();
        let writing = once.take().unwrap();
        peer.send(&add_head(slot("1/1"), 5, 0), &[writing.as_fd()]);
        drop(writing);
        peer.next();
        peer.send(&add_head(slot("1/2"), -1, 0), &[]);
        peer.next();
    });
    let mut broker = connect(&fake);
    let forgotten = broker.get(slot("1/1"));
    // HEL, its answer, and the request: until the broker has all of that.
    let end = Instant::now() + Duration::from_secs(30);
    while was_asked.try_recv().is_err() {
        assert!(Instant::now() < end, "it is asked");
        broker.process().unwrap();
    }
    broker.forget(forgotten);
    go_on.send(()).unwrap();
    let other = broker.get(slot("1/2"));
    assert!(matches!(answer(&mut broker, other).unwrap(), Outcome::Deposit(_)));
    assert!(broker.answer(forgotten).is_none());
    // The other end is closed while the session lives.
    assert_eq!(rustix::io::read(&reading, &mut [0; 1]), Ok(0));
}

#[test]
fn a_lost_connection_is_told_to_all_and_another_one_is_as_good() {
    let shelf = Shelf::default();
    let fake = Fake::playing(move |mut peer| {
        for _ in 0..2 {
            match peer.next() {
                Some(Message::Hello(_)) => peer.send(&hello(support::GREETING), &[]),
                Some(message) => shelf.clone().answer(&mut peer, message),
                None => return,
            }
        }
        peer.next();
    });
    let mut broker = connect(&fake);
    let first = broker.add(slot("1/1"), None, b"kept");
    assert!(matches!(answer(&mut broker, first).unwrap(), Outcome::Done));
    let tickets = [broker.get(slot("1/1")), broker.tag(tag(1)), broker.get(slot("1/2"))];
    let error = failure(&mut broker);
    assert!(error.is_lost(), "{error:?}");
    for ticket in tickets {
        let lost = broker.answer(ticket).unwrap();
        assert!(matches!(&lost, Err(error) if error.is_lost()), "{lost:?}");
    }
    assert!(broker.process().unwrap_err().is_lost());
    let early = broker.get(slot("1/1"));
    assert!(matches!(broker.answer(early), Some(Err(Error::Broken { .. }))));
    broker.reconnect().unwrap();
    let again = broker.get(slot("1/1"));
    let Outcome::Deposit(deposit) = answer(&mut broker, again).unwrap() else { panic!() };
    assert_eq!(deposit.payload, b"kept");
}

#[test]
fn claims_and_their_events_come_through() {
    let event = Event {
        tag: tag(1),
        what: What::ClaimedLive,
        claim: 3,
        pid: 7,
        uid: 8,
        left: Duration::from_secs(1),
    };
    let fake = Fake::greeting(move |peer, message| {
        let Message::Extended(message) = message else { panic!("{message:?}") };
        match fdbroker_wire::claim::ClaimRequest::from_extended(message).unwrap() {
            fdbroker_wire::claim::ClaimRequest::Claim { tag, .. } => {
                let claimed = Claimed { tag, state: State::Owned, claim: 3 }.into_extended();
                let mut both = Message::<OwnedFd>::Extended(claimed).to_bytes();
                both.extend(Message::<OwnedFd>::Extended(event.into_extended()).to_bytes());
                both.chunks(5).for_each(|piece| peer.send(piece, &[]));
            }
            _ => peer.send(&reply(0, "done"), &[]),
        }
    });
    let mut broker = connect(&fake);
    let claimed = broker.claim(tag(1), Mode::Live, Duration::from_secs(60));
    let claimed = answer(&mut broker, claimed).unwrap();
    assert!(matches!(claimed, Outcome::Claimed(Claimed { state: State::Owned, .. })));
    let told = loop {
        broker.process().unwrap();
        match broker.next_event() {
            Some(event) => break event,
            None => wait(&broker),
        }
    };
    assert_eq!(told, event);
    let ready = broker.ready(tag(1));
    assert!(matches!(answer(&mut broker, ready).unwrap(), Outcome::Done));
}

#[test]
fn an_answer_that_is_late_ends_the_connection() {
    let fake = Fake::playing(|mut peer| {
        peer.next();
        peer.send(&hello(support::GREETING), &[]);
        while peer.next().is_some() {}
    });
    let limit = Some(Duration::from_millis(100));
    let connector = Connector::new().socket(fake.path()).timeout(limit);
    let mut broker = connector.connect_polled().unwrap();
    let ticket = broker.get(slot("1/1"));
    let error = failure(&mut broker);
    assert!(matches!(error, Error::Timeout { .. }), "{error:?}");
    assert!(matches!(broker.answer(ticket), Some(Err(Error::Timeout { .. }))));
}

#[test]
fn an_answer_that_makes_no_sense_is_told_where_it_belongs() {
    let fake = Fake::greeting(|peer, _| peer.send(&reply(5, "positive"), &[]));
    let mut broker = connect(&fake);
    let ticket = broker.get(slot("1/1"));
    let error = failure(&mut broker);
    assert!(matches!(error, Error::Protocol { .. }), "{error:?}");
    assert!(matches!(broker.answer(ticket), Some(Err(Error::Protocol { .. }))));
}

#[test]
fn a_broker_of_version_1_is_told_as_one_and_serves_what_it_can() {
    let fake = Fake::honest();
    let mut broker = connect(&fake);
    let (added, claimed) = (
        broker.add(slot("1/1"), None, b"kept"),
        broker.claim(tag(1), Mode::Live, Duration::from_secs(1)),
    );
    assert!(matches!(answer(&mut broker, added).unwrap(), Outcome::Done));
    assert!(matches!(answer(&mut broker, claimed), Err(Error::Version1 { .. })));
}

#[test]
fn no_debug_output_shows_a_payload() {
    let fake = honest();
    let mut broker = connect(&fake);
    let added = broker.add(slot("1/1"), None, SECRET.as_bytes());
    assert_hides_secret(&broker);
    let got = broker.get(slot("1/1"));
    assert!(matches!(answer(&mut broker, added).unwrap(), Outcome::Done));
    let outcome = answer(&mut broker, got).unwrap();
    assert!(matches!(&outcome, Outcome::Deposit(got) if got.payload == SECRET.as_bytes()));
    assert_hides_secret(&outcome);
    let _not_taken = broker.get(slot("1/1"));
    let info = broker.tag(tag(1));
    answer(&mut broker, info).unwrap();
    assert_hides_secret(&broker);
    let shown = format!("{broker:?}");
    assert!(shown.contains(fake.path().to_str().unwrap()), "{shown}");
}
