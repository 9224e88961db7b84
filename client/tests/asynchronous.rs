//! The client on tokio, with a broker that says what a test wants: requests under way at once,
//! claims and events, brokers that go away and come back.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod support;

use std::future::Future;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use fdbroker::tokio::Broker;
use fdbroker::{
    Claimed, Connector, Errno, Error, Event, Feature, Mode, NewDeposit, State, Tag, What,
};
use fdbroker_wire::claim::ClaimRequest;
use fdbroker_wire::version2::Features;
use fdbroker_wire::{Hello, Info, Message, hello, info, reply};
use support::{Fake, Peer, SECRET, Shelf, assert_hides_secret, slot};

const MINUTE: Duration = Duration::from_secs(60);

fn run<F: Future>(future: F) -> F::Output {
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    runtime.worker_threads(2).enable_all().build().unwrap().block_on(future)
}

fn tag(number: i16) -> Tag {
    Tag::new(number).unwrap()
}

fn event(tag: i16, what: What, claim: i32) -> Event {
    let left = Duration::from_millis(1500);
    Event { tag: self::tag(tag), what, claim, pid: 77, uid: 1000, left }
}

fn bytes(event: Event) -> Vec<u8> {
    Message::<OwnedFd>::Extended(event.into_extended()).to_bytes()
}

/// What a broker that grants every claim answers.
fn granting(message: Message<OwnedFd>) -> Vec<u8> {
    match message {
        Message::Hello(_) => hello(support::GREETING).to_vec(),
        Message::Extended(message) => match ClaimRequest::from_extended(message).unwrap() {
            ClaimRequest::Claim { tag, .. } => {
                let claimed = Claimed { tag, state: State::Owned, claim: 3 };
                Message::<OwnedFd>::Extended(claimed.into_extended()).to_bytes()
            }
            _ => reply(0, "done"),
        },
        Message::Tag(tag) => info(Info { used: tag.get().into(), total: 2 }).to_vec(),
        other => panic!("not asked for here: {other:?}"),
    }
}

/// A broker that keeps deposits, and knows version 2.
fn honest() -> Fake {
    let shelf = Shelf::default();
    Fake::greeting(move |peer, message| shelf.clone().answer(peer, message))
}

#[test]
fn what_was_deposited_comes_back_with_its_descriptor() {
    run(async {
        let fake = honest();
        let broker = Broker::connect_to(fake.path()).await.unwrap();
        let file = tempfile::tempfile().unwrap();
        let payload = vec![b'x'; 32768];
        broker.add(slot("1/1"), Some(file.as_fd()), &payload).await.unwrap();
        broker.add_numbered(slot("1/2"), file.as_fd(), 77, b"").await.unwrap();
        let deposit = broker.get(slot("1/1")).await.unwrap();
        assert_eq!(deposit.payload, payload);
        let flags = rustix::io::fcntl_getfd(deposit.descriptor.unwrap()).unwrap();
        assert!(flags.contains(rustix::io::FdFlags::CLOEXEC));
        assert_eq!(broker.get(slot("1/2")).await.unwrap().ufd, 77);
        assert_eq!(broker.tag(tag(1)).await.unwrap(), Info { used: 3, total: 32768 });
        broker.del(slot("1/1")).await.unwrap();
        assert!(matches!(broker.get(slot("1/1")).await, Err(Error::Absent { .. })));
        let large = broker.add(slot("1/1"), None, &[0; 32769]).await;
        assert!(matches!(large, Err(Error::TooLarge { size: 32769, .. })));
    });
}

#[test]
fn requests_of_clones_go_out_without_waiting_for_one_another() {
    const AT_ONCE: i16 = 100;
    run(async {
        // It answers nothing before it has all of them.
        let fake = Fake::playing(|mut peer| {
            peer.next().map(granting).into_iter().for_each(|answer| peer.send(&answer, &[]));
            let asked: Vec<_> = (0..AT_ONCE).map(|_| peer.next().unwrap()).collect();
            asked.into_iter().for_each(|message| peer.send(&granting(message), &[]));
            peer.next();
        });
        let broker = Broker::connect_to(fake.path()).await.unwrap();
        let asking: Vec<_> = (0..AT_ONCE)
            .map(|number| {
                let broker = broker.clone();
                tokio::spawn(async move { broker.tag(tag(number)).await.unwrap() })
            })
            .collect();
        for (number, answer) in asking.into_iter().enumerate() {
            assert_eq!(usize::try_from(answer.await.unwrap().used).unwrap(), number);
        }
    });
}

#[test]
fn a_broker_of_version_1_is_asked_one_thing_at_a_time() {
    run(async {
        let shelf = Shelf::default();
        let fake = Fake::playing(move |mut peer| {
            let mut shelf = shelf.clone();
            while let Some(message) = peer.next() {
                assert!(!peer.has_more(), "the second of two would be lost");
                shelf.answer(&mut peer, message);
            }
        });
        let broker = Broker::connect_to(fake.path()).await.unwrap();
        let asking: Vec<_> = (0..50)
            .map(|number| {
                let broker = broker.clone();
                tokio::spawn(async move {
                    broker.add(slot(&format!("1/{number}")), None, b"kept").await.unwrap();
                })
            })
            .collect();
        for asked in asking {
            asked.await.unwrap();
        }
        assert_eq!(broker.tag(tag(1)).await.unwrap(), Info { used: 50, total: 200 });
        assert!(matches!(broker.status().await, Err(Error::Version1 { .. })));
        assert!(matches!(broker.instance().await, Err(Error::Version1 { .. })));
    });
}

#[test]
fn a_part_that_is_not_served_is_told_with_its_name_and_the_rest_is_served() {
    run(async {
        let granted = Hello { tags: 1, flags: Features::LISTING.flags(), key: 1 };
        let fake = Fake::playing(move |mut peer| {
            while let Some(message) = peer.next() {
                match message {
                    Message::Hello(_) => peer.send(&hello(granted), &[]),
                    message => peer.send(&granting(message), &[]),
                }
            }
        });
        let broker = Broker::connect_to(fake.path()).await.unwrap();
        let error = broker.claim(tag(1), Mode::Live, MINUTE).await.unwrap_err();
        assert!(matches!(error, Error::Unserved { feature: Feature::Claim, .. }), "{error:?}");
        let new = NewDeposit { index: slot("1/1").index, descriptor: None, payload: b"" };
        let error = broker.add_many(tag(1), &[new]).await.unwrap_err();
        assert!(matches!(error, Error::Unserved { feature: Feature::Many, .. }), "{error:?}");
        assert_eq!(broker.tag(tag(4)).await.unwrap(), Info { used: 4, total: 2 });
    });
}

#[test]
fn a_refusal_of_the_connection_is_the_answer_to_whatever_was_asked() {
    run(async {
        let fake = Fake::playing(|mut peer| {
            peer.send(&reply(-Errno::DQUOT.get(), "too many connections"), &[]);
        });
        let broker = Broker::connect_to(fake.path()).await.unwrap();
        let error = broker.add(slot("1/1"), None, &[7; 32768]).await.unwrap_err();
        assert!(matches!(error, Error::Quota { .. }), "{error:?}");
    });
}

#[test]
fn events_reach_who_waits_and_no_answer_is_mistaken() {
    run(async {
        let fake = Fake::playing(|mut peer| {
            let mut number = 0;
            while let Some(message) = peer.next() {
                let greeting = matches!(message, Message::Hello(_));
                let mut all = granting(message);
                if !greeting {
                    number += 1;
                    all.extend(bytes(event(1, What::ClaimedLive, number)));
                }
                all.chunks(7).for_each(|piece| peer.send(piece, &[]));
            }
        });
        let broker = Broker::connect_to(fake.path()).await.unwrap();
        assert!(
            matches!(broker.event(None).await, Err(Error::Broken { .. })),
            "nothing is claimed"
        );
        broker.claim(tag(1), Mode::Live, MINUTE).await.unwrap();
        let (last, waiting) = (event(1, What::ClaimedLive, 51), broker.clone());
        let told = tokio::spawn(async move {
            let mut told = Vec::new();
            while told.last() != Some(&last) {
                told.extend(waiting.event(Some(MINUTE)).await.unwrap());
            }
            told
        });
        for number in 0..50 {
            assert_eq!(broker.tag(tag(number)).await.unwrap().used, i32::from(number));
        }
        assert!(told.await.unwrap().is_sorted_by_key(|event| event.claim));
        assert_eq!(broker.event(Some(Duration::from_millis(20))).await.unwrap(), None);
        assert_eq!(broker.pending_event().unwrap(), None);
    });
}

#[test]
fn an_event_that_was_waited_for_by_who_has_gone_is_not_lost() {
    run(async {
        let (tell, told) = mpsc::channel::<()>();
        let fake = claimed_and(move |peer| {
            told.recv().unwrap();
            peer.send(&bytes(event(1, What::Left, 1)), &[]);
            peer.next();
        });
        let broker = Broker::connect_to(fake.path()).await.unwrap();
        broker.claim(tag(1), Mode::Live, MINUTE).await.unwrap();
        let mut taken = Vec::new();
        for polls in 0..5 {
            assert!(support::dropped_after(polls, broker.event(None)).await.is_none());
        }
        tell.send(()).unwrap();
        for polls in 0..100 {
            taken.extend(support::dropped_after(polls % 5, broker.event(None)).await);
        }
        if taken.is_empty() {
            taken.push(broker.event(Some(MINUTE)).await);
        }
        let taken: Vec<_> = taken.into_iter().map(Result::unwrap).collect();
        assert_eq!(taken, [Some(event(1, What::Left, 1))]);
    });
}

#[test]
fn a_claim_that_was_dropped_while_it_was_asked_may_hold_and_can_be_withdrawn() {
    run(async {
        let (asked, was_asked) = mpsc::channel();
        let fake = Fake::playing(move |mut peer| {
            while let Some(message) = peer.next() {
                // What comes later is not listened for.
                let _ = asked.send(());
                peer.send(&granting(message), &[]);
            }
        });
        let broker = Broker::connect_to(fake.path()).await.unwrap();
        broker.tag(tag(1)).await.unwrap();
        let claiming = broker.clone();
        let claim = tokio::spawn(async move { claiming.claim(tag(1), Mode::Live, MINUTE).await });
        // HEL, TAG, and the claim.
        tokio::task::spawn_blocking(move || {
            for _ in 0..3 {
                was_asked.recv().unwrap();
            }
        })
        .await
        .unwrap();
        claim.abort();
        drop(claim.await);
        // The answer to this comes behind that to the claim.
        broker.tag(tag(1)).await.unwrap();
        broker.withdraw(tag(1)).await.unwrap();
        assert!(broker.withdraw(tag(1)).await.unwrap_err().is_lost(), "nothing is claimed");
    });
}

#[test]
fn claims_are_not_repeated_on_another_connection_and_their_loss_is_told() {
    run(async {
        let fake = claimed_and(|_| ());
        let broker = Broker::connect_to(fake.path()).await.unwrap();
        broker.claim(tag(1), Mode::Live, MINUTE).await.unwrap();
        let error = broker.event(Some(MINUTE)).await.unwrap_err();
        assert!(error.is_lost(), "{error:?}");
        assert!(broker.ready(tag(1)).await.unwrap_err().is_lost());
        let claimed = broker.claim(tag(1), Mode::Again, MINUTE).await.unwrap();
        assert_eq!(claimed.state, State::Owned);
        assert!(broker.event(Some(MINUTE)).await.unwrap_err().is_lost());
    });
}

#[test]
fn a_request_that_connects_anew_unnoticed_does_not_hide_that_claims_were_lost() {
    run(async {
        let fake = claimed_and(|peer| {
            peer.next();
        });
        let broker = Broker::connect_to(fake.path()).await.unwrap();
        broker.claim(tag(1), Mode::Live, MINUTE).await.unwrap();
        // The other connection: HEL, and this.
        broker.tag(tag(1)).await.unwrap();
        assert!(broker.claim(tag(2), Mode::Live, MINUTE).await.unwrap_err().is_lost());
    });
}

#[test]
fn no_request_notices_that_the_broker_dies_again_and_again() {
    run(async {
        let shelf = Shelf::default();
        let answered = Arc::new(AtomicUsize::new(0));
        let deaths = Arc::clone(&answered);
        // It dies before or behind the work, at every fifth request.
        let fake = Fake::playing(move |mut peer| {
            let mut shelf = shelf.clone();
            for number in 0..5 {
                let Some(message) = peer.next() else { return };
                match message {
                    Message::Hello(_) => peer.send(&hello(support::GREETING), &[]),
                    message if number < 4 => shelf.answer(&mut peer, message),
                    message if deaths.fetch_add(1, Ordering::Relaxed).is_multiple_of(2) => {
                        shelf.answer(&mut support::nobody(), message);
                    }
                    _unheard => {}
                }
            }
        });
        let broker = Broker::connect_to(fake.path()).await.unwrap();
        let asking: Vec<_> = (0..4)
            .map(|number| {
                let broker = broker.clone();
                tokio::spawn(async move {
                    for round in 0..20 {
                        let slot = slot(&format!("1/{number}"));
                        let payload = vec![b'x'; 1 << (round % 16)];
                        broker.add(slot, None, &payload).await.unwrap();
                        assert_eq!(broker.get(slot).await.unwrap().payload, payload);
                        broker.del(slot).await.unwrap();
                    }
                })
            })
            .collect();
        for asked in asking {
            asked.await.unwrap();
        }
        assert!(answered.load(Ordering::Relaxed) > 10, "it died often enough to mean something");
    });
}

#[test]
fn a_broker_that_stays_away_is_given_up_when_patience_ends() {
    run(async {
        let fake = Fake::playing(drop);
        let patience = Duration::from_millis(200);
        let connector = Connector::new().socket(fake.path()).retry_for(patience);
        let broker = connector.connect_async().await.unwrap();
        std::fs::remove_file(fake.path()).unwrap();
        let started = Instant::now();
        let error = broker.get(slot("1/1")).await.unwrap_err();
        assert!(matches!(error, Error::Broken { .. }) && error.is_lost(), "{error:?}");
        assert!((patience..patience * 10).contains(&started.elapsed()));
        let error = Broker::connect_to(fake.path()).await.unwrap_err();
        assert!(matches!(error, Error::Broken { .. }), "{error:?}");
    });
}

#[test]
fn a_broker_that_is_starting_is_asked_again() {
    run(async {
        let asked = AtomicUsize::new(0);
        let fake = Fake::playing(move |mut peer| {
            while let Some(message) = peer.next() {
                match asked.fetch_add(1, Ordering::Relaxed) {
                    0..3 => peer.send(&reply(-Errno::AGAIN.get(), "starting"), &[]),
                    _ => peer.send(&granting(message), &[]),
                }
            }
        });
        let broker = Broker::connect_to(fake.path()).await.unwrap();
        assert_eq!(broker.tag(tag(4)).await.unwrap(), Info { used: 4, total: 2 });
    });
}

#[test]
fn an_answer_that_does_not_come_in_time_is_a_timeout_and_the_others_are_asked_again() {
    run(async {
        let connections = AtomicUsize::new(0);
        let fake = Fake::playing(move |mut peer| {
            let first = connections.fetch_add(1, Ordering::Relaxed) == 0;
            while let Some(message) = peer.next() {
                match message {
                    // Is never answered, nor is what comes behind it.
                    Message::Tag(asked) if first && asked == tag(1) => {
                        while peer.next().is_some() {}
                    }
                    message => peer.send(&granting(message), &[]),
                }
            }
        });
        let limit = Some(Duration::from_millis(200));
        let connector = Connector::new().socket(fake.path()).timeout(limit);
        let broker = connector.connect_async().await.unwrap();
        broker.tag(tag(2)).await.unwrap();
        let (late, behind) = (broker.clone(), broker.clone());
        let late = tokio::spawn(async move { late.tag(tag(1)).await });
        let behind = tokio::spawn(async move {
            // Behind the other one, or before it.
            behind.tag(tag(3)).await
        });
        let error = late.await.unwrap().unwrap_err();
        assert!(matches!(error, Error::Timeout { .. }), "{error:?}");
        assert_eq!(behind.await.unwrap().unwrap().used, 3);
        assert_eq!(broker.tag(tag(1)).await.unwrap().used, 1);
    });
}

#[test]
fn an_answer_that_makes_no_sense_is_told_and_ends_the_connection() {
    run(async {
        let connections = AtomicUsize::new(0);
        let fake = Fake::playing(move |mut peer| {
            let first = connections.fetch_add(1, Ordering::Relaxed) == 0;
            while let Some(message) = peer.next() {
                match message {
                    Message::Tag(_) if first => peer.send(&reply(5, "positive"), &[]),
                    message => peer.send(&granting(message), &[]),
                }
            }
        });
        let broker = Broker::connect_to(fake.path()).await.unwrap();
        let error = broker.tag(tag(1)).await.unwrap_err();
        assert!(matches!(error, Error::Protocol { .. }), "{error:?}");
        assert_eq!(broker.tag(tag(1)).await.unwrap().used, 1, "on another connection");
    });
}

#[test]
fn a_session_whose_runtime_has_ended_says_so() {
    let fake = honest();
    let broker = run(Broker::connect_to(fake.path())).unwrap();
    let error = run(broker.get(slot("1/1"))).unwrap_err();
    assert!(error.to_string().contains("runtime"), "{error}");
}

#[test]
fn the_connection_ends_with_the_last_clone() {
    let (tell, told) = mpsc::channel();
    let fake = Fake::playing(move |mut peer| {
        while peer.next().map(|message| peer.send(&granting(message), &[])).is_some() {}
        tell.send(()).unwrap();
    });
    run(async {
        let broker = Broker::connect_to(fake.path()).await.unwrap();
        let other = broker.clone();
        broker.tag(tag(1)).await.unwrap();
        drop(broker);
        other.tag(tag(1)).await.unwrap();
        assert!(told.try_recv().is_err());
        drop(other);
        tokio::task::spawn_blocking(move || told.recv().unwrap()).await.unwrap();
    });
}

/// A broker that on each connection grants one claim, or answers one other thing, and then goes on
/// so until it closes the connection.
fn claimed_and(then: impl Fn(&mut Peer) + Send + 'static) -> Fake {
    Fake::playing(move |mut peer| {
        for _ in 0..2 {
            let Some(message) = peer.next() else { return };
            peer.send(&granting(message), &[]);
        }
        then(&mut peer);
    })
}

#[test]
fn no_debug_output_shows_a_payload() {
    run(async {
        let fake = honest();
        let broker = Broker::connect_to(fake.path()).await.unwrap();
        broker.add(slot("1/1"), None, SECRET.as_bytes()).await.unwrap();
        assert_eq!(broker.get(slot("1/1")).await.unwrap().payload, SECRET.as_bytes());
        assert_hides_secret(&broker);
        let shown = format!("{broker:?}");
        assert!(shown.contains(fake.path().to_str().unwrap()), "{shown}");
    });
}
