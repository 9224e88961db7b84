//! Futures that are dropped at every point where they wait: the session stays in step, and no
//! descriptor stays open. The descriptors of the process are counted, so these tests run one
//! after the other.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod support;

use std::future::Future;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Mutex, MutexGuard, PoisonError, mpsc};
use std::time::{Duration, Instant};

use fdbroker::tokio::Broker;
use fdbroker::{Error, NewDeposit};
use fdbroker_wire::{Message, add_head, hello, reply};
use support::{Fake, Shelf, dropped_after, slot};

static ALONE: Mutex<()> = Mutex::new(());

fn alone() -> MutexGuard<'static, ()> {
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// On a runtime of one thread and on one of two.
fn run<F: Future<Output = ()>>(test: impl Fn() -> F) {
    let mut one = tokio::runtime::Builder::new_current_thread();
    let mut two = tokio::runtime::Builder::new_multi_thread();
    for runtime in [&mut one, two.worker_threads(2)] {
        runtime.enable_all().build().unwrap().block_on(test());
    }
}

fn open_descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

/// Waits until no more descriptors are open than were. There may be fewer: what another test had
/// is closed a little after its end.
async fn settled(before: usize) {
    let end = Instant::now() + Duration::from_secs(30);
    while open_descriptors() > before {
        assert!(Instant::now() < end, "{before} were open, and stay {}", open_descriptors());
        tokio::task::yield_now().await;
    }
}

/// A broker that keeps deposits for ever, and knows version 2.
fn honest() -> Fake {
    let shelf = Shelf::default();
    Fake::greeting(move |peer, message| shelf.clone().answer(peer, message))
}

#[test]
fn requests_that_were_dropped_anywhere_leave_the_others_their_own_answers() {
    let _alone = alone();
    run(|| async {
        let fake = honest();
        let broker = Broker::connect_to(fake.path()).await.unwrap();
        let file = tempfile::tempfile().unwrap();
        broker.add(slot("1/1"), Some(file.as_fd()), b"one").await.unwrap();
        broker.add(slot("1/2"), Some(file.as_fd()), b"two").await.unwrap();
        broker.del(slot("1/9")).await.unwrap_err();
        let before = open_descriptors();
        for round in 0..200 {
            let polls = round % 8;
            dropped_after(polls, broker.get(slot("1/1"))).await;
            dropped_after(polls, broker.tag(slot("1/1").tag)).await;
            dropped_after(polls, broker.del(slot("1/9"))).await;
            dropped_after(polls, broker.add(slot("1/2"), Some(file.as_fd()), b"two")).await;
            let deposit = broker.get(slot("1/2")).await.unwrap();
            assert_eq!(
                (deposit.payload.as_slice(), deposit.descriptor.is_some()),
                (&b"two"[..], true)
            );
            assert!(matches!(broker.get(slot("1/9")).await, Err(Error::Absent { .. })));
        }
        settled(before).await;
    });
}

#[test]
fn requests_that_were_dropped_while_the_broker_does_not_read_are_sent_whole_or_not_at_all() {
    let _alone = alone();
    const MANY: usize = 30;
    run(|| async {
        let (go_on, may_go_on) = mpsc::channel::<()>();
        let (stuck, is_stuck) = mpsc::channel();
        let before = open_descriptors();
        let fake = Fake::playing(move |mut peer| {
            peer.next();
            peer.send(&hello(support::GREETING), &[]);
            // Not read from before it has taken as much as it takes.
            let mut taken = 0;
            while taken == 0 || taken != peer.unread() {
                taken = peer.unread();
                std::thread::sleep(Duration::from_millis(50));
            }
            stuck.send(taken).unwrap();
            may_go_on.recv().unwrap();
            while let Some(message) = peer.next() {
                match message {
                    Message::Add(add) => {
                        assert_eq!(add.payload.len(), 32768);
                        assert!(add.descriptor.is_some());
                        peer.send(&reply(0, "done"), &[]);
                    }
                    Message::Get(slot) => {
                        let mut answer = add_head(slot, -1, 5).to_vec();
                        answer.extend(b"right");
                        peer.send(&answer, &[]);
                    }
                    other => panic!("{other:?}"),
                }
            }
        });
        let broker = Broker::connect_to(fake.path()).await.unwrap();
        let file = tempfile::tempfile().unwrap();
        let adding: Vec<_> = (0..MANY)
            .map(|_| {
                let (broker, file) = (broker.clone(), file.try_clone().unwrap());
                tokio::spawn(async move {
                    broker.add(slot("1/1"), Some(file.as_fd()), &[7; 32768]).await
                })
            })
            .collect();
        let taken = tokio::task::spawn_blocking(move || is_stuck.recv().unwrap()).await.unwrap();
        assert!((1..MANY * 32784).contains(&taken), "{taken} bytes, not all of them");
        adding.iter().for_each(tokio::task::JoinHandle::abort);
        for added in adding {
            assert!(added.await.unwrap_err().is_cancelled());
        }
        go_on.send(()).unwrap();
        for _ in 0..3 {
            assert_eq!(broker.get(slot("1/1")).await.unwrap().payload, b"right");
        }
        drop((broker, file));
        drop(fake);
        // The listening thread keeps its own.
        settled(before + 1).await;
    });
}

#[test]
fn an_answer_that_nobody_waits_for_any_more_is_dropped_with_its_descriptors() {
    let _alone = alone();
    run(|| async {
        let (go_on, may_go_on) = mpsc::channel::<()>();
        let (asked, was_asked) = mpsc::channel();
        let file: OwnedFd = tempfile::tempfile().unwrap().into();
        let deposit = file.try_clone().unwrap();
        let fake = Fake::greeting_one(move |peer, message| {
            let Message::Get(slot) = message else { panic!("{message:?}") };
            asked.send(()).unwrap();
            if slot.index.get() == 1 {
                may_go_on.recv().unwrap();
            }
            peer.send(&add_head(slot, 5, 0), &[deposit.as_fd()]);
        });
        let broker = Broker::connect_to(fake.path()).await.unwrap();
        drop(broker.get(slot("1/2")).await.unwrap());
        was_asked.recv().unwrap();
        let before = open_descriptors();
        for _ in 0..20 {
            let asking = broker.clone();
            let asking = tokio::spawn(async move { asking.get(slot("1/1")).await });
            let end = Instant::now() + Duration::from_secs(30);
            while was_asked.try_recv().is_err() {
                assert!(Instant::now() < end, "it is asked");
                tokio::task::yield_now().await;
            }
            asking.abort();
            assert!(asking.await.unwrap_err().is_cancelled());
            go_on.send(()).unwrap();
            let other = broker.get(slot("1/2")).await.unwrap();
            assert!(other.descriptor.is_some());
            was_asked.recv().unwrap();
        }
        settled(before).await;
    });
}

#[test]
fn what_has_not_begun_to_be_sent_is_not_sent() {
    let _alone = alone();
    // On one thread, so that the driver runs only when the test yields.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let (tell, told) = mpsc::channel();
        let fake = Fake::greeting_one(move |peer, message| {
            tell.send(message.to_bytes()).unwrap();
            peer.send(&reply(0, "done"), &[]);
        });
        let broker = Broker::connect_to(fake.path()).await.unwrap();
        let new = NewDeposit { index: slot("1/1").index, descriptor: None, payload: b"" };
        for polls in [0, 1] {
            dropped_after(polls, broker.add_many(slot("1/1").tag, &[new])).await;
            dropped_after(polls, broker.del(slot("1/1"))).await;
        }
        broker.del(slot("1/2")).await.unwrap();
        assert_eq!(told.recv().unwrap(), fdbroker_wire::del(slot("1/2")));
    });
}
