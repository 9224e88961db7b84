//! The audit trail in a file: what is in it, that it loses nothing, and what happens when it cannot
//! be written.

mod full_disk;
mod repeats;
mod rotation;

use std::collections::BTreeSet;
use std::fs;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use fdbroker::{Broker, Errno, Error, Index, Slot, Tag};
use fdbroker_tests::hostile::Attack;
use fdbroker_tests::{
    Answer, Builder, Daemon, Directory, HelperProcess, Ids, Peer, is_root, process, request,
    wait_until,
};
use fdbroker_wire::version2::{Name, Request};
use fdbroker_wire::{Extended, opcode};
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

/// Every line parses but those that a full disk or a death tore, which end. Returns the records,
/// and how many lines were torn.
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
    let mut peer = HelperProcess::same().take_over(daemon.connect().socket());
    assert_eq!(peer.get((1, 0)).errno(), libc::ENOENT);
    let records = trail.records();
    let record = records.last().unwrap();
    assert_eq!(record["FDBROKER_PID"], std::process::id());
    assert_ne!(record["FDBROKER_SENDER_PID"], std::process::id());
    assert_eq!(record["FDBROKER_SENDER_UID"], Ids::own().uid);
    assert_eq!(record["FDBROKER_SENDER_GID"], Ids::own().gid);
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
        let mut bound = HelperProcess::same().try_connect(daemon.socket(), Some(&own)).unwrap();
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
