//! The client on tokio against the daemon: many requests under way at once, over restarts.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use fdbroker::tokio::Broker;
use fdbroker::{Error, Index, NewDeposit, Slot, Tag};
use fdbroker_tests::{Daemon, PATIENCE, fixtures, wait_until};
use tokio::runtime::{Builder, Runtime};

const KILLS: usize = 12;
/// How many requests are answered between two kills: enough for the client to have reconnected.
const BETWEEN: u64 = 100;
const TASKS: i32 = 8;
/// More than five messages hold.
const MANY: i32 = 1300;

fn runtime() -> Runtime {
    Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

fn daemon() -> Daemon {
    Daemon::with_policy(&fixtures::accepting("[\"file\", \"none\"]")).start()
}

fn slot(index: i32) -> Slot {
    Slot::new(1, index).unwrap()
}

fn tag() -> Tag {
    slot(0).tag
}

#[test]
fn requests_of_many_tasks_on_one_connection_each_have_their_own_answer_over_kills_of_the_worker() {
    let daemon = daemon();
    let (answered, stop) = (Arc::<AtomicU64>::default(), Arc::<AtomicBool>::default());
    let runtime = runtime();
    let broker = runtime.block_on(Broker::connect_to(daemon.socket())).unwrap();
    let tasks: Vec<_> = (0..TASKS)
        .map(|number| {
            let (broker, answered, stop) =
                (broker.clone(), Arc::clone(&answered), Arc::clone(&stop));
            runtime.spawn(async move {
                let mut count = 0;
                while !stop.load(Ordering::Relaxed) {
                    count += 1;
                    round(&broker, slot(number), count).await;
                    answered.fetch_add(3, Ordering::Relaxed);
                }
            })
        })
        .collect();
    for _ in 0..KILLS {
        let goal = answered.load(Ordering::Relaxed) + BETWEEN;
        wait_until("the tasks are served", || {
            answered.load(Ordering::Relaxed) >= goal || tasks.iter().any(|task| task.is_finished())
        });
        daemon.kill_worker();
    }
    stop.store(true, Ordering::Relaxed);
    for task in tasks {
        runtime.block_on(task).expect("a task failed");
    }
}

/// Deposits, gets and deletes, and compares.
async fn round(broker: &Broker, slot: Slot, count: u64) {
    let file = fixtures::file_saying(&count.to_string());
    broker.add(slot, Some(file.as_fd()), &count.to_ne_bytes()).await.unwrap();
    let deposit = broker.get(slot).await.unwrap();
    assert_eq!(deposit.payload, count.to_ne_bytes());
    assert!(fixtures::same_file(deposit.descriptor.unwrap(), &file));
    broker.del(slot).await.unwrap();
}

#[test]
fn a_broker_that_was_started_anew_is_found_by_the_next_request() {
    let mut old = daemon();
    let runtime = runtime();
    let broker = runtime.block_on(Broker::connect_to(old.socket())).unwrap();
    let before = runtime.block_on(broker.instance()).unwrap();
    assert_eq!(runtime.block_on(broker.instance()).unwrap(), before);
    assert!(old.end(rustix::process::Signal::TERM).success());
    let path = old.socket().to_path_buf();
    let waiting = broker.clone();
    let asked = runtime.spawn(async move { waiting.instance().await });
    let _new = Daemon::with_policy(fixtures::OPEN).socket(path).start();
    let after = runtime.block_on(asked).unwrap().unwrap();
    assert_ne!(before, after);
    let absent = runtime.block_on(broker.get(slot(0)));
    assert!(matches!(absent, Err(Error::Absent { .. })), "{absent:?}");
}

#[test]
fn many_slots_are_deposited_got_and_deleted() {
    let daemon = daemon();
    runtime().block_on(async {
        let broker = Broker::connect_to(daemon.socket()).await.unwrap();
        let file: OwnedFd = fixtures::file_saying("many");
        let index = |number| Index::new(number).unwrap();
        let indices: Vec<_> = (0..MANY).map(index).collect();
        let new = |number: &Index| NewDeposit {
            index: *number,
            descriptor: Some(file.as_fd()),
            payload: b"kept",
        };
        let deposits: Vec<_> = indices.iter().map(new).collect();
        let done = broker.add_many(tag(), &deposits).await.unwrap();
        assert_eq!(done.iter().filter(|done| done.is_ok()).count(), indices.len());
        assert_eq!(broker.list(Some(tag())).await.unwrap().len(), indices.len());
        let taken = broker.take_many(tag(), &indices[..300]).await.unwrap();
        for ((at, deposit), expected) in taken.into_iter().zip(&indices) {
            assert_eq!(at, *expected);
            assert!(fixtures::same_file(deposit.unwrap().descriptor.unwrap(), &file));
        }
        let done = broker.del_many(tag(), &indices).await.unwrap();
        assert!(done[..300].iter().all(|done| matches!(done, Err(Error::Absent { .. }))));
        assert!(done[300..].iter().all(Result::is_ok));
        assert_eq!(broker.get_many(tag(), &[]).await.unwrap().len(), 0);
    });
}

#[test]
fn futures_that_are_dropped_leave_the_session_in_step_and_the_broker_with_no_more_descriptors() {
    let daemon = daemon();
    let mut bystander = daemon.connect();
    let before = daemon.descriptors_with(&mut bystander);
    runtime().block_on(async {
        let broker = Broker::connect_to(daemon.socket()).await.unwrap();
        let file = fixtures::file_saying("one");
        broker.add(slot(1), Some(file.as_fd()), b"one").await.unwrap();
        for round in 0..200_u64 {
            let task = broker.clone();
            let asked = tokio::spawn(async move {
                let file = fixtures::file_saying("two");
                task.add(slot(2), Some(file.as_fd()), &[7; 32768]).await?;
                task.get(slot(1)).await?;
                task.get_many(tag(), &[slot(1).index, slot(2).index]).await
            });
            for _ in 0..round % 40 {
                tokio::task::yield_now().await;
            }
            asked.abort();
            let deposit = broker.get(slot(1)).await.unwrap();
            assert_eq!(deposit.payload, b"one");
            assert!(fixtures::same_file(deposit.descriptor.unwrap(), &file));
            // Cancelled, or done before.
            assert!(asked.await.map_or_else(|error| error.is_cancelled(), |done| done.is_ok()));
        }
        broker.del_many(tag(), &[slot(1).index, slot(2).index]).await.unwrap();
    });
    daemon.wait_for_descriptors(before);
}

#[test]
fn a_request_that_waits_for_a_serial_tag_holds_up_one_session_and_no_other() {
    let daemon = Daemon::with_policy(&fixtures::serial()).start();
    runtime().block_on(async {
        let owner = Broker::connect_to(daemon.socket()).await.unwrap();
        owner.add(slot(0), None, b"mine").await.unwrap();
        let waiting = Broker::connect_to(daemon.socket()).await.unwrap();
        let other = waiting.clone();
        let asked = tokio::spawn(async move { other.get(slot(0)).await });
        assert_eq!(owner.get(slot(0)).await.unwrap().payload, b"mine");
        drop(owner);
        let got = tokio::time::timeout(PATIENCE, asked).await.unwrap().unwrap().unwrap();
        assert_eq!(got.payload, b"mine");
        assert_eq!(waiting.tag(tag()).await.unwrap().used, 1);
    });
}
