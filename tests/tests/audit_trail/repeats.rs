//! Refusals that repeat, of which there are a few records with a count.

use super::*;

#[test]
fn a_thousand_equal_refusals_are_a_few_records_with_a_count_and_hold_nobody_else_back() {
    let (builder, trail) = with_trail(Daemon::with_policy(POLICY));
    let mut daemon = builder.start();
    let flooder = Person::same();
    let mut floods = flooder.connect(&daemon);
    let mut other = daemon.connect();
    floods.add((1, 0), "x").done();
    let refused = |record: &Value| is(record, "decision", "refused", "get", "1/13");
    let of = |pid: u32| move |record: &Value| record["FDBROKER_PID"] == pid;
    let start = std::time::Instant::now();
    for number in 0..1000 {
        assert_eq!(floods.get((1, 13)).errno(), libc::EACCES);
        if number == 500 {
            // Both are there when their answers are.
            assert_eq!(other.get((1, 13)).errno(), libc::EACCES);
            let pid = std::process::id();
            assert_eq!(trail.count(|record| refused(record) && of(pid)(record)), 1);
            floods.get((1, 0)).payload();
            let got = |record: &Value| is(record, "decision", "granted", "get", "1/0");
            assert_eq!(trail.count(|record| got(record) && of(flooder.pid())(record)), 1);
            // Another question of the same peer is another record.
            assert_eq!(floods.get((1, 1)).errno(), libc::ENOENT);
            let absent = |record: &Value| is(record, "decision", "failed", "get", "1/1");
            assert_eq!(trail.count(absent), 1);
        }
    }
    let seconds = start.elapsed().as_secs() + 1;
    let sum = || trail.count(|record| refused(record) && of(flooder.pid())(record));
    wait_until("all are counted", || sum() == 1000);
    let records = trail.records();
    let few = records.iter().filter(|record| refused(record) && of(flooder.pid())(record)).count();
    assert!(few as u64 <= 3 + 2 * seconds, "{few} records in {seconds} s");
    let last = records.iter().filter(|record| refused(record)).max_by_key(|record| count(record));
    assert!(last.unwrap()["MESSAGE"].as_str().unwrap().ends_with(" times)"), "{last:?}");
    // The log says the same.
    let logged = daemon.log().decisions().into_iter().filter(|line| line.slot == "1/13");
    let logged = logged.filter(|line| line.pid.unsigned_abs() == flooder.pid());
    assert_eq!(logged.map(|line| u64::from(line.count.max(1))).sum::<u64>(), 1000);
    daemon.end(Signal::TERM);
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
