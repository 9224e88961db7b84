//! Refusals that repeat, of which there are a few records with a count.

use super::*;

/// The user whose refusals must not be held back by another's. Without root there is only one.
const OTHER: u32 = 64103;

#[test]
fn a_thousand_equal_refusals_are_a_few_records_with_a_count_and_hold_nobody_else_back() {
    let (builder, trail) = with_trail(Daemon::with_policy(POLICY));
    let mut daemon = builder.start();
    let flooder = HelperProcess::same();
    let mut floods = flooder.connect(&daemon);
    let other = is_root().then(|| HelperProcess::user(OTHER));
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
    let people: Vec<_> = (0..4).map(|_| HelperProcess::same()).collect();
    let start = std::time::Instant::now();
    for helper in &people {
        let mut peer = helper.connect(&daemon);
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

/// Whatever a peer can ask for, the `number`th time: of another slot, tag or name each time.
fn requests(number: i16) -> Vec<Vec<u8>> {
    let place = (number, i32::from(number));
    let name = Name::new(format!("try-{number}")).unwrap();
    let (tag, slot) = (Tag::new(number), Slot::new(number, place.1));
    let operations = [
        Request::Find(name),
        Request::List { tag: None, after: slot },
        Request::List { tag, after: None },
        Request::Reload,
        Request::Purge(slot),
        Request::Status,
    ];
    let operations = operations.map(|request| {
        let message: Extended<OwnedFd> = request.into_extended();
        request::extended(message.op, &message.body)
    });
    let many = [number.to_ne_bytes(), [0; 2]].concat();
    let many = [many, place.1.to_ne_bytes().to_vec()].concat();
    let others = [
        request::hello(),
        request::get(place),
        request::add(place, -1, b"x"),
        request::del(place),
        request::tag(number),
        request::claim(number, 0, 0),
        request::release(number),
        request::ready(number),
        request::withdraw(number),
        request::extended(opcode::GET_MANY, &many),
        request::extended(opcode::DEL_MANY, &many),
        request::extended(90, b"no request"),
    ];
    operations.into_iter().chain(others).collect()
}

#[test]
fn no_request_of_a_user_without_rights_is_recorded_beyond_the_rate() {
    const TIMES: i16 = 60;
    let nobody = format!(
        "{POLICY}\n[[rules]]\nid = \"no\"\ndeny = [\"*\"]\nslots = [\"*\"]\nanyone = true\n"
    );
    let unnamed = POLICY.replace("anyone = true", "user = 64999");
    for policy in [nobody, unnamed] {
        let (builder, trail) = with_trail(Daemon::with_policy(&policy));
        let mut daemon = builder.setting("records_per_second = 10").start();
        let mut peer = daemon.connect();
        let start = std::time::Instant::now();
        let mut asked = 0;
        for number in 0..TIMES {
            for bytes in requests(number) {
                assert!(!peer.ask(&bytes, &[]).is_closed());
                asked += u64::from(bytes != request::hello());
            }
            // A connection that ends, and one that is cut off.
            let mut other = daemon.connect();
            other.send(&request::extended(95, &[0; 8]), &[]);
            other.send(&[0xff; 64], &[]);
            other.until_closed();
        }
        let seconds = start.elapsed().as_secs() + 2;
        daemon.end(Signal::TERM);
        let by_peers = |record: &Value| record["FDBROKER_RIGHT"] != "open";
        let records: Vec<_> = trail.records().into_iter().filter(by_peers).collect();
        let granted = records.iter().find(|record| record["FDBROKER_VERDICT"] == "granted");
        assert_eq!(granted, None);
        let most = 10 * (seconds + 1);
        assert!(records.len() as u64 <= most, "{} in {seconds} s", records.len());
        assert!(trail.count(by_peers) >= asked, "no count is lost");
    }
}

#[test]
fn a_listing_is_recorded_as_granted_by_the_rule_that_showed_something() {
    let policy = r#"
[tags.store]
id = 1

[[rules]]
id = "a part of it"
allow = ["add", "list"]
slots = ["store/0-9"]
anyone = true
"#;
    let (builder, trail) = with_trail(Daemon::with_policy(policy));
    let mut daemon = builder.start();
    let mut peer = daemon.connect();
    let everything = Attack::List.bytes();
    peer.ask(&request::hello(), &[]);
    peer.ask(&everything, &[]);
    peer.add((1, 3), "x").done();
    for _ in 0..20 {
        peer.ask(&everything, &[]);
    }
    daemon.end(Signal::TERM);
    let listings = |verdict, rule: &'static str, reason: &'static str| {
        trail.count(|record| {
            is(record, "decision", verdict, "list", "")
                && record["FDBROKER_RULE"] == rule
                && record["FDBROKER_REASON"] == reason
        })
    };
    let nothing = "there is nothing that it may list: no rule allows it";
    assert_eq!(listings("refused", "none", nothing), 1);
    assert_eq!(listings("granted", "a part of it", "slots listed: 1"), 20);
}
