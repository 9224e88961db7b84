//! Many slots of a tag in one message: the same as slot by slot, and faster.

use std::os::fd::AsFd;
use std::time::Duration;

use fdbroker::{Broker, Error, Index, NewDeposit, Tag};
use fdbroker_tests::{Daemon, HelperProcess, fixtures, needs_root, request, wait_until};

const TAG: i16 = 1;
/// More than five messages hold.
const MANY: i32 = 1300;

fn tag() -> Tag {
    Tag::new(TAG).unwrap()
}

fn index(number: i32) -> Index {
    Index::new(number).unwrap()
}

fn indices(numbers: std::ops::Range<i32>) -> Vec<Index> {
    numbers.map(index).collect()
}

fn daemon() -> Daemon {
    let policy = fixtures::OPEN.replace("id = 1", "id = 1\naccept = [\"file\", \"none\"]");
    Daemon::with_policy(&policy).start()
}

fn broker(daemon: &Daemon) -> Broker {
    Broker::connect_to(daemon.socket()).unwrap()
}

#[test]
fn what_was_deposited_in_many_slots_comes_back_from_many_and_leaves_nothing_when_taken() {
    let daemon = daemon();
    let mut bystander = daemon.connect();
    let before = daemon.descriptors_with(&mut bystander);
    let mut broker = broker(&daemon);
    let files: Vec<_> =
        (0..MANY).map(|number| fixtures::file_saying(&number.to_string())).collect();
    let payloads: Vec<_> = (0..MANY).map(|number| number.to_ne_bytes()).collect();
    let new = |number: i32| NewDeposit {
        index: index(number),
        // Every third has a payload alone.
        descriptor: (number % 3 != 0).then(|| files[number as usize].as_fd()),
        payload: &payloads[number as usize],
    };
    let deposits: Vec<_> = (0..MANY).map(new).collect();
    let done = broker.add_many(tag(), &deposits).unwrap();
    assert_eq!(done.len(), deposits.len());
    assert!(done.iter().all(Result::is_ok));

    for take in [false, true] {
        let got = match take {
            false => broker.get_many(tag(), &indices(0..MANY)).unwrap(),
            true => broker.take_many(tag(), &indices(0..MANY)).unwrap(),
        };
        assert_eq!(got.len(), deposits.len());
        for (number, (at, deposit)) in (0..MANY).zip(got) {
            let deposit = deposit.unwrap();
            assert_eq!((at, &deposit.payload[..]), (index(number), &number.to_ne_bytes()[..]));
            assert_eq!(deposit.descriptor.is_some(), number % 3 != 0);
            if let Some(descriptor) = deposit.descriptor {
                assert!(fixtures::same_file(&descriptor, &files[number as usize]), "{number}");
            }
        }
    }
    let gone = broker.get_many(tag(), &indices(0..MANY)).unwrap();
    assert!(gone.iter().all(|(_, found)| matches!(found, Err(Error::Absent { .. }))));
    drop(broker);
    daemon.wait_for_descriptors(before);
}

#[test]
fn large_payloads_are_split_over_as_many_answers_as_they_take() {
    let daemon = daemon();
    let mut broker = broker(&daemon);
    let payload = vec![7; 32768];
    let new = |number| NewDeposit { index: index(number), descriptor: None, payload: &payload };
    let deposits: Vec<_> = (0..20).map(new).collect();
    assert!(broker.add_many(tag(), &deposits).unwrap().iter().all(Result::is_ok));
    let got = broker.get_many(tag(), &indices(0..20)).unwrap();
    assert_eq!(got.len(), 20);
    assert!(got.iter().all(|(_, found)| found.as_ref().unwrap().payload == payload));
    let deleted = broker.del_many(tag(), &indices(0..21)).unwrap();
    assert!(deleted[..20].iter().all(Result::is_ok));
    assert!(matches!(deleted[20], Err(Error::Absent { .. })));
}

#[test]
fn each_slot_has_an_outcome_of_its_own() {
    let policy = format!(
        "{}[[rules]]\nid = \"not those\"\ndeny = [\"add\", \"get\"]\nslots = [\"open/5-7\"]\n\
         anyone = true\n",
        fixtures::OPEN
    );
    let daemon = Daemon::with_policy(&policy).start();
    let mut broker = broker(&daemon);
    let new = |number| NewDeposit { index: index(number), descriptor: None, payload: b"x" };
    let deposits: Vec<_> = (0..10).map(new).collect();
    let done = broker.add_many(tag(), &deposits).unwrap();
    let refused: Vec<usize> = (0..10).filter(|at| done[*at].is_err()).collect();
    assert_eq!(refused, [5, 6, 7]);
    assert!(matches!(done[5], Err(Error::Refused { .. })));
    let got = broker.get_many(tag(), &indices(0..12)).unwrap();
    let kinds: String = got
        .iter()
        .map(|(_, found)| match found {
            Ok(_) => 'y',
            Err(Error::Refused { .. }) => 'r',
            Err(Error::Absent { .. }) => '-',
            Err(_) => '?',
        })
        .collect();
    assert_eq!(kinds, "yyyyyrrryy--");
    let records = daemon.log().decisions();
    let said: Vec<_> = records.iter().filter(|line| line.right == "get").collect();
    let said: Vec<_> = said.iter().map(|line| (&line.verdict[..], &line.slot[..])).collect();
    let expected =
        [("granted", "1/0-4"), ("refused", "1/5-7"), ("granted", "1/8-9"), ("failed", "1/10-11")];
    assert_eq!(said, expected);
}

#[test]
fn what_two_take_at_once_only_one_gets() {
    let daemon = daemon();
    let mut first = broker(&daemon);
    let new = |number| NewDeposit { index: index(number), descriptor: None, payload: b"x" };
    for _ in 0..20 {
        let deposits: Vec<_> = (0..200).map(new).collect();
        assert!(first.add_many(tag(), &deposits).unwrap().iter().all(Result::is_ok));
        let count = |got: fdbroker::ManyDeposits| got.iter().filter(|(_, it)| it.is_ok()).count();
        let takers: Vec<_> = (0..3)
            .map(|_| {
                let mut taker = broker(&daemon);
                std::thread::spawn(move || taker.take_many(tag(), &indices(0..200)).unwrap())
            })
            .collect();
        let taken: usize = takers.into_iter().map(|taker| count(taker.join().unwrap())).sum();
        assert_eq!(taken, 200);
    }
}

#[test]
fn what_is_another_users_is_neither_taken_nor_deleted() {
    if !needs_root("a deposit of another user among many") {
        return;
    }
    let daemon = Daemon::open().start();
    let policy = "[tags.open]\nid = 1\n[[rules]]\nid = \"no replace\"\nslots = [\"*\"]\nanyone = true\n\
                  allow = [\"get\", \"add\", \"del\"]\n";
    drop(daemon);
    let daemon = Daemon::with_policy(policy).start();
    HelperProcess::user(64101).connect(&daemon).add((TAG, 1), "theirs").done();
    let mut broker = broker(&daemon);
    broker.add(fdbroker::Slot::new(TAG, 0).unwrap(), None, b"own").unwrap();
    let taken = broker.take_many(tag(), &indices(0..2)).unwrap();
    assert!(taken[0].1.is_ok());
    assert!(matches!(taken[1].1, Err(Error::Refused { .. })), "{:?}", taken[1]);
    let got = broker.get_many(tag(), &indices(0..2)).unwrap();
    assert!(matches!(got[0].1, Err(Error::Absent { .. })));
    assert_eq!(got[1].1.as_ref().unwrap().payload, b"theirs");
}

#[test]
fn who_leaves_before_it_has_taken_leaves_everything_there() {
    let daemon = daemon();
    let mut owner = broker(&daemon);
    let payload = vec![7; 32768];
    let new = |number| NewDeposit { index: index(number), descriptor: None, payload: &payload };
    let deposits: Vec<_> = (0..30).map(new).collect();
    assert!(owner.add_many(tag(), &deposits).unwrap().iter().all(Result::is_ok));
    let mut leaver = daemon.connect();
    leaver.send(&request::hello(), &[]);
    leaver.receive().unwrap();
    // Answers that nobody reads, until the broker waits for them to be read.
    let mut take = vec![74, 0, 0, 0];
    take.extend(8_i32.to_ne_bytes());
    take.extend(TAG.to_ne_bytes());
    take.extend(1_i16.to_ne_bytes());
    for number in 0..30 {
        leaver.send(&[&take[..], &i32::to_ne_bytes(number)].concat(), &[]);
    }
    wait_until("some have been taken", || {
        let got = owner.get_many(tag(), &indices(0..30)).unwrap();
        got.iter().any(|(_, found)| found.is_err())
    });
    drop(leaver);
    wait_until("what was not sent is there again", || {
        let got = owner.get_many(tag(), &indices(0..30)).unwrap();
        got.iter().filter(|(_, found)| found.is_ok()).count() >= 15
    });
}

#[test]
fn what_grew_while_the_asker_waited_for_its_turn_is_split_as_it_is_then() {
    let daemon = Daemon::with_policy(&fixtures::serial()).start();
    let mut owner = daemon.connect();
    owner.add((TAG, 0), "x").done();
    owner.add((TAG, 1), vec![1; 32768]).done();
    owner.add((TAG, 2), vec![2; 32700]).done();
    let waiter = HelperProcess::same();
    let mut asker = waiter.connect(&daemon);
    asker.send(&request::hello(), &[]);
    asker.receive().unwrap();
    let body: Vec<u8> =
        [&TAG.to_ne_bytes()[..], &[0, 0], &[0_i32, 1, 2].map(i32::to_ne_bytes).concat()].concat();
    asker.send(&request::extended(74, &body), &[]);
    assert!(!asker.is_answered(Duration::from_millis(200)), "answered before its turn");
    owner.add((TAG, 0), vec![0; 32768]).done();
    drop(owner);
    // The head of the answer: how long it is, and no longer than a message may be.
    let mut answer = Vec::new();
    while answer.len() < 8 {
        answer.extend(asker.receive().unwrap().bytes);
    }
    let length = i32::from_ne_bytes(answer[4..8].try_into().unwrap());
    assert!(length <= 65536, "{length}");
}

#[test]
fn many_resources_at_once_come_in_as_many_answers_as_their_users_share_of_the_table_takes() {
    let resource = "[resources.null]\nslot = \"open/5\"\ndevice = \"/dev/null\"\n";
    let policy = format!("{}\n{resource}", fixtures::OPEN);
    let daemon = Daemon::with_policy(&policy).descriptor_limit(1024).start();
    let mut broker = broker(&daemon);
    for _ in 0..4 {
        let got = broker.get_many(tag(), &[index(5); 253]).unwrap();
        assert_eq!(got.len(), 253);
        assert!(got.into_iter().all(|(_, got)| got.unwrap().descriptor.is_some()));
    }
}
