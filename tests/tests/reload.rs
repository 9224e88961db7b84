//! A policy that changes while the broker runs: what takes over, what stays, and who is told.

use std::fs;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixDatagram;
use std::time::Duration;

use fdbroker_tests::{
    Answer, Builder, Daemon, Directory, Ids, Line, PATIENCE, Peer, Person, needs_root, process,
    request, sample, wait_for, wait_until,
};
use rustix::fs::{SeekFrom, seek};

/// Long enough to see that no answer comes; whatever comes later makes the test fail as well.
const MEANWHILE: Duration = Duration::from_millis(300);
/// Somebody with no right at all.
const STRANGER: u32 = 64020;

/// Tag 1 where everybody may do these rights to these slots, and we operate the broker.
fn allowing(rights: &str, slots: &str) -> String {
    format!(
        r#"
[tags.store]
id = 1

[[rules]]
id = "some"
allow = [{rights}]
slots = ["{slots}"]
anyone = true

{}"#,
        operators()
    )
}

fn operators() -> String {
    format!("[[rules]]\nid = \"operators\"\nallow = [\"operate\"]\nuser = {}\n", Ids::own().uid)
}

fn everything() -> String {
    allowing("\"*\"", "store/*")
}

fn reloads(daemon: &Daemon) -> Vec<Line> {
    daemon.log().audit().into_iter().filter(|line| line.kind == "reload").collect()
}

#[test]
fn a_hangup_takes_the_new_policy_and_its_drop_ins_over_and_open_sessions_go_on_under_it() {
    let daemon = Daemon::with_policy(&allowing("\"get\"", "store/0")).start();
    let mut peer = daemon.connect();
    assert_eq!(peer.add((1, 0), "x").errno(), libc::EACCES);
    daemon.reload(&allowing("\"get\", \"add\"", "store/0"));
    peer.add((1, 0), "x").done();
    assert_eq!(peer.add((1, 5), "x").errno(), libc::EACCES);

    let drop_ins = daemon.directory().join("policy.d");
    fs::create_dir(&drop_ins).unwrap();
    let more = "version = 1\n[[rules]]\nid = \"dropped in\"\nallow = [\"add\"]\nslots = [\"store/5\"]\nanyone = true\n";
    daemon.directory().file("policy.d/50-more.toml", more, 0o644);
    daemon.reload_files();
    peer.add((1, 5), "x").done();
    let records = daemon.log().decisions();
    assert_eq!(records.last().unwrap().rule.as_deref(), Some("dropped in"));
    fs::remove_file(drop_ins.join("50-more.toml")).unwrap();
    daemon.reload_files();
    assert_eq!(peer.add((1, 5), "x").errno(), libc::EACCES);

    let records = reloads(&daemon);
    assert_eq!(records.len(), 3, "{records:#?}");
    for record in records {
        assert_eq!((record.verdict.as_str(), record.right.as_str()), ("granted", "reload"));
        assert!(record.reason.contains("tags: 1"), "{record:?}");
        assert_eq!(record.pid.unsigned_abs(), daemon.supervisor_pid());
    }
}

#[test] // attack 28
fn what_cannot_be_taken_over_leaves_the_old_policy_in_force_and_the_log_says_why() {
    let policy = everything();
    let daemon = Daemon::with_policy(&policy).start();
    let mut peer = daemon.connect();
    peer.add((1, 0), "kept").done();
    let path = daemon.policy_path();
    let good = fs::read_to_string(&path).unwrap();
    let mut stays = |what: &str, expected: &[&str]| {
        let said = daemon.reload_in_vain();
        for text in expected {
            assert!(said.contains(text), "{what}: no {text:?} in: {said}");
        }
        assert_eq!(peer.get((1, 0)).payload(), b"kept", "{what}");
    };

    daemon.write_policy(&policy.replace("anyone", "anybody"));
    stays("an unknown key", &["policy.toml:9:", "policy.toml:13:", "anybody", "anyone"]);
    daemon.write_policy_text(&good[..good.len() / 2]);
    stays("a truncated one", &["policy.toml:"]);
    daemon.write_policy_text("");
    stays("an empty one", &["policy.toml", "version"]);
    daemon.write_policy(&format!(
        "{policy}\n[[tests]]\nuser = 1\nright = \"get\"\nslot = \"store/0\"\nexpect = \"refused\"\n"
    ));
    stays("one whose own tests fail", &["policy.toml:"]);
    daemon.write_policy(&allowing("\"get\"", "store/7"));
    fs::set_permissions(&path, fs::Permissions::from_mode(0o666)).unwrap();
    stays("one that everybody can write", &[path.to_str().unwrap()]);
    fs::remove_file(&path).unwrap();
    stays("one that has gone", &[path.to_str().unwrap()]);
    std::os::unix::fs::symlink("/nonexistent/policy", &path).unwrap();
    stays("a link that leads nowhere", &["/nonexistent"]);
    fs::remove_file(&path).unwrap();
    fs::create_dir(&path).unwrap();
    stays("a directory", &["policy.toml"]);
    fs::remove_dir(&path).unwrap();
    daemon.write_policy_text(&good);
    fs::create_dir(daemon.directory().join("policy.d")).unwrap();
    let drop_in =
        daemon.directory().file("policy.d/10-bad.toml", "version = 1\n[[rules]]\nid = 7\n", 0o644);
    stays("a bad drop-in", &[drop_in.to_str().unwrap()]);
    fs::remove_file(&drop_in).unwrap();

    assert!(reloads(&daemon).iter().all(|line| line.verdict == "failed"));
    daemon.reload(&allowing("\"get\"", "store/7"));
    assert_eq!(peer.get((1, 0)).errno(), libc::EACCES);
}

#[test]
fn operators_reload_and_see_what_changed_or_what_is_wrong_and_nobody_else_can() {
    let daemon = Daemon::with_policy(&everything()).start();
    daemon.write_policy(&allowing("\"get\"", "store/7"));
    let said = daemon.says(&["reload"]);
    assert!(said.contains("rules: 2, tags: 1"), "{said}");
    // It is in force once the command has ended.
    assert_eq!(daemon.connect().add((1, 0), "x").errno(), libc::EACCES);

    daemon.write_policy(&everything().replace("anyone", "anybody"));
    let said = daemon.complains(1, &["reload"]);
    assert!(said.contains("policy.toml:13:") && said.contains('^'), "{said}");
    assert!(said.contains("the policy stays as it was"), "{said}");
    assert_eq!(daemon.connect().add((1, 0), "x").errno(), libc::EACCES);
    assert_eq!(reloads(&daemon).last().unwrap().verdict, "failed");

    daemon.write_policy(&everything());
    if needs_root("a reload by somebody without the right") {
        let count = reloads(&daemon).len();
        let said = daemon.run_as(STRANGER, &["reload"]);
        assert_eq!(said.status, 3, "{said:?}");
        assert_eq!(reloads(&daemon).len(), count, "{said:?}");
        assert_eq!(daemon.connect().add((1, 0), "x").errno(), libc::EACCES);
        let record = daemon.log().decisions().into_iter().find(|line| line.uid == STRANGER);
        let record = record.expect("the refusal is recorded");
        assert_eq!((&*record.verdict, &*record.right), ("refused", "operate"));
    }
    // An operator who takes the right away from himself is still told that it was done.
    daemon.write_policy(&everything().replace(&operators(), ""));
    daemon.says(&["reload"]);
    daemon.complains(3, &["reload"]);
}

#[test]
fn so_many_findings_that_they_fit_in_no_message_are_told_as_far_as_they_do() {
    let daemon = Daemon::with_policy(&everything()).start();
    let mut peer = daemon.connect();
    let bad: String = (0..3000).map(|number| format!("[tags.no-{number}]\nidd = 1\n")).collect();
    daemon.write_policy(&bad);
    let said = daemon.complains(1, &["reload"]);
    assert!(said.len() > 10_000 && said.contains("no-7"), "{} bytes", said.len());
    peer.is_served((1, 0));
}

/// Two deposits of which the second policy reaches one.
fn half_out_of_reach() -> Daemon {
    let daemon = Daemon::with_policy(&everything()).start();
    let mut peer = daemon.connect();
    for index in [0, 4, 5, 6, 8] {
        peer.add_descriptor((1, index), sample::file_saying("held"), "four").done();
    }
    daemon.reload(&allowing("\"get\", \"list\"", "store/0"));
    daemon
}

fn listed(said: &str) -> Vec<Vec<&str>> {
    said.lines().skip(1).map(|line| line.split_whitespace().collect()).collect()
}

#[test]
fn deposits_out_of_reach_stay_held_and_only_operators_see_them_with_their_mark() {
    let daemon = half_out_of_reach();
    let warned = daemon.log().wait_for("they are named", |line| line.message.contains("1/4-6"));
    assert_eq!((&*warned.level, &*warned.message), ("warning", "out of reach: 1/4-6, 1/8"));
    let mut peer = daemon.connect();
    assert_eq!(peer.get((1, 4)).errno(), libc::EACCES);

    let own = Ids::own().uid.to_string();
    let row = |slot, name, note| vec![slot, name, "file", &own, "4", note];
    let all = daemon.says(&["list"]);
    let expected = [
        row("1/0", "store/0", "-"),
        row("1/4", "store/4", "unreachable"),
        row("1/5", "store/5", "unreachable"),
        row("1/6", "store/6", "unreachable"),
        row("1/8", "store/8", "unreachable"),
    ];
    assert_eq!(listed(&all), expected);
    if needs_root("a listing by somebody without the right to operate") {
        let said = daemon.run_as(STRANGER, &["list"]);
        assert_eq!(listed(&said.out), [["1/0", "store/0", "file", "-", "-", "-"]], "{said:?}");
    }

    // Also the next worker has them; and once a rule reaches them again, all is as it was.
    daemon.kill_worker();
    assert_eq!(daemon.says(&["list"]), all);
    daemon.reload(&everything());
    let mut peer = daemon.connect();
    for index in [0, 4, 5, 6, 8] {
        assert_eq!(sample::content(peer.get((1, index)).descriptor()), "held");
    }
    assert!(!daemon.says(&["list"]).contains("unreachable"));
}

#[test]
fn a_purge_deletes_what_no_rule_reaches_and_nothing_else() {
    let daemon = half_out_of_reach();
    if needs_root("a purge by somebody without the right") {
        assert_eq!(daemon.run_as(STRANGER, &["purge", "--all"]).status, 3);
        assert_eq!(daemon.run_as(STRANGER, &["purge", "1/4"]).status, 3);
    }
    let held = |daemon: &Daemon| -> Vec<String> {
        let said = daemon.says(&["list"]);
        listed(&said).into_iter().map(|row| row[0].to_owned()).collect()
    };
    assert_eq!(held(&daemon).len(), 5);
    let said = daemon.complains(7, &["purge", "1/0"]);
    assert!(said.contains("`fdbroker who SLOT` names them"), "{said}");
    daemon.complains(4, &["purge", "1/77"]);
    assert_eq!(daemon.says(&["purge", "1/5"]), "1/5\n");
    daemon.complains(4, &["purge", "1/5"]);
    assert_eq!(held(&daemon), ["1/0", "1/4", "1/6", "1/8"]);
    let purged = |line: &Line| line.reason.starts_with("purged");
    let record = daemon.log().decisions().into_iter().find(purged).unwrap();
    assert_eq!((&*record.slot, &*record.right), ("1/5", "operate"));
    assert_eq!(record.rule.as_deref(), Some("operators"));

    let before = daemon.descriptors().supervisor;
    assert_eq!(daemon.says(&["purge", "--all"]), "1/4\n1/6\n1/8\n");
    assert_eq!(daemon.says(&["purge", "--all"]), "");
    assert_eq!(held(&daemon), ["1/0"]);
    wait_until("the supervisor has closed them", || daemon.descriptors().supervisor == before - 3);
    daemon.kill_worker();
    assert_eq!(held(&daemon), ["1/0"]);
    assert_eq!(sample::content(daemon.connect().get((1, 0)).descriptor()), "held");
}

#[test]
fn a_deposit_that_a_new_resource_lies_over_is_out_of_reach_and_can_be_purged() {
    let daemon = Daemon::with_policy(&everything()).start();
    let mut peer = daemon.connect();
    peer.add((1, 3), "below").done();
    let with_resource =
        everything() + "[resources.null]\nslot = \"store/3\"\ndevice = \"/dev/null\"\n";
    daemon.reload(&with_resource);
    peer.get((1, 3)).descriptor();
    assert_eq!(peer.del((1, 3)).errno(), libc::EACCES);
    daemon.log().wait_for("it is named", |line| line.message == "out of reach: 1/3");
    let said = daemon.says(&["list"]);
    assert!(said.contains("resource,unreachable"), "{said}");
    // Without the resource it is there again.
    daemon.reload(&everything());
    assert_eq!(peer.get((1, 3)).payload(), b"below");
    daemon.reload(&with_resource);
    assert_eq!(daemon.says(&["purge", "--all"]), "1/3\n");
    daemon.complains(4, &["purge", "1/3"]);
    assert!(!daemon.says(&["list"]).contains("unreachable"));
    peer.get((1, 3)).descriptor();
    daemon.reload(&everything());
    assert_eq!(peer.get((1, 3)).errno(), libc::ENOENT);
}

/// A policy with these resources, each a file of the directory that is opened at start.
fn with_files(directory: &Directory, files: &[(&str, &str)]) -> String {
    let resources = files.iter().enumerate().map(|(index, (name, access))| {
        let file = directory.join(name);
        format!(
            "[resources.{name}]\nslot = \"store/{index}\"\nfile = \"{}\"\naccess = \"{access}\"\nopen = \"startup\"\n",
            file.display()
        )
    });
    everything() + &resources.collect::<String>()
}

/// Whether two descriptors are of the same open file description: they share an offset.
fn are_one(one: impl AsFd, other: impl AsFd) -> bool {
    seek(&one, SeekFrom::Start(5)).unwrap();
    seek(&other, SeekFrom::Start(0)).unwrap();
    rustix::fs::tell(one).unwrap() == 0
}

#[test]
fn resources_that_stay_stay_open_those_that_change_are_reopened_and_those_that_go_are_closed() {
    let directory = Directory::new();
    for name in ["stays", "changes", "goes", "comes"] {
        directory.file(name, name, 0o644);
    }
    let before = [("stays", "read"), ("changes", "read"), ("goes", "read")];
    let daemon = Daemon::with_policy(&with_files(&directory, &before)).start();
    let mut peer = daemon.connect();
    let mut first: Vec<OwnedFd> = (0..3).map(|index| peer.get((1, index)).descriptor()).collect();
    assert!(are_one(&first[0], peer.get((1, 0)).descriptor()));
    let open = daemon.descriptors().supervisor;

    // Further down in the file, too.
    let after = with_files(&directory, &[("stays", "read"), ("changes", "read-write")]);
    daemon.reload(&format!("# one line more\n\n{after}"));
    assert!(are_one(&first[0], peer.get((1, 0)).descriptor()), "it was opened anew");
    let changed = peer.get((1, 1)).descriptor();
    assert!(!are_one(&first[1], &changed), "it was not opened anew");
    assert_eq!(sample::access_mode(&changed), rustix::fs::OFlags::RDWR);
    assert_eq!(peer.get((1, 2)).errno(), libc::ENOENT);
    wait_until("the one that goes is closed", || daemon.descriptors().supervisor == open - 1);
    assert!(
        !process::descriptors(daemon.supervisor_pid())
            .unwrap()
            .values()
            .any(|target| { target == directory.join("goes").to_str().unwrap() })
    );
    // Who has a descriptor keeps it.
    assert_eq!(sample::content(first.remove(2)), "goes");

    let last =
        with_files(&directory, &[("stays", "read"), ("changes", "read-write"), ("comes", "read")]);
    daemon.reload(&last);
    assert_eq!(sample::content(peer.get((1, 2)).descriptor()), "comes");
    assert!(are_one(&first[0], peer.get((1, 0)).descriptor()));
    assert_eq!(daemon.descriptors().supervisor, open);
    let opened =
        daemon.log().audit().into_iter().filter(|line| {
            line.kind == "open" && line.pid.unsigned_abs() == daemon.supervisor_pid()
        });
    let opened: Vec<String> = opened.map(|line| line.name).collect();
    assert_eq!(opened, ["stays", "changes", "goes", "changes", "comes"]);

    // All or nothing: one that does not open leaves the others as they are.
    let absent = with_files(&directory, &[("absent", "read"), ("stays", "write")]);
    daemon.write_policy(&absent);
    let said = daemon.reload_in_vain();
    assert!(said.contains("absent"), "{said}");
    assert!(are_one(&first[0], peer.get((1, 0)).descriptor()));
    assert_eq!(daemon.descriptors().supervisor, open);
}

#[test]
fn what_takes_a_restart_is_refused_with_its_sentence() {
    let daemon = Daemon::with_policy(&everything()).start();
    let refused = |policy: &str, sentence: &str| {
        daemon.write_policy_text(policy);
        let said = daemon.complains(1, &["reload"]);
        assert!(said.contains(sentence), "{said}");
        daemon.connect().is_served((1, 0));
    };
    let text = |settings: &str, body: &str| format!("version = 1\n[broker]\n{settings}\n{body}");
    let same = format!("user = {}", fdbroker_tests::WORKER);
    let required = text(&format!("{same}\naudit = \"required\""), &everything());
    refused(&required, "start the broker with --audit-file PATH");
    if needs_root("another user, and a capability that was given up") {
        let other = text("user = 64099", &everything());
        refused(&other, "names another `user` in [broker] than the worker runs as; restart");
        let capable = everything()
            + "[resources.null]\nslot = \"store/3\"\ndevice = \"/dev/null\"\ncapabilities = [\"net_admin\"]\n";
        refused(&text(&same, &capable), "CAP_NET_ADMIN, which the broker gave up when it started");
    }
    daemon.reload(&everything());
}

#[test]
fn who_waits_for_a_turn_and_loses_the_right_is_refused_and_the_next_one_has_the_tag() {
    let serial =
        |slots: &str| allowing("\"*\"", slots).replace("id = 1\n", "id = 1\nserial = true\n");
    let daemon = Daemon::with_policy(&serial("store/*")).start();
    let (owner, loser, winner) = (Person::same(), Person::same(), Person::same());
    let mut owns = owner.connect(&daemon);
    owns.add((1, 0), "zero").done();
    owns.add((1, 1), "one").done();
    let mut loses = loser.connect(&daemon);
    loses.send(&request::get((1, 1)), &[]);
    assert!(!loses.is_answered(MEANWHILE));
    let mut wins = winner.connect(&daemon);
    wins.send(&request::get((1, 0)), &[]);
    assert!(!wins.is_answered(MEANWHILE));

    daemon.reload(&serial("store/0"));
    assert!(!loses.is_answered(MEANWHILE), "nobody's turn has come");
    drop(owns);
    owner.kill();
    assert_eq!(loses.answer().errno(), libc::EACCES);
    // Whoever may do nothing keeps nobody waiting.
    assert_eq!(wins.answer().payload(), b"zero");
}

#[test]
fn who_owns_a_turn_keeps_it_through_a_reload_also_when_one_of_its_requests_is_refused() {
    let serial =
        |slots: &str| allowing("\"*\"", slots).replace("id = 1\n", "id = 1\nserial = true\n");
    let daemon = Daemon::with_policy(&serial("store/*")).start();
    let mut owns = daemon.connect();
    owns.add((1, 0), "zero").done();
    daemon.reload(&serial("store/0"));
    assert_eq!(owns.get((1, 1)).errno(), libc::EACCES);
    let other = Person::same();
    let mut waits = other.connect(&daemon);
    waits.send(&request::get((1, 0)), &[]);
    assert!(!waits.is_answered(MEANWHILE));
    assert_eq!(owns.get((1, 0)).payload(), b"zero");
    drop(owns);
    assert_eq!(waits.answer().payload(), b"zero");
}

/// What the service manager is told.
struct Notices(UnixDatagram);

impl Notices {
    fn of(builder: Builder) -> (Self, Builder) {
        let path = builder.directory().join("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o666)).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        (Self(socket), builder.environment("NOTIFY_SOCKET", path))
    }

    fn next(&self) -> String {
        let mut message = [0; 4096];
        let length = self.0.recv(&mut message).expect("the service manager is told");
        String::from_utf8_lossy(&message[..length]).into_owned()
    }

    /// RELOADING=1 with the time, and then READY=1; gives the status.
    #[track_caller]
    fn are_of_a_reload(&self) -> String {
        let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
        let now = u64::try_from(now.tv_sec).unwrap() * 1_000_000;
        let first = self.next();
        let mut lines = first.lines();
        assert_eq!(lines.next(), Some("RELOADING=1"), "{first}");
        let time = lines.next().and_then(|line| line.strip_prefix("MONOTONIC_USEC="));
        let time: u64 = time.expect("the time").parse().unwrap();
        assert!(time.abs_diff(now) < 60_000_000, "{time} is not about {now}");
        let second = self.next();
        let mut lines = second.lines();
        assert_eq!(lines.next(), Some("READY=1"), "{second}");
        lines.next().and_then(|line| line.strip_prefix("STATUS=")).unwrap_or_default().to_owned()
    }
}

#[test]
fn the_service_manager_is_told_when_a_reload_begins_and_ends_well_or_not() {
    let (notices, builder) = Notices::of(Daemon::with_policy(&everything()));
    let daemon = builder.start();
    assert_eq!(notices.next().lines().next(), Some("READY=1"));
    daemon.reload(&allowing("\"get\"", "store/0"));
    assert_eq!(notices.are_of_a_reload(), "serving under the new policy");
    daemon.write_policy_text("nonsense");
    daemon.reload_in_vain();
    assert!(notices.are_of_a_reload().contains("could not be reloaded"));
    daemon.write_policy(&everything());
    daemon.says(&["reload"]);
    notices.are_of_a_reload();
}

#[test]
fn a_worker_that_dies_during_a_reload_is_followed_by_one_under_the_new_policy() {
    let (notices, builder) = Notices::of(Daemon::with_policy(&everything()));
    let daemon = builder.start();
    daemon.connect().add((1, 0), "kept").done();
    // So many rules that reading them takes a while.
    let rule = |number| {
        format!(
            "[[rules]]\nid = \"r{number}\"\nallow = [\"get\"]\nslots = [\"store/{number}\"]\nuser = {number}\n"
        )
    };
    let many: String = (1..300).map(rule).collect();
    let policies = [allowing("\"get\"", "store/7"), everything()].map(|policy| policy + &many);
    let expected = [libc::EACCES, 0];
    for round in 0..30 {
        let new = round % 2;
        daemon.write_policy(&policies[new]);
        daemon.hang_up();
        // Sooner or later in what a reload does; whichever it is, the outcome is the same.
        std::thread::sleep(Duration::from_millis(u64::try_from(round).unwrap()));
        daemon.kill_worker();
        wait_until("the new policy is in force", || {
            daemon.connect().get((1, 0)).errno() == expected[new]
        });
        drained(&notices);
    }
    let log = daemon.log().text();
    let deaths = log.split('\n').filter(|line| line.contains("the worker has died"));
    let others: Vec<_> = deaths.filter(|line| !line.contains("(signal: 9")).collect();
    assert!(others.is_empty(), "it died of something else: {others:#?}");
}

/// Reads what the service manager was told until a READY=1 has come that nothing follows: it was
/// told that each reload has ended.
fn drained(notices: &Notices) {
    let mut last = String::new();
    wait_until("the last reload has ended", || {
        notices.0.set_nonblocking(true).unwrap();
        let mut message = [0; 4096];
        while let Ok(length) = notices.0.recv(&mut message) {
            last = String::from_utf8_lossy(&message[..length]).into_owned();
        }
        last.starts_with("READY=1")
    });
}

#[test]
fn a_flood_of_reloads_in_vain_is_a_few_records_with_a_count() {
    let mut daemon = Daemon::with_policy(&everything()).start();
    daemon.write_policy_text("nonsense");
    for _ in 0..20 {
        daemon.complains(1, &["reload"]);
    }
    daemon.end(rustix::process::Signal::TERM);
    let records = reloads(&daemon);
    let sum: u32 = records.iter().map(|record| record.count.max(1)).sum();
    assert_eq!(sum, 20, "{records:#?}");
    assert!(records.len() < 20, "{} records", records.len());
}

const PEERS: i32 = 50;
/// How many of them also ask for what is opened.
const OPENERS: i32 = 6;
const STORM: Duration = Duration::from_secs(10);
const EVERY: Duration = Duration::from_millis(10);

/// Policy `number` of two: even slots to everybody under the first, odd ones under the second;
/// and a resource at 1000 + number, opened for each who asks.
fn one_of_two(number: i32) -> String {
    let slots: Vec<String> = (0..PEERS)
        .filter(|index| index % 2 == number)
        .map(|index| format!("\"store/{index}\""))
        .collect();
    format!(
        "[tags.store]\nid = 1\n[resources.null]\nslot = \"store/{slot}\"\ndevice = \"/dev/null\"\n\
         [[rules]]\nid = \"half\"\nallow = [\"get\"]\nslots = [{}, \"null\"]\nanyone = true\n",
        slots.join(", "),
        slot = 1000 + number
    )
}

#[test]
fn a_reload_every_10_ms_while_50_peers_ask_loses_no_answer_and_every_one_is_right() {
    let daemon = Daemon::with_policy(&everything()).start();
    let mut first = daemon.connect();
    (0..PEERS).for_each(|index| first.add((1, index), index.to_ne_bytes()).done());
    daemon.reload(&one_of_two(0));
    wait_until("all is as it was", || first.get((1, 0)).errno() == 0);
    let before = daemon.descriptors();
    let end = std::time::Instant::now() + STORM;
    let counts: Vec<[u64; 4]> = std::thread::scope(|scope| {
        let asked: Vec<_> = (0..PEERS)
            .map(|index| {
                let peer = daemon.connect();
                scope.spawn(move || ask_until(end, peer, index))
            })
            .collect();
        let mut number = 0;
        while std::time::Instant::now() < end {
            number = 1 - number;
            daemon.write_policy(&one_of_two(number));
            daemon.hang_up();
            std::thread::sleep(EVERY);
        }
        asked.into_iter().map(|thread| thread.join().expect("a peer failed")).collect()
    });
    let sums = (0..4).map(|kind| counts.iter().map(|count| count[kind]).sum::<u64>());
    let sums: Vec<u64> = sums.collect();
    // On a busy machine the policy may change each time before a device is open.
    let came = [sums[0], sums[1], sums[2] + sums[3]];
    assert!(came.iter().all(|sum| *sum > 0), "each answer came at least once: {sums:?}");
    drop(counts);
    // The last one wins.
    daemon.reload(&one_of_two(1));
    assert_eq!(first.get((1, 0)).errno(), libc::EACCES);
    assert_eq!(first.get((1, 1)).payload(), 1i32.to_ne_bytes());
    assert_eq!(first.get((1, 1000)).errno(), libc::EACCES);
    first.get((1, 1001)).descriptor();
    assert!(!daemon.log().text().contains("has died"));
    daemon.wait_for_descriptors(before);
}

/// Asks for one slot and maybe a resource, again and again; every answer must be right under one
/// of the two. Gives how often each kind of answer came.
fn ask_until(end: std::time::Instant, mut peer: Peer, index: i32) -> [u64; 4] {
    let mut counts = [0; 4];
    while std::time::Instant::now() < end {
        match peer.get((1, index)) {
            Answer::Deposit { payload, descriptor: None, .. } => {
                assert_eq!(payload, index.to_ne_bytes());
                counts[0] += 1;
            }
            Answer::Failed(libc::EACCES, _) => counts[1] += 1,
            other => panic!("slot {index}: {other:?}"),
        }
        // More at once of one user are refused for that.
        if index >= OPENERS {
            continue;
        }
        match peer.get((1, 1000 + index % 2)) {
            Answer::Deposit { payload, descriptor: Some(descriptor), .. } => {
                assert!(payload.is_empty());
                assert!(sample::same_file(descriptor, fs::File::open("/dev/null").unwrap()));
                counts[2] += 1;
            }
            Answer::Failed(libc::EACCES, _) => counts[3] += 1,
            other => panic!("resource {}: {other:?}", index % 2),
        }
    }
    counts
}

#[test]
fn reloads_that_come_together_are_all_answered() {
    let daemon = Daemon::with_policy(&everything()).start();
    let children: Vec<_> = (0..20)
        .map(|_| daemon.command(&["reload"]).stdout(std::process::Stdio::null()).spawn().unwrap())
        .collect();
    for mut child in children {
        let status = wait_for("a reload ends", || child.try_wait().unwrap());
        assert!(status.success(), "{status}");
    }
}
