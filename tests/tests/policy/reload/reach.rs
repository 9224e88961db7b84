//! What is held when a new policy comes: deposits out of reach, and resources.

use std::process::Command;

use super::*;

/// Two deposits of which the second policy reaches one.
fn half_out_of_reach() -> Daemon {
    let daemon = Daemon::with_policy(&everything()).start();
    let mut peer = daemon.connect();
    for index in [0, 4, 5, 6, 8] {
        peer.add_descriptor((1, index), fixtures::file_saying("held"), "four").done();
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

    let own = Command::new("id").arg("-un").output().unwrap().stdout;
    let own = String::from_utf8(own).unwrap();
    let own = own.trim();
    let row = |slot, name, note| vec![slot, name, "file", own, "4", note];
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
        assert_eq!(listed(&said.out), [["1/0", "store/0", "file"]], "{said:?}");
    }

    // Also the next worker has them; and once a rule reaches them again, all is as it was.
    daemon.kill_worker();
    assert_eq!(daemon.says(&["list"]), all);
    daemon.reload(&everything());
    let mut peer = daemon.connect();
    for index in [0, 4, 5, 6, 8] {
        assert_eq!(fixtures::content(peer.get((1, index)).descriptor()), "held");
    }
    assert!(!daemon.says(&["list"]).contains("unreachable"));
}

#[test]
fn a_purge_deletes_what_no_rule_reaches_and_nothing_else() {
    let daemon = half_out_of_reach();
    if needs_root("a purge by somebody without the right") {
        assert_eq!(daemon.run_as(STRANGER, &["purge", "--all"]).status, 3);
        assert_eq!(daemon.run_as(STRANGER, &["purge", "1/4"]).status, 3);
        assert_eq!(daemon.run_as(STRANGER, &["purge", "store/4"]).status, 3);
    }
    let held = |daemon: &Daemon| -> Vec<String> {
        let said = daemon.says(&["list"]);
        listed(&said).into_iter().map(|row| row[0].to_owned()).collect()
    };
    assert_eq!(held(&daemon).len(), 5);
    let said = daemon.complains(7, &["purge", "1/0"]);
    assert!(said.contains("`fdbroker who SLOT` names them"), "{said}");
    daemon.complains(4, &["purge", "1/77"]);
    let full = daemon.descriptors().supervisor;
    assert_eq!(daemon.says(&["purge", "1/5"]), "1/5\n");
    daemon.complains(4, &["purge", "1/5"]);
    assert_eq!(held(&daemon), ["1/0", "1/4", "1/6", "1/8"]);
    let purged = |line: &Line| line.reason.starts_with("purged");
    let record = daemon.log().decisions().into_iter().find(purged).unwrap();
    assert_eq!((&*record.slot, &*record.right), ("1/5", "operate"));
    assert_eq!(record.rule.as_deref(), Some("operators"));

    // Also by its name, though no rule reaches that.
    assert_eq!(daemon.says(&["purge", "store/6"]), "1/6\n");
    assert_eq!(daemon.says(&["purge", "--all"]), "1/4\n1/8\n");
    assert_eq!(daemon.says(&["purge", "--all"]), "");
    assert_eq!(held(&daemon), ["1/0"]);
    wait_until("the supervisor has closed them", || daemon.descriptors().supervisor <= full - 4);
    daemon.kill_worker();
    assert_eq!(held(&daemon), ["1/0"]);
    assert_eq!(fixtures::content(daemon.connect().get((1, 0)).descriptor()), "held");
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
    assert_eq!(fixtures::access_mode(&changed), rustix::fs::OFlags::RDWR);
    assert_eq!(peer.get((1, 2)).errno(), libc::ENOENT);
    wait_until("the one that goes is closed", || daemon.descriptors().supervisor == open - 1);
    assert!(
        !process::descriptors(daemon.supervisor_pid())
            .unwrap()
            .values()
            .any(|target| { target == directory.join("goes").to_str().unwrap() })
    );
    // A peer keeps the descriptors that it has.
    assert_eq!(fixtures::content(first.remove(2)), "goes");

    let last =
        with_files(&directory, &[("stays", "read"), ("changes", "read-write"), ("comes", "read")]);
    daemon.reload(&last);
    assert_eq!(fixtures::content(peer.get((1, 2)).descriptor()), "comes");
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
