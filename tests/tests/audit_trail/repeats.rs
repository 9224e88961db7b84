//! Refusals that repeat, of which there are a few records with a count.

use super::*;

/// The user whose refusals must not be held back by another's. Without root there is only one.
const OTHER: u32 = 64103;

#[test]
fn a_thousand_equal_refusals_are_a_few_records_with_a_count_and_hold_nobody_else_back() {
    let (builder, trail) = with_trail(Daemon::with_policy(POLICY));
    let mut daemon = builder.start();
    let flooder = Person::same();
    let mut floods = flooder.connect(&daemon);
    let other = is_root().then(|| Person::user(OTHER));
    let mut others = other.as_ref().map(|other| other.connect(&daemon));
    floods.add((1, 0), "x").done();
    let refused = |record: &Value| is(record, "decision", "refused", "get", "1/13");
    let of = |uid: u32| move |record: &Value| record["FDBROKER_UID"] == uid;
    let own = Ids::own().uid;
    let start = std::time::Instant::now();
    for number in 0..1000 {
        assert_eq!(floods.get((1, 13)).errno(), libc::EACCES);
        if number == 500 {
            // Both are there when their answers are.
            if let Some(others) = &mut others {
                assert_eq!(others.get((1, 13)).errno(), libc::EACCES);
                assert_eq!(trail.count(|record| refused(record) && of(OTHER)(record)), 1);
            }
            floods.get((1, 0)).payload();
            let got = |record: &Value| is(record, "decision", "granted", "get", "1/0");
            assert_eq!(trail.count(|record| got(record) && of(own)(record)), 1);
            // Another question of the same peer is another record.
            assert_eq!(floods.get((1, 1)).errno(), libc::ENOENT);
            let absent = |record: &Value| is(record, "decision", "failed", "get", "1/1");
            assert_eq!(trail.count(absent), 1);
        }
    }
    let seconds = start.elapsed().as_secs() + 1;
    let sum = || trail.count(|record| refused(record) && of(own)(record));
    wait_until("all are counted", || sum() == 1000);
    let records = trail.records();
    let few = records.iter().filter(|record| refused(record) && of(own)(record)).count();
    assert!(few as u64 <= 3 + 2 * seconds, "{few} records in {seconds} s");
    let last = records.iter().filter(|record| refused(record)).max_by_key(|record| count(record));
    assert!(last.unwrap()["MESSAGE"].as_str().unwrap().ends_with(" times)"), "{last:?}");
    let logged = || {
        let lines = daemon.log().decisions().into_iter().filter(|line| line.slot == "1/13");
        let lines = lines.filter(|line| line.pid.unsigned_abs() == flooder.pid());
        lines.map(|line| u64::from(line.count.max(1))).sum::<u64>()
    };
    wait_until("the log says the same", || logged() == 1000);
    daemon.end(Signal::TERM);
}

#[test]
fn a_loop_over_slots_and_processes_is_a_few_records() {
    let (builder, trail) = with_trail(Daemon::with_policy(POLICY));
    let mut daemon = builder.start();
    let people: Vec<_> = (0..4).map(|_| Person::same()).collect();
    let start = std::time::Instant::now();
    for person in &people {
        let mut peer = person.connect(&daemon);
        for index in 0..500 {
            assert_eq!(peer.get((9, index)).errno(), libc::EACCES);
        }
    }
    let seconds = start.elapsed().as_secs() + 2;
    daemon.end(Signal::TERM);
    let refused = |record: &Value| record["FDBROKER_VERDICT"] == "refused";
    assert_eq!(trail.count(refused), 2000);
    let records: Vec<_> = trail.records().into_iter().filter(refused).collect();
    assert!(records.len() as u64 <= 3 + 2 * seconds, "{} in {seconds} s", records.len());
    let told = records.iter().max_by_key(|record| count(record)).unwrap();
    let span = told["FDBROKER_SLOT"].as_str().unwrap();
    assert!(span.starts_with("9/") && span.contains('-'), "{told}");
}

#[test]
fn a_flood_of_refused_ranges_stays_within_a_rate_for_each_user() {
    let (builder, trail) = with_trail(Daemon::with_policy(POLICY));
    let mut daemon = builder.start();
    let mut broker = Broker::connect_to(daemon.socket()).unwrap();
    // Each second slot only, from the last to the first: no two are neighbours.
    let indices: Vec<Index> = (0..253).rev().filter_map(|number| Index::new(2 * number)).collect();
    let start = std::time::Instant::now();
    for tag in (100..400).filter_map(Tag::new) {
        let got = broker.get_many(tag, &indices).unwrap();
        assert!(got.into_iter().all(|(_, got)| got.is_err()));
    }
    let seconds = start.elapsed().as_secs() + 2;
    daemon.end(Signal::TERM);
    let refused = |record: &Value| record["FDBROKER_VERDICT"] == "refused";
    let records: Vec<_> = trail.records().into_iter().filter(refused).collect();
    let slots = |record: &Value| record["FDBROKER_SLOTS"].as_u64();
    assert!(records.len() as u64 <= 140 * seconds, "{} in {seconds} s", records.len());
    assert_eq!(trail.count(refused), 300, "one for each request");
    let first = &records[0];
    assert_eq!((&first["FDBROKER_SLOT"], slots(first)), (&"100/0-504".into(), Some(253)));
}

#[test]
fn what_was_only_counted_is_written_when_the_broker_stops() {
    let (builder, trail) = with_trail(Daemon::with_policy(POLICY));
    let mut daemon = builder.start();
    let mut peer = daemon.connect();
    for _ in 0..50 {
        assert_eq!(peer.get((1, 13)).errno(), libc::EACCES);
    }
    assert!(daemon.end(Signal::TERM).success());
    assert_eq!(trail.count(|record| is(record, "decision", "refused", "get", "1/13")), 50);
}

#[test]
fn refusals_of_more_different_slots_than_are_remembered_lose_no_count() {
    let (builder, trail) = with_trail(Daemon::with_policy(POLICY));
    let mut daemon = builder.start();
    let mut peer = daemon.connect();
    for _ in 0..5 {
        for index in 0..2000 {
            assert_eq!(peer.get((9, index)).errno(), libc::EACCES);
        }
    }
    daemon.end(Signal::TERM);
    assert_eq!(trail.count(|record| record["FDBROKER_VERDICT"] == "refused"), 10_000);
}

#[test]
fn names_that_somebody_tries_are_in_the_trail_each_of_them() {
    let (builder, trail) = with_trail(Daemon::with_policy(POLICY));
    let mut daemon = builder.start();
    let mut peer = daemon.connect();
    peer.ask(&request::hello(), &[]);
    let long = "x".repeat(255);
    let names: Vec<String> =
        (0..20).map(|number| format!("try-{number}\n")).chain([long]).collect();
    for name in &names {
        assert_eq!(peer.ask(&request::extended(64, name.as_bytes()), &[]).errno(), libc::EACCES);
    }
    daemon.end(Signal::TERM);
    for name in names {
        let tried = trail.count(|record| {
            is(record, "decision", "refused", "list", "") && record["FDBROKER_NAME"] == name
        });
        assert_eq!(tried, 1, "{name}");
    }
}
