//! The audit trail in a file: what is in it, that it loses nothing, and what happens when it cannot
//! be written.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use fdbroker::{Broker, Errno, Error, Index, Tag};
use fdbroker_tests::{
    Answer, Builder, Daemon, Directory, Ids, Peer, Person, is_root, process, request, sample, skip,
    wait_until,
};
use rustix::process::Signal;
use serde_json::Value;

const POLICY: &str = r#"
[tags.store]
id = 1

[resources.null]
slot = "store/900"
device = "/dev/null"

[resources.shared]
slot = "store/901"
device = "/dev/null"
open = "startup"

[resources.gone]
slot = "store/902"
file = "/nonexistent"

[[rules]]
id = "everyone"
allow = ["*"]
slots = ["store/*"]
anyone = true

[[rules]]
id = "not this one"
deny = ["get"]
slots = ["store/13"]
anyone = true
"#;

/// A daemon to be, with the file that it records in.
fn with_trail(builder: Builder) -> (Builder, Trail) {
    let path = builder.directory().join("audit.log");
    (builder.argument("--audit-file").argument(&path), Trail(path))
}

struct Trail(PathBuf);

impl Trail {
    /// Each line that is not empty, which must be a record and end.
    #[track_caller]
    fn records(&self) -> Vec<Value> {
        records(&self.0)
    }

    /// How many records fit, each as often as it says.
    #[track_caller]
    fn count(&self, fits: impl Fn(&Value) -> bool) -> u64 {
        self.records().iter().filter(|record| fits(record)).map(count).sum()
    }
}

#[track_caller]
fn records(path: &Path) -> Vec<Value> {
    let text = fs::read_to_string(path).unwrap();
    assert!(text.is_empty() || text.ends_with('\n'), "the last line does not end: {text}");
    let lines = text.lines().filter(|line| !line.is_empty());
    lines.map(|line| record(line).unwrap_or_else(|| panic!("{line}"))).collect()
}

fn record(line: &str) -> Option<Value> {
    serde_json::from_str::<Value>(line).ok().filter(Value::is_object)
}

fn count(record: &Value) -> u64 {
    record["FDBROKER_COUNT"].as_u64().unwrap()
}

fn is(record: &Value, kind: &str, verdict: &str, right: &str, slot: &str) -> bool {
    record["FDBROKER_KIND"] == kind
        && record["FDBROKER_VERDICT"] == verdict
        && record["FDBROKER_RIGHT"] == right
        && record["FDBROKER_SLOT"] == slot
}

/// What never changes: programs look for these.
const MESSAGE_IDS: [(&str, &str); 5] = [
    ("decision", "a520fbdd8c1948bf8a2e79fe9d4d2b78"),
    ("open", "82627873eb4d428da9c2df07ea8bf6cb"),
    ("reload", "5843d019f5f4410d8cb4a1166e9443d9"),
    ("cut-off", "170fe7c695654831a2c328deab9ede6a"),
    ("connection", "7d292cd6da7a4443a745b59b6f58d07e"),
];

const FIELDS: [&str; 16] = [
    "FDBROKER_COUNT",
    "FDBROKER_GID",
    "FDBROKER_KIND",
    "FDBROKER_NAME",
    "FDBROKER_PID",
    "FDBROKER_REASON",
    "FDBROKER_RIGHT",
    "FDBROKER_RULE",
    "FDBROKER_SLOT",
    "FDBROKER_UID",
    "FDBROKER_UNIT",
    "FDBROKER_VERDICT",
    "MESSAGE",
    "MESSAGE_ID",
    "PRIORITY",
    "time",
];

#[test]
fn each_kind_of_record_is_in_the_file_with_all_its_fields_and_its_id() {
    let builder = Daemon::with_policy(POLICY).setting("max_connections_per_uid = 3");
    let (builder, trail) = with_trail(builder);
    let daemon = builder.start();
    let mut peer = daemon.connect();
    peer.add((1, 0), "x").done();
    peer.get((1, 900)).descriptor();
    peer.get((1, 901)).descriptor();
    assert_eq!(peer.get((1, 902)).errno(), libc::EIO);
    assert_eq!(peer.get((1, 13)).errno(), libc::EACCES);
    assert_eq!(peer.get((1, 1)).errno(), libc::ENOENT);
    let mut breaks = daemon.connect();
    breaks.send(&request::add_announcing((1, 0), -1, -1, b""), &[]);
    breaks.until_closed();
    let mut others: Vec<Peer> = (0..3).map(|_| daemon.connect()).collect();
    wait_until("one too many is turned away", || {
        others.iter_mut().any(|other| other.is_answered(std::time::Duration::ZERO))
    });
    daemon.reload_files();
    daemon.write_policy("nonsense");
    daemon.reload_in_vain();

    let records = trail.records();
    let expected = [
        ("open", "granted", "open", "1/901"),
        ("decision", "granted", "add", "1/0"),
        ("open", "granted", "get", "1/900"),
        ("decision", "granted", "get", "1/900"),
        ("decision", "granted", "get", "1/901"),
        ("open", "failed", "get", "1/902"),
        ("decision", "failed", "get", "1/902"),
        ("decision", "refused", "get", "1/13"),
        ("decision", "failed", "get", "1/1"),
        ("cut-off", "refused", "connect", ""),
        ("connection", "refused", "connect", ""),
        ("reload", "granted", "reload", ""),
        ("reload", "failed", "reload", ""),
    ];
    for (kind, verdict, right, slot) in expected {
        let found = records.iter().filter(|record| is(record, kind, verdict, right, slot));
        assert_eq!(found.count(), 1, "{kind} {verdict} {right} {slot}: {records:#?}");
    }
    for record in &records {
        let fields: BTreeSet<&str> =
            record.as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(fields, BTreeSet::from(FIELDS), "{record}");
        let kind = record["FDBROKER_KIND"].as_str().unwrap();
        let id = MESSAGE_IDS.iter().find(|(known, _)| *known == kind).unwrap().1;
        assert_eq!(record["MESSAGE_ID"], id);
        let granted = record["FDBROKER_VERDICT"] == "granted";
        assert_eq!(record["PRIORITY"], if granted { 5 } else { 4 });
        assert_eq!(record["FDBROKER_UID"], Ids::own().uid);
        assert_eq!(count(record), 1);
        assert!(
            record["MESSAGE"]
                .as_str()
                .unwrap()
                .contains(record["FDBROKER_REASON"].as_str().unwrap())
        );
    }
    let refused = records.iter().find(|record| is(record, "decision", "refused", "get", "1/13"));
    assert_eq!(refused.unwrap()["FDBROKER_RULE"], "not this one");
    assert_eq!(refused.unwrap()["FDBROKER_NAME"], "store/13");
    // The log has them too.
    assert_eq!(daemon.log().audit().len(), records.len());
}

#[test]
fn who_wrote_on_anothers_connection_is_in_the_record() {
    let (builder, trail) = with_trail(Daemon::with_policy(POLICY));
    let daemon = builder.start();
    let mut peer = Person::same().take_over(daemon.connect().socket());
    assert_eq!(peer.get((1, 0)).errno(), libc::ENOENT);
    let records = trail.records();
    let record = records.last().unwrap();
    assert_eq!(record["FDBROKER_PID"], std::process::id());
    assert_ne!(record["FDBROKER_SENDER_PID"], std::process::id());
    assert_eq!(record["FDBROKER_SENDER_UID"], Ids::own().uid);
    assert_eq!(record["FDBROKER_SENDER_GID"], Ids::own().gid);
}

#[test]
fn the_file_is_for_its_owner_alone_and_what_was_in_it_stays() {
    let (builder, trail) = with_trail(Daemon::with_policy(POLICY));
    let daemon = builder.start();
    assert_eq!(fs::metadata(&trail.0).unwrap().permissions().mode() & 0o7777, 0o600);
    daemon.connect().add((1, 0), "x").done();
    for _ in 0..2 {
        assert_eq!(flags_in(daemon.worker_pid(), &trail.0), libc::O_WRONLY | libc::O_APPEND);
        daemon.kill_worker();
        daemon.connect().add((1, 1), "x").done();
    }
    let first = trail.records();
    let path = trail.0.clone();

    let second = Daemon::with_policy(POLICY).argument("--audit-file").argument(path).start();
    second.connect().add((1, 2), "x").done();
    let all = trail.records();
    assert_eq!(all[..first.len()], first);
    for (slot, times) in [("1/0", 1), ("1/1", 2), ("1/2", 1)] {
        assert_eq!(trail.count(|record| is(record, "decision", "granted", "add", slot)), times);
    }
}

/// How a process may use the one descriptor that it has of a file.
fn flags_in(pid: u32, path: &Path) -> i32 {
    let held = process::descriptors(pid).expect("root, or their owner, may look");
    let mut numbers = held.iter().filter(|(_, target)| *target == path.to_str().unwrap());
    let (number, _) = numbers.next().expect("it has the file open");
    assert_eq!(numbers.next(), None);
    let text = fs::read_to_string(format!("/proc/{pid}/fdinfo/{number}")).unwrap();
    let flags = text.lines().find_map(|line| line.strip_prefix("flags:")).unwrap();
    let flags = i32::from_str_radix(flags.trim(), 8).unwrap();
    assert_ne!(flags & libc::O_CLOEXEC, 0);
    flags & (libc::O_ACCMODE | libc::O_APPEND)
}

#[test]
fn a_rotation_under_load_loses_no_record_and_writes_none_twice() {
    let (builder, trail) = with_trail(Daemon::with_policy(POLICY));
    let daemon = builder.start();
    daemon.connect().add((1, 0), "x").done();
    let (asked, stop) = (AtomicU64::new(0), AtomicBool::new(false));
    let mut files = vec![trail.0.clone()];
    std::thread::scope(|scope| {
        for _ in 0..4 {
            let mut peer = daemon.connect();
            let (asked, stop) = (&asked, &stop);
            scope.spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    peer.get((1, 0)).payload();
                    asked.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        for number in 0..5 {
            let goal = asked.load(Ordering::Relaxed) + 200;
            wait_until("they ask", || asked.load(Ordering::Relaxed) >= goal);
            let moved = daemon.directory().join(&format!("audit.log.{number}"));
            fs::rename(&trail.0, &moved).unwrap();
            daemon.reload_files();
            files.push(moved);
        }
        stop.store(true, Ordering::Relaxed);
    });
    let granted = |path: &PathBuf| {
        let records = records(path);
        let got = records.iter().filter(|record| is(record, "decision", "granted", "get", "1/0"));
        (got.count() as u64, records.len())
    };
    let counts: Vec<_> = files.iter().map(granted).collect();
    let sum: u64 = counts.iter().map(|(got, _)| got).sum();
    assert_eq!(sum, asked.load(Ordering::Relaxed), "{counts:?}");
    assert!(counts.iter().all(|(_, lines)| *lines > 0), "each file has some: {counts:?}");
    assert_eq!(fs::metadata(&trail.0).unwrap().permissions().mode() & 0o7777, 0o600);
}

#[test]
fn what_cannot_be_an_audit_file_is_refused_at_start_with_its_sentence() {
    let directory = Directory::new();
    let file = directory.private_file("file", "mine");
    let link = directory.join("link");
    symlink(&file, &link).unwrap();
    let fifo = directory.join("fifo");
    rustix::fs::mknodat(rustix::fs::CWD, &fifo, rustix::fs::FileType::Fifo, 0o600.into(), 0)
        .unwrap();
    let nowhere = directory.join("nowhere/audit.log");
    for path in [&link, &fifo, &directory.path().to_owned(), &nowhere, &"/dev/null".into()] {
        let (status, said) =
            Daemon::with_policy(POLICY).argument("--audit-file").argument(path).fail();
        assert_eq!(status, 1, "{said}");
        let sentence = format!("--audit-file {}: ", path.display());
        assert!(said.contains(&sentence), "{said}");
        assert!(said.contains("; name a regular file, in a directory that exists"), "{said}");
    }
    assert_eq!(fs::read_to_string(file).unwrap(), "mine");
    // A FIFO that somebody reads is none either.
    let _reader = fs::OpenOptions::new().read(true).write(true).open(&fifo).unwrap();
    let (_, said) = Daemon::with_policy(POLICY).argument("--audit-file").argument(&fifo).fail();
    assert!(said.contains("it is no regular file"), "{said}");

    let (status, said) = Daemon::with_policy(POLICY).setting("audit = \"required\"").fail();
    assert_eq!(status, 78, "{said}");
    assert!(said.contains("start the broker with --audit-file PATH"), "{said}");
}

#[test]
fn a_file_that_cannot_be_opened_anew_leaves_the_old_one_in_use() {
    let (builder, trail) = with_trail(Daemon::with_policy(POLICY));
    let daemon = builder.start();
    let moved = Trail(daemon.directory().join("moved"));
    fs::rename(&trail.0, &moved.0).unwrap();
    let other = daemon.directory().private_file("other", "mine");
    symlink(&other, &trail.0).unwrap();
    daemon.reload_files();
    daemon.log().wait_for("it is said", |line| {
        line.level == "error" && line.message.contains("cannot be opened anew")
    });
    daemon.connect().add((1, 0), "x").done();
    assert_eq!(moved.count(|record| is(record, "decision", "granted", "add", "1/0")), 1);
    assert_eq!(moved.count(|record| is(record, "reload", "granted", "reload", "")), 1);
    assert_eq!(fs::read_to_string(other).unwrap(), "mine");
}

/// A small file system of its own, until it is dropped.
struct SmallDisk(Directory);

impl SmallDisk {
    fn mount(what: &str) -> Option<Self> {
        if !is_root() {
            skip(what, "only root can mount a file system");
            return None;
        }
        let directory = Directory::new();
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", "size=64k,mode=755", "tmpfs"]).arg(directory.path());
        match mount.output() {
            Ok(output) if output.status.success() => Some(Self(directory)),
            refused => {
                skip(what, &format!("a file system cannot be mounted: {refused:?}"));
                None
            }
        }
    }

    fn trail(&self) -> Trail {
        Trail(self.0.join("audit.log"))
    }

    /// Leaves no room but in the page that the audit file ends in.
    fn fill(&self) {
        let mut filler = fs::File::create(self.0.join("filler")).unwrap();
        while filler.write_all(&[b'.'; 4096]).is_ok() {}
    }

    fn make_room(&self) {
        fs::remove_file(self.0.join("filler")).unwrap();
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let unmounted = Command::new("umount").arg("--lazy").arg(self.0.path()).status();
        assert!(unmounted.is_ok_and(|status| status.success()), "it stays mounted");
    }
}

#[test]
fn kills_reloads_and_rotations_together_lose_no_record_of_what_was_answered() {
    const KILLS: usize = 30;
    let (builder, trail) = with_trail(Daemon::with_policy(POLICY));
    let daemon = builder.start();
    daemon.connect().add((1, 0), "x").done();
    let (answered, stop) = (AtomicU64::new(0), AtomicBool::new(false));
    let mut files = vec![trail.0.clone()];
    std::thread::scope(|scope| {
        for _ in 0..4 {
            let (answered, stop) = (&answered, &stop);
            let mut broker = fdbroker::Broker::connect_to(daemon.socket()).unwrap();
            scope.spawn(move || {
                let slot = fdbroker::Slot::new(1, 0).unwrap();
                while !stop.load(Ordering::Relaxed) {
                    assert_eq!(broker.get(slot).expect("a client sees no error").payload, b"x");
                    answered.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        for number in 0..KILLS {
            let goal = answered.load(Ordering::Relaxed) + 40;
            wait_until("they are served", || answered.load(Ordering::Relaxed) >= goal);
            let moved = daemon.directory().join(&format!("audit.log.{number}"));
            if fs::rename(&trail.0, &moved).is_ok() {
                files.push(moved);
            }
            daemon.hang_up();
            if number % 2 == 0 {
                daemon.hang_up();
            }
            daemon.kill_worker();
        }
        stop.store(true, Ordering::Relaxed);
    });
    daemon.reload(POLICY);
    let mut granted = 0;
    for path in files {
        let (records, _) = untorn(&Trail(path));
        let got = records.iter().filter(|record| is(record, "decision", "granted", "get", "1/0"));
        granted += got.count() as u64;
    }
    let answered = answered.load(Ordering::Relaxed);
    // A request whose answer was lost with its worker is recorded twice.
    assert!(granted >= answered, "{granted} records of {answered} answers");
    let log = daemon.log().text();
    let deaths: Vec<_> = log.split('\n').filter(|line| line.contains("has died")).collect();
    assert_eq!(deaths.len(), KILLS, "{deaths:#?}");
    assert!(deaths.iter().all(|line| line.contains("(signal: 9")), "{deaths:#?}");
}

/// Every line parses but those that a full disk or a death tore, which end; gives the records, and how many
/// lines were torn.
fn untorn(trail: &Trail) -> (Vec<Value>, usize) {
    let text = fs::read_to_string(&trail.0).unwrap();
    assert!(text.ends_with('\n'), "{text}");
    // An empty one stands where a writer did not know how the file ended.
    let lines: Vec<&str> = text.lines().filter(|line| !line.is_empty()).collect();
    let records: Vec<Value> = lines.iter().filter_map(|line| record(line)).collect();
    for line in lines.iter().filter(|line| record(line).is_none()) {
        assert!(line.matches("\"time\"").count() <= 1, "two records in one line: {line}");
    }
    let torn = lines.len() - records.len();
    (records, torn)
}

#[test]
fn on_a_full_disk_a_required_trail_refuses_requests_and_does_not_do_them() {
    let Some(disk) = SmallDisk::mount("a full disk") else { return };
    let builder = Daemon::with_policy(&(POLICY.to_owned() + OPERATORS));
    let builder = builder.setting("audit = \"required\"");
    let trail = disk.trail();
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
    assert_eq!(daemon.run(&["status"]).status, 0);
    // A refusal is one all the same.
    assert_eq!(peer.get((1, 13)).errno(), libc::EACCES);
    let mut other = Person::same().connect(&daemon);
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
    let trail = disk.trail();
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
        let trail = disk.trail();
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
        let said = "the audit file can be written again; ";
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
    let trail = disk.trail();
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
    // The worker goes on in the file that was opened anew, behind the supervisor's own record.
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
    let trail = disk.trail();
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

/// What would be a record of its own, and clear a terminal, if it were not escaped.
const FORGED: &str = "\n{\"MESSAGE_ID\":\"a520fbdd8c1948bf8a2e79fe9d4d2b78\",\"FDBROKER_VERDICT\":\"granted\"}\n\u{1b}[2J\u{202e}\"\\";

#[test] // attack 31
fn no_name_path_or_text_can_forge_a_line() {
    for format in ["json", "text"] {
        let directory = Directory::new();
        let path = format!("{}/a{FORGED}", directory.path().display());
        let quoted = serde_json::to_string(&path).unwrap();
        let policy =
            POLICY.replace("\"/nonexistent\"", &quoted).replace("everyone", "every\u{202e}\\\"one");
        let (builder, trail) = with_trail(Daemon::with_policy(&policy).log_format(format));
        let daemon = builder.start();
        let mut peer = daemon.connect();
        assert_eq!(peer.get((1, 902)).errno(), libc::EIO);
        assert_eq!(daemon.run(&["get", &format!("x{FORGED}")]).status, 3);
        // From a socket with such a name, too.
        let own = directory.join(&format!("own{}", &FORGED[..40]));
        let mut bound = Person::same().try_connect(daemon.socket(), Some(&own)).unwrap();
        bound.send(&request::add_announcing((1, 0), -1, -1, b""), &[]);
        bound.until_closed();
        fs::create_dir(daemon.directory().join("policy.d")).unwrap();
        let drop_in = format!("policy.d/x{}.toml", FORGED.replace('/', ""));
        daemon.directory().file(&drop_in, format!("version = 1\n[tags.\"{}\"]\n", "a\\nb"), 0o644);
        daemon.hang_up();
        wait_until("the reload is recorded", || {
            trail.count(|record| is(record, "reload", "failed", "reload", "")) == 1
        });

        let records = trail.records();
        let reasons = records.iter().map(|record| record["FDBROKER_REASON"].as_str().unwrap());
        assert_eq!(reasons.filter(|reason| reason.contains(FORGED)).count(), 2, "{records:#?}");
        let file = fs::read_to_string(&trail.0).unwrap();
        for text in [&file, &daemon.log().text()] {
            let odd = text
                .chars()
                .find(|found| found.is_control() && *found != '\n' || *found == '\u{202e}');
            assert_eq!(odd, None, "{text}");
            for line in text.lines() {
                assert!(!line.starts_with("{\"MESSAGE_ID\""), "{text}");
            }
        }
        if format == "json" {
            let text = daemon.log().text();
            let complete = text.lines().filter(|line| record(line).is_none());
            assert_eq!(complete.count(), 0, "{text}");
        }
    }
}

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

#[test]
fn the_trail_goes_on_when_the_file_is_deleted_and_a_hangup_makes_another() {
    let (builder, trail) = with_trail(Daemon::with_policy(POLICY).setting("audit = \"required\""));
    let daemon = builder.start();
    let mut peer = daemon.connect();
    fs::remove_file(&trail.0).unwrap();
    peer.add((1, 0), "x").done();
    daemon.reload_files();
    assert_eq!(sample::content(fs::File::open(&trail.0).unwrap().into()).lines().count(), 1);
    peer.add((1, 1), "x").done();
    assert_eq!(trail.count(|record| is(record, "decision", "granted", "add", "1/1")), 1);
}
