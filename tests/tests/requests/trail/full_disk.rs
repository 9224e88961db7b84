//! What becomes of the trail on a disk that is full.

use fdbroker_tests::SmallDisk;

use super::*;

fn trail_on(disk: &SmallDisk) -> Trail {
    Trail(disk.path().join("audit.log"))
}

#[test]
fn on_a_full_disk_a_required_trail_refuses_requests_and_does_not_do_them() {
    let Some(disk) = SmallDisk::mount("a full disk") else { return };
    let builder = Daemon::with_policy(&(POLICY.to_owned() + OPERATORS));
    let builder = builder.setting("audit = \"required\"");
    let trail = trail_on(&disk);
    let daemon = builder.argument("--audit-file").argument(&trail.0).start();
    let mut peer = daemon.connect();
    peer.add((1, 0), "kept").done();
    let before = daemon.descriptors_with(&mut peer);
    disk.fill();
    wait_until("the last page is full", || peer.get((1, 0)).errno() == libc::EIO);
    let written = records_so_far(&trail);

    assert_eq!(peer.add((1, 1), "new").errno(), libc::EIO);
    assert_eq!(peer.add((1, 0), "other").errno(), libc::EIO);
    assert_eq!(peer.del((1, 0)).errno(), libc::EIO);
    assert_eq!(peer.tag(1).errno(), libc::EIO);
    assert_eq!(peer.get((1, 900)).errno(), libc::EIO);
    assert_eq!(peer.get((1, 901)).errno(), libc::EIO);
    many_are_withheld(&daemon);
    daemon.complains(7, &["list"]);
    daemon.complains(7, &["reload"]);
    // What changes nothing is told, so that it can be seen how the broker is.
    let said = daemon.says(&["status"]);
    let lost = said.lines().find_map(|line| line.strip_prefix("audit_lost=")).unwrap();
    assert!(said.contains("audit=failing\n") && lost.parse::<u32>().unwrap() > 1, "{said}");
    assert!(said.contains("degraded=audit\n"), "{said}");
    // A refusal is one all the same.
    assert_eq!(peer.get((1, 13)).errno(), libc::EACCES);
    let mut other = HelperProcess::same().connect(&daemon);
    let Answer::Failed(libc::EIO, text) = other.get((1, 0)) else { panic!("it was answered") };
    assert!(text.contains("audit trail"), "{text}");
    drop(other);
    assert_eq!(records_so_far(&trail), written);
    let said: Vec<_> = daemon.log().lines();
    let said = said.iter().filter(|line| line.message.contains("the audit file cannot be written"));
    let said: Vec<_> = said.collect();
    assert_eq!(said.len(), 1, "{said:#?}");
    assert!(said[0].message.contains("(audit = \"required\")"), "{said:#?}");

    disk.make_room();
    assert_eq!(peer.get((1, 0)).payload(), b"kept");
    assert_eq!(peer.get((1, 1)).errno(), libc::ENOENT);
    assert!(daemon.says(&["status"]).contains("degraded=none\n"));
    daemon.log().wait_for("it is said", |line| line.message.contains("can be written again"));
    daemon.wait_for_descriptors(before);
    daemon.kill_worker();
    let mut peer = daemon.connect();
    assert_eq!(peer.get((1, 0)).payload(), b"kept");
    assert_eq!(peer.get((1, 1)).errno(), libc::ENOENT);
    let (records, torn) = untorn(&trail);
    assert!(torn <= 1, "{torn} lines");
    let got = records.iter().filter(|record| is(record, "decision", "granted", "get", "1/0"));
    assert!(got.count() >= 2);
    drop(daemon);
}

const OPERATORS: &str = "[[rules]]\nid = \"operators\"\nallow = [\"operate\"]\nanyone = true\n";

fn records_so_far(trail: &Trail) -> usize {
    let text = fs::read_to_string(&trail.0).unwrap();
    text.lines().filter(|line| record(line).is_some()).count()
}

/// Of a run with slots that hold something, that are empty, and that are refused, nothing is given
/// or taken.
fn many_are_withheld(daemon: &Daemon) {
    let mut broker = Broker::connect_to(daemon.socket()).unwrap();
    let (tag, asked) =
        (Tag::new(1).unwrap(), [0, 1, 2, 13].map(|index| Index::new(index).unwrap()));
    for take in [false, true] {
        let got = match take {
            false => broker.get_many(tag, &asked).unwrap(),
            true => broker.take_many(tag, &asked).unwrap(),
        };
        let errors: Vec<_> = got.into_iter().map(|(_, found)| found.unwrap_err()).collect();
        let kinds = errors.iter().map(|error| match error {
            Error::Absent { .. } => '-',
            Error::Refused { .. } => 'r',
            Error::Failed { errno: Errno::IO, .. } => 'e',
            _ => '?',
        });
        assert_eq!(kinds.collect::<String>(), "e--r", "{errors:?}");
    }
}

#[test]
fn on_a_full_disk_a_trail_of_best_effort_goes_on_and_the_log_says_so_once() {
    let Some(disk) = SmallDisk::mount("a full disk") else { return };
    let trail = trail_on(&disk);
    let daemon = Daemon::with_policy(POLICY).argument("--audit-file").argument(&trail.0).start();
    let mut peer = daemon.connect();
    peer.add((1, 0), "kept").done();
    disk.fill();
    for _ in 0..100 {
        peer.get((1, 0)).payload();
    }
    peer.add((1, 1), "new").done();
    let said = |text: &str| -> Vec<String> {
        let lines = daemon.log().lines().into_iter().map(|line| line.message);
        lines.filter(|message| message.contains(text)).collect()
    };
    let cannot = said("the audit file cannot be written");
    assert_eq!(cannot.len(), 1, "{cannot:#?}");
    assert!(cannot[0].contains("(audit = \"best-effort\")"), "{cannot:#?}");
    assert!(said("can be written again").is_empty());

    disk.make_room();
    peer.get((1, 1)).payload();
    let again = said("the audit file can be written again");
    assert_eq!(again.len(), 1, "{again:#?}");
    let lost: usize = again[0].split(' ').find_map(|word| word.parse().ok()).unwrap();
    let (records, torn) = untorn(&trail);
    assert!(torn <= 1, "{torn} lines");
    // The log has them all.
    assert_eq!(records.len() + lost, daemon.log().audit().len());
    disk.fill();
    wait_until("it is said anew", || {
        peer.get((1, 0)).payload();
        said("the audit file cannot be written").len() == 2
    });
    drop(daemon);
}

#[test]
fn what_was_lost_is_told_once_another_file_takes_a_record() {
    let Some(disk) = SmallDisk::mount("a full disk") else { return };
    for setting in ["best-effort", "required"] {
        let trail = trail_on(&disk);
        let builder = Daemon::with_policy(POLICY).setting(&format!("audit = \"{setting}\""));
        let daemon = builder.argument("--audit-file").argument(&trail.0).start();
        let mut peer = daemon.connect();
        peer.add((1, 0), "kept").done();
        disk.fill();
        wait_until("the last page is full", || {
            let _ = peer.get((1, 0));
            daemon.log().text().contains("the audit file cannot be written")
        });
        (0..10).for_each(|_| drop(peer.get((1, 0))));
        let old = trail.0.with_file_name("old");
        fs::rename(&trail.0, &old).unwrap();
        daemon.reload_files();
        disk.make_room();
        peer.get((1, 0)).payload();
        daemon.reload_files();
        let said = "the audit file can be written again; it lacks ";
        let told = || -> Vec<usize> {
            let lines = daemon.log().lines().into_iter().map(|line| line.message);
            let count =
                |message: String| message.strip_prefix(said)?.split(' ').next()?.parse().ok();
            lines.filter_map(count).collect()
        };
        // The worker's; and the supervisor's of the first reload, unless the kernel still had a page
        // for that: tmpfs counts its pages for each processor apart. What was told must add up.
        let lost = told();
        assert!(lost[0] > 5 && lost.len() <= 2, "{lost:?}");
        assert!(lost[1..].iter().all(|supervisors| *supervisors == 1), "{lost:?}");
        let old = fs::read_to_string(&old).unwrap();
        let whole = old.lines().filter(|line| record(line).is_some()).count();
        let written = whole + trail.records().len() + lost.iter().sum::<usize>();
        assert_eq!(written, daemon.log().audit().len());
        drop(daemon);
        fs::remove_file(&trail.0).unwrap();
    }
}

#[test]
fn a_line_that_a_full_disk_tore_swallows_no_record_whoever_writes_it() {
    let Some(disk) = SmallDisk::mount("a full disk") else { return };
    let trail = trail_on(&disk);
    let daemon = Daemon::with_policy(POLICY).argument("--audit-file").argument(&trail.0).start();
    let mut peer = daemon.connect();
    let torn = |peer: &mut Peer| {
        disk.fill();
        wait_until("a line is torn", || {
            let _ = peer.tag(1);
            !fs::read_to_string(&trail.0).unwrap().ends_with('\n')
        });
        disk.make_room();
    };
    // The worker goes on in the file that was opened again, behind the supervisor's own record.
    peer.add((1, 0), "x").done();
    torn(&mut peer);
    daemon.reload_files();
    peer.get((1, 0)).payload();
    let (records, _) = untorn(&trail);
    assert_eq!(
        records.iter().filter(|record| is(record, "reload", "granted", "reload", "")).count(),
        1
    );
    assert_eq!(
        records.iter().filter(|record| is(record, "decision", "granted", "get", "1/0")).count(),
        1
    );
    // Another worker has not torn it.
    torn(&mut peer);
    daemon.kill_worker();
    let mut peer = daemon.connect();
    peer.get((1, 0)).payload();
    let (records, _) = untorn(&trail);
    assert_eq!(
        records.iter().filter(|record| is(record, "decision", "granted", "get", "1/0")).count(),
        2
    );
    // Nor has another broker.
    torn(&mut peer);
    drop(daemon);
    let daemon = Daemon::with_policy(POLICY).argument("--audit-file").argument(&trail.0).start();
    let (records, _) = untorn(&trail);
    assert_eq!(
        records.iter().filter(|record| is(record, "open", "granted", "open", "1/901")).count(),
        2
    );
    drop(daemon);
}

#[test]
fn a_line_that_was_torn_swallows_no_record_of_who_begins_on_the_full_disk() {
    let Some(disk) = SmallDisk::mount("a full disk") else { return };
    let trail = trail_on(&disk);
    let start = || {
        let builder = Daemon::with_policy(POLICY).setting("audit = \"required\"");
        builder.argument("--audit-file").argument(&trail.0).start()
    };
    let tear = |peer: &mut Peer| {
        disk.fill();
        wait_until("nothing is granted", || peer.tag(1).errno() == libc::EIO);
        let text = fs::read_to_string(&trail.0).unwrap();
        assert!(!text.ends_with('\n'), "{text}");
    };
    let got = |slot: &str| {
        let (records, _) = untorn(&trail);
        records.iter().filter(|record| is(record, "decision", "granted", "get", slot)).count()
    };
    let mut daemon = start();
    let mut peer = daemon.connect();
    (0..3).for_each(|index| peer.add((1, index), "x").done());
    tear(&mut peer);
    daemon.kill_worker();
    let mut peer = daemon.connect();
    disk.make_room();
    assert_eq!(peer.get((1, 0)).payload(), b"x");
    assert_eq!(peer.get((1, 1)).payload(), b"x");
    assert_eq!((got("1/0"), got("1/1")), (1, 1));
    // A broker that begins on the full disk has not torn it either.
    tear(&mut peer);
    daemon.kill();
    drop(daemon);
    let daemon = start();
    disk.make_room();
    let mut peer = daemon.connect();
    peer.get((1, 901)).descriptor();
    assert_eq!(got("1/901"), 1);
    drop(daemon);
}
