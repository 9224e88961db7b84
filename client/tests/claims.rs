//! Claims and events, with a broker that says what a test wants: whatever comes between the
//! answers, and however it is cut, each request has its own answer.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod support;

use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use fdbroker::{Broker, Claimed, Connector, Errno, Error, Event, Feature, Mode, State, Tag, What};
use fdbroker_wire::claim::ClaimRequest;
use fdbroker_wire::version2::Features;
use fdbroker_wire::{Hello, Info, Message, hello, info, reply};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use support::{Fake, Peer, slot};

const MINUTE: Duration = Duration::from_secs(60);

fn tag(number: i16) -> Tag {
    Tag::new(number).unwrap()
}

fn event(tag: i16, what: What) -> Event {
    let left = Duration::from_millis(1500);
    Event { tag: self::tag(tag), what, claim: 3, pid: 77, uid: 1000, left }
}

fn bytes(event: Event) -> Vec<u8> {
    Message::<OwnedFd>::Extended(event.into_extended()).to_bytes()
}

fn claimed(tag: Tag, state: State) -> Vec<u8> {
    let answer = Claimed { tag, state, claim: 3 };
    Message::<OwnedFd>::Extended(answer.into_extended()).to_bytes()
}

/// What a claim of a fake broker's is answered with.
fn answer_to(message: Message<OwnedFd>) -> Vec<u8> {
    match message {
        Message::Extended(message) => match ClaimRequest::from_extended(message).unwrap() {
            ClaimRequest::Claim { tag, .. } => claimed(tag, State::Owned),
            _ => reply(0, "done"),
        },
        Message::Tag(_) => info(Info { used: 4, total: 2 }).to_vec(),
        other => panic!("not asked for here: {other:?}"),
    }
}

/// A broker that grants every claim, and sends three events around each answer, in pieces. They
/// have the number of the answer.
fn talkative(piece: usize) -> Fake {
    let answers = AtomicI32::new(0);
    Fake::greeting(move |peer, message| {
        let claim = answers.fetch_add(1, Ordering::Relaxed) + 1;
        let numbered = |tag, what| bytes(Event { claim, ..event(tag, what) });
        let all = [
            numbered(1, What::ClaimedLive),
            numbered(2, What::ClaimedQuiesced),
            answer_to(message),
            numbered(1, What::Left),
        ];
        all.concat().chunks(piece).for_each(|piece| peer.send(piece, &[]));
    })
}

#[test]
fn events_around_an_answer_are_kept_and_the_answer_is_the_right_one() {
    for piece in [1, 3, 20, 27, 28, 29, 1000] {
        let fake = talkative(piece);
        let mut broker = Broker::connect_to(fake.path()).unwrap();
        let granted = broker.claim(tag(1), Mode::Live, MINUTE).unwrap();
        assert_eq!(granted, Claimed { tag: tag(1), state: State::Owned, claim: 3 });
        assert_eq!(broker.tag(tag(1)).unwrap(), Info { used: 4, total: 2 });
        broker.ready(tag(1)).unwrap();
        let last = Event { claim: 3, ..event(1, What::Left) };
        let told: Vec<_> = std::iter::repeat_with(|| broker.event(Some(MINUTE)).unwrap().unwrap())
            .take_while(|event| *event != last)
            .collect();
        // That of the other tag came before, and none is told out of order.
        assert!(told.contains(&Event { claim: 3, ..event(2, What::ClaimedQuiesced) }), "{told:?}");
        assert!(
            told.iter().filter(|event| event.tag == tag(1)).is_sorted_by_key(|event| event.claim)
        );
        assert_eq!(broker.pending_event().unwrap(), None);
    }
}

#[test]
fn an_event_is_waited_for_no_longer_than_patience_lasts() {
    let (tell, told) = mpsc::channel::<()>();
    let fake = one_after_the_other(move |peer| {
        peer.next().map(answer_to).into_iter().for_each(|answer| peer.send(&answer, &[]));
        told.recv().unwrap();
        for byte in bytes(event(1, What::ClaimedQuiesced)) {
            peer.send(&[byte], &[]);
        }
        peer.next();
    });
    let mut broker = Broker::connect_to(fake.path()).unwrap();
    broker.claim(tag(1), Mode::Live, MINUTE).unwrap();
    let started = Instant::now();
    assert_eq!(broker.event(Some(Duration::from_millis(50))).unwrap(), None);
    assert!(started.elapsed() >= Duration::from_millis(50));
    assert_eq!(broker.pending_event().unwrap(), None);
    tell.send(()).unwrap();
    assert_eq!(broker.event(None).unwrap(), Some(event(1, What::ClaimedQuiesced)));
}

#[test]
fn the_descriptor_is_readable_when_there_is_an_event() {
    let fake = one_after_the_other(|peer| {
        peer.next().map(answer_to).into_iter().for_each(|answer| peer.send(&answer, &[]));
        // It is asked for its descriptor while nothing is there, and then says RELEASE.
        let answer = peer.next().map(answer_to).unwrap();
        peer.send(&answer, &[]);
        thread::sleep(Duration::from_millis(20));
        peer.send(&bytes(event(1, What::Left)), &[]);
        peer.next();
    });
    let mut broker = Broker::connect_to(fake.path()).unwrap();
    broker.claim(tag(1), Mode::Live, MINUTE).unwrap();
    assert!(!readable(&broker, Duration::ZERO));
    broker.release(tag(1)).unwrap();
    assert!(readable(&broker, MINUTE));
    assert_eq!(broker.pending_event().unwrap(), Some(event(1, What::Left)));
}

#[test]
fn an_answer_that_takes_too_long_is_not_given_more_time_by_events() {
    let fake = one_after_the_other(|peer| {
        peer.next().map(answer_to).into_iter().for_each(|answer| peer.send(&answer, &[]));
        peer.next();
        // Until the other side has gone.
        while peer.try_send(&bytes(event(1, What::ClaimedLive))) {
            thread::sleep(Duration::from_millis(10));
        }
    });
    let limit = Some(Duration::from_millis(100));
    let mut broker = Connector::new().socket(fake.path()).timeout(limit).connect().unwrap();
    broker.claim(tag(1), Mode::Live, MINUTE).unwrap();
    let error = broker.release(tag(1)).unwrap_err();
    assert!(matches!(error, Error::Timeout { .. }) && error.is_lost(), "{error:?}");
}

#[test]
fn claims_are_not_repeated_on_another_connection_and_their_loss_is_told_once() {
    let asked = |lost: fn(&mut Broker) -> Error| {
        let fake = lost_after(3);
        let mut broker = Broker::connect_to(fake.path()).unwrap();
        broker.claim(tag(1), Mode::Live, MINUTE).unwrap();
        broker.tag(tag(1)).unwrap();
        let error = lost(&mut broker);
        assert!(matches!(error, Error::Broken { .. }) && error.is_lost(), "{error:?}");
        // What was claimed is not claimed any more.
        assert!(broker.ready(tag(1)).unwrap_err().is_lost());
        assert_eq!(broker.claim(tag(1), Mode::Again, MINUTE).unwrap().state, State::Owned);
        broker.ready(tag(1)).unwrap();
    };
    asked(|broker| broker.claim(tag(2), Mode::Live, MINUTE).unwrap_err());
    asked(|broker| broker.release(tag(1)).unwrap_err());
    asked(|broker| broker.ready(tag(1)).unwrap_err());
    asked(|broker| broker.withdraw(tag(1)).unwrap_err());
    asked(|broker| broker.event(None).unwrap_err());
}

#[test]
fn a_request_that_connects_anew_unnoticed_does_not_hide_that_claims_were_lost() {
    let fake = lost_after(4);
    let mut broker = Broker::connect_to(fake.path()).unwrap();
    broker.claim(tag(1), Mode::Live, MINUTE).unwrap();
    for _ in 0..3 {
        broker.tag(tag(1)).unwrap();
    }
    assert!(broker.claim(tag(2), Mode::Live, MINUTE).unwrap_err().is_lost());
    broker.claim(tag(2), Mode::Live, MINUTE).unwrap();
    assert!(broker.ready(tag(1)).unwrap_err().is_lost());
}

#[test]
fn a_lost_connection_is_readable_and_then_the_loss_is_told() {
    let fake = lost_after(2);
    let mut broker = Broker::connect_to(fake.path()).unwrap();
    broker.claim(tag(1), Mode::Live, MINUTE).unwrap();
    assert!(readable(&broker, MINUTE));
    assert!(broker.pending_event().unwrap_err().is_lost());
    assert!(readable(&broker, Duration::ZERO), "as long as there is no other connection");
}

#[test]
fn where_nothing_is_claimed_no_event_can_be_waited_for() {
    let fake = talkative(100);
    let mut broker = Broker::connect_to(fake.path()).unwrap();
    assert!(matches!(broker.event(None), Err(Error::Broken { .. })));
    broker.claim(tag(1), Mode::Live, MINUTE).unwrap();
    broker.withdraw(tag(1)).unwrap();
    assert!(matches!(broker.event(None), Err(Error::Broken { .. })));
}

#[test]
fn brokers_that_do_not_serve_a_part_are_told_with_its_name_and_serve_the_rest() {
    let granted = Hello { tags: 1, flags: Features::LISTING.flags(), key: 1 };
    let fake = Fake::playing(move |mut peer| {
        while let Some(message) = peer.next() {
            match message {
                Message::Hello(_) => peer.send(&hello(granted), &[]),
                message => peer.send(&answer_to(message), &[]),
            }
        }
    });
    let mut broker = Broker::connect_to(fake.path()).unwrap();
    let error = broker.claim(tag(1), Mode::Live, MINUTE).unwrap_err();
    assert!(matches!(error, Error::Unserved { feature: Feature::Claim, .. }), "{error:?}");
    assert!(error.to_string().contains("CLAIM"), "{error}");
    let error = broker.get_many(tag(1), &[slot("1/1").index]).unwrap_err();
    assert!(matches!(error, Error::Unserved { feature: Feature::Many, .. }), "{error:?}");
    assert_eq!(broker.tag(tag(1)).unwrap(), Info { used: 4, total: 2 });

    let old = Fake::honest();
    let mut broker = Broker::connect_to(old.path()).unwrap();
    let error = broker.claim(tag(1), Mode::Live, MINUTE).unwrap_err();
    assert!(matches!(error, Error::Version1 { .. }), "{error:?}");
}

#[test]
fn a_tag_that_is_being_taken_over_and_one_that_was_are_told_apart() {
    let answering = |errno: Errno| {
        let fake = Fake::failing(errno.get(), "because");
        Connector::new().socket(fake.path()).connect().map(|broker| (fake, broker)).unwrap()
    };
    let (_fake, mut broker) = answering(Errno::BUSY);
    assert!(matches!(broker.add(slot("1/1"), None, b""), Err(Error::Claimed { .. })));
    assert!(matches!(broker.del(slot("1/1")), Err(Error::Claimed { .. })));
    // A resource that too many wait for.
    assert!(matches!(broker.get(slot("1/1")), Err(Error::Failed { errno: Errno::BUSY, .. })));
    let (_fake, mut broker) = answering(Errno::STALE);
    for error in [
        broker.add(slot("1/1"), None, b"").unwrap_err(),
        broker.del(slot("1/1")).unwrap_err(),
        broker.get(slot("1/1")).map(drop).unwrap_err(),
    ] {
        assert!(matches!(error, Error::TakenOver { .. }), "{error:?}");
        assert_eq!(error.errno(), Some(Errno::STALE));
    }
}

#[test]
fn an_answer_about_another_tag_is_a_protocol_error() {
    let fake = Fake::greeting(|peer, _| peer.send(&claimed(tag(9), State::Owned), &[]));
    let mut broker = Broker::connect_to(fake.path()).unwrap();
    let error = broker.claim(tag(1), Mode::Live, MINUTE).unwrap_err();
    assert!(matches!(error, Error::Protocol { .. }), "{error:?}");
}

/// A broker whose connections are lost after so many requests, HEL among them.
fn lost_after(requests: usize) -> Fake {
    Fake::playing(move |mut peer| {
        for _ in 0..requests {
            let Some(message) = peer.next() else { return };
            let answer = match message {
                Message::Hello(_) => hello(support::GREETING).to_vec(),
                message => answer_to(message),
            };
            peer.send(&answer, &[]);
        }
    })
}

/// A broker that plays a part on each connection, once HEL has been said there.
fn one_after_the_other(part: impl Fn(&mut Peer) + Send + 'static) -> Fake {
    Fake::playing(move |mut peer| {
        if let Some(Message::Hello(_)) = peer.next() {
            peer.send(&hello(support::GREETING), &[]);
            part(&mut peer);
        }
    })
}

fn readable(broker: &Broker, patience: Duration) -> bool {
    let patience = Timespec::try_from(patience).unwrap();
    let broker = broker.as_fd();
    poll(&mut [PollFd::new(&broker, PollFlags::IN)], Some(&patience)).unwrap() > 0
}
