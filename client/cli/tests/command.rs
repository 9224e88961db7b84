//! The command, as a script sees it: what it prints, and what it exits with.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "support/run.rs"]
mod run;
#[path = "../../tests/support/mod.rs"]
mod support;

use std::collections::BTreeSet;
use std::io::Write;
use std::os::fd::AsFd;
use std::process::{Command, Output, Stdio};

use fdbroker::Broker;
use fdbroker_wire::Errno;
use run::{at, fdbroker, status};
use support::{Fake, slot};

const POLICY: &str = r#"
version = 1

[tags.devices]
id = 1

[tags.web]
id = 10

[resources.zero]
slot = "devices/0"
device = "/dev/zero"
access = "read"

[[rules]]
id = "a user that no machine has may keep sockets"
allow = ["add", "get"]
slots = ["web/*", "zero"]
user = "nobody-has-this-name"
"#;

#[test]
fn every_subcommand_has_help_with_an_example() {
    for subcommand in
        ["get", "add", "del", "tag", "list", "exec", "reload", "purge", "status", "check"]
    {
        let (out, _) = status(&fdbroker(&[subcommand, "--help"]).output().unwrap(), 0);
        assert!(
            out.contains("Example") && out.contains(&format!("fdbroker {subcommand}")),
            "{out}"
        );
    }
    let (out, _) = status(&fdbroker(&["--help"]).output().unwrap(), 0);
    assert!(out.contains("Exit statuses") && out.contains("127"), "{out}");
    let (out, _) = status(&fdbroker(&["--version"]).output().unwrap(), 0);
    assert!(out.starts_with("fdbroker "), "{out}");
}

#[test]
fn a_command_line_that_makes_no_sense_exits_with_2() {
    let wrong: &[&[&str]] = &[
        &[],
        &["get"],
        &["put", "1/0"],
        &["add", "1/0"],
        &["add", "1/0", "--fd", "0", "--open", "x"],
        &["add", "1/0", "--payload", "-", "--access", "write"],
        &["add", "1/0", "--listen", "udp:1"],
        &["exec", "1/0"],
        &["purge"],
        &["purge", "1/0", "--all"],
        &["exec", "1/0=a:b", "--", "true"],
        &["get", "1/0", "--timeout", "soon"],
        &["get", "1/0", "--trust-uid", "5", "--trust-anyone"],
    ];
    for arguments in wrong {
        status(&fdbroker(arguments).output().unwrap(), 2);
    }
}

#[test]
fn a_broker_that_cannot_be_reached_or_trusted_exits_with_6() {
    let fake = Fake::absent();
    let (_, err) = status(&at(&fake, &["get", "1/0"]), 6);
    assert!(err.starts_with("fdbroker: ") && err.contains(fake.path().to_str().unwrap()), "{err}");
    let fake = Fake::honest();
    let stranger = (rustix::process::geteuid().as_raw() + 1).to_string();
    let (_, err) = status(&at(&fake, &["get", "1/0", "--trust-uid", &stranger]), 6);
    assert!(err.contains("--trust-uid"), "{err}");
}

#[test]
fn each_answer_of_a_broker_has_its_exit_status() {
    for (errno, expected) in [
        (Errno::ACCES, 3),
        (Errno::NOENT, 4),
        (Errno::DQUOT, 5),
        (Errno::MFILE, 5),
        (Errno::IO, 7),
        (Errno::INVAL, 7),
    ] {
        let fake = Fake::failing(errno.get(), "because\x1b[2J");
        for arguments in [&["get", "1/0"][..], &["del", "1/0"], &["tag", "1"]] {
            let (out, err) = status(&at(&fake, arguments), expected);
            assert!(out.is_empty() && err.lines().count() == 1, "{out}{err}");
            assert!(!err.contains('\x1b'), "{err:?}");
        }
    }
}

#[test]
fn a_payload_goes_in_and_comes_out() {
    let fake = Fake::honest();
    let mut command = fdbroker(&["add", "10/3", "--payload", "-"]);
    command.env("FDBROKER_SOCKET", fake.path()).stdin(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(b"hello\n").unwrap();
    assert!(child.wait().unwrap().success());

    assert_eq!(status(&at(&fake, &["get", "10/3"]), 0).0, "hello\n");
    let (out, _) = status(&at(&fake, &["get", "--json", "10/3"]), 0);
    let json: serde_json::Value = serde_json::from_str(&out).unwrap();
    let expected = serde_json::json!({
        "slot": "10/3", "ufd": -1, "payload": "hello\n", "descriptor": null,
    });
    assert_eq!(json, expected);
    assert_eq!(status(&at(&fake, &["tag", "10"]), 0).0, "used 4 total 6\n");
    status(&at(&fake, &["del", "10/3"]), 0);
    status(&at(&fake, &["get", "10/3"]), 4);
}

#[test]
fn get_says_what_came_when_a_descriptor_came_and_no_payload() {
    let fake = Fake::honest();
    status(&at(&fake, &["add", "1/0", "--open", "/dev/null"]), 0);
    let (out, err) = status(&at(&fake, &["get", "1/0"]), 0);
    assert!(out.is_empty() && err.lines().count() == 1, "{out}{err}");
    for word in ["1/0", "char-device", "/dev/null", "--json", "exec"] {
        assert!(err.contains(word), "{word} is missing: {err}");
    }
    let (_, err) = status(&at(&fake, &["get", "1/0", "--json"]), 0);
    assert!(err.is_empty(), "{err}");
    let named = fake.directory().join("a\x1b[2Jname");
    std::fs::write(&named, "").unwrap();
    status(&at(&fake, &["add", "1/1", "--open", named.to_str().unwrap()]), 0);
    let (_, err) = status(&at(&fake, &["get", "1/1"]), 0);
    assert!(!err.contains('\x1b') && err.lines().count() == 1, "{err:?}");
    status(&at(&fake, &["add", "1/2", "--payload", "/dev/null"]), 0);
    let (out, err) = status(&at(&fake, &["get", "1/2"]), 0);
    assert!(out.is_empty() && err.is_empty(), "an empty payload is all there is: {out}{err}");
}

#[test]
fn a_number_that_is_too_large_is_said_to_be_so() {
    let fake = Fake::honest();
    for slot in ["devices/99999999999", "1/99999999999", "1/2147483648"] {
        let (_, err) = status(&at(&fake, &["get", slot]), 2);
        assert!(err.contains(slot) && err.contains("from 0 to 2147483647"), "{err}");
    }
    for arguments in [["get", "32768/0"], ["tag", "99999999999"]] {
        let (_, err) = status(&at(&fake, &arguments), 2);
        assert!(err.contains("from 0 to 32767"), "{err}");
    }
}

#[test]
fn a_payload_that_is_too_large_or_not_there_is_a_local_failure() {
    let fake = Fake::honest();
    let file = fake.directory().join("large");
    std::fs::write(&file, vec![0xff; 32769]).unwrap();
    status(&at(&fake, &["add", "1/0", "--payload", file.to_str().unwrap()]), 8);
    let mut command = fdbroker(&["add", "1/0", "--payload", "-"]);
    command.env("FDBROKER_SOCKET", fake.path()).stdin(std::fs::File::open(&file).unwrap());
    let (_, err) = status(&command.output().unwrap(), 8);
    assert!(err.starts_with("fdbroker: standard input is too large"), "{err}");
    status(&at(&fake, &["add", "1/0", "--payload", "/nowhere"]), 8);
    status(&at(&fake, &["add", "1/0", "--open", "/nowhere"]), 8);
    status(&at(&fake, &["add", "1/0", "--fd", "999"]), 8);
    std::fs::write(&file, vec![0xff; 2]).unwrap();
    status(&at(&fake, &["add", "1/0", "--payload", file.to_str().unwrap()]), 0);
    let (out, _) = status(&at(&fake, &["get", "--json", "1/0"]), 0);
    assert!(out.contains(r#""payload_hex":"ffff""#), "{out}");
}

#[test]
fn descriptors_are_opened_listened_and_inherited_and_told_in_json() {
    let fake = Fake::honest();
    let json = |slot: &str| -> serde_json::Value {
        let (out, _) = status(&at(&fake, &["get", "--json", slot]), 0);
        serde_json::from_str(&out).unwrap()
    };
    status(&at(&fake, &["add", "1/0", "--open", "/dev/null", "--access", "read-write"]), 0);
    let descriptor = &json("1/0")["descriptor"];
    assert_eq!(descriptor["kind"], "char-device");
    assert_eq!(descriptor["target"], "/dev/null");
    assert_eq!(descriptor["access"], "read-write");
    assert_eq!(descriptor["device"], serde_json::json!({ "major": 1, "minor": 3 }));

    status(&at(&fake, &["add", "1/1", "--listen", "tcp:127.0.0.1:0"]), 0);
    let descriptor = &json("1/1")["descriptor"];
    assert_eq!(descriptor["kind"], "tcp-listener");
    assert!(descriptor["local"].as_str().unwrap().starts_with("127.0.0.1:"));

    let path = fake.directory().join("listener");
    let word = format!("unix:{}", path.display());
    status(&at(&fake, &["add", "1/2", "--listen", &word]), 0);
    let descriptor = &json("1/2")["descriptor"];
    assert_eq!(descriptor["kind"], "unix-listener");
    assert_eq!(descriptor["local"], path.to_str().unwrap());
    let (_, err) = status(&at(&fake, &["add", "1/2", "--listen", &word]), 8);
    assert!(err.ends_with("; the socket may be parked already: see fdbroker list\n"), "{err}");

    let script = format!("exec {} add 1/3 --fd 7 7</etc/passwd", env!("CARGO_BIN_EXE_fdbroker"));
    let mut shell = Command::new("sh");
    shell.args(["-c", &script]).env("FDBROKER_SOCKET", fake.path());
    status(&shell.output().unwrap(), 0);
    let deposit = json("1/3");
    assert_eq!((&deposit["ufd"], &deposit["descriptor"]["kind"]), (&7.into(), &"file".into()));
    assert_eq!(deposit["descriptor"]["access"], "read");
}

/// Leaves a file with this content in a slot.
fn deposit_file(fake: &Fake, place: &str, content: &str) {
    let path = fake.directory().join(place.replace('/', "."));
    std::fs::write(&path, content).unwrap();
    let file = std::fs::File::open(path).unwrap();
    let mut broker = Broker::connect_to(fake.path()).unwrap();
    broker.add(slot(place), Some(file.as_fd()), b"").unwrap();
}

#[test]
fn exec_hands_descriptors_over_as_socket_activation_does() {
    let fake = Fake::honest();
    deposit_file(&fake, "1/0", "zero");
    deposit_file(&fake, "1/1", "one");
    let script =
        r#"test "$LISTEN_PID" = $$ && echo "$LISTEN_FDS $LISTEN_FDNAMES" && cat <&3 && cat <&4"#;
    let output = at(&fake, &["exec", "1/1=first", "1/0", "--", "sh", "-c", script]);
    assert_eq!(status(&output, 0).0, "2 first:1.0\nonezero");
}

#[test]
fn exec_passes_on_nothing_but_what_was_asked_for_and_what_was_inherited() {
    let fake = Fake::honest();
    deposit_file(&fake, "1/0", "");
    let script = "ls /proc/$$/fd";
    let numbers = |output: Output| -> BTreeSet<u32> {
        status(&output, 0).0.lines().map(|line| line.parse().unwrap()).collect()
    };
    let with = numbers(at(&fake, &["exec", "1/0", "1/0", "--", "sh", "-c", script]));
    let mut plain = Command::new("sh");
    let mut without = numbers(plain.args(["-c", script]).stdin(Stdio::null()).output().unwrap());
    without.extend([3, 4]);
    assert_eq!(with, without);
}

#[test]
fn exec_puts_descriptors_where_inherited_ones_were() {
    let fake = Fake::honest();
    deposit_file(&fake, "1/0", "right");
    let program = env!("CARGO_BIN_EXE_fdbroker");
    let script = format!(
        "exec {program} exec 1/0 1/0 -- sh -c 'cat <&3' 3</dev/null 4</dev/null 5</dev/null"
    );
    let mut shell = Command::new("sh");
    shell.args(["-c", &script]).env("FDBROKER_SOCKET", fake.path());
    assert_eq!(status(&shell.output().unwrap(), 0).0, "right");
}

#[test]
fn exec_fails_as_env_does_and_ends_as_its_program_does() {
    let fake = Fake::honest();
    deposit_file(&fake, "1/0", "");
    let mut broker = Broker::connect_to(fake.path()).unwrap();
    broker.add(slot("1/5"), None, b"payload").unwrap();
    status(&at(&fake, &["exec", "1/0", "--", "sh", "-c", "exit 42"]), 42);
    status(&at(&fake, &["exec", "1/0", "--", "/nowhere/nothing"]), 127);
    status(&at(&fake, &["exec", "1/0", "--", "/etc/passwd"]), 126);
    status(&at(&fake, &["exec", "1/0", "1/9", "--", "true"]), 4);
    let (_, err) = status(&at(&fake, &["exec", "1/5", "--", "true"]), 8);
    assert!(err.contains("payload"), "{err}");
}

#[test]
fn names_are_looked_up_in_a_policy_whose_users_need_not_exist() {
    let fake = Fake::honest();
    deposit_file(&fake, "1/0", "");
    deposit_file(&fake, "10/3", "");
    let policy = fake.directory().join("policy.toml");
    std::fs::write(&policy, POLICY).unwrap();
    let policy = policy.to_str().unwrap();
    for (name, number) in [("zero", "1/0"), ("web/3", "10/3"), ("10/3", "10/3")] {
        let (out, _) = status(&at(&fake, &["get", "--json", name, "--policy", policy]), 0);
        assert!(out.contains(&format!(r#""slot":"{number}""#)), "{out}");
    }
    status(&at(&fake, &["tag", "web", "--policy", policy]), 0);
    let output = at(
        &fake,
        &["exec", "zero", "web/3", "--policy", policy, "--", "sh", "-c", "echo $LISTEN_FDNAMES"],
    );
    assert_eq!(status(&output, 0).0, "zero:web.3\n");
    let (_, err) = status(&at(&fake, &["get", "nothing", "--policy", policy]), 2);
    assert!(err.contains(policy), "{err}");
}

#[test]
fn without_a_policy_file_names_are_a_local_failure_and_numbers_are_suggested() {
    let fake = Fake::honest();
    let (_, err) = status(&at(&fake, &["get", "web/3", "--policy", "/nowhere"]), 8);
    let expected = "the policy file \"/nowhere\", where names are looked up, cannot be read: \
                    No such file or directory (os error 2); give numbers, or --policy another\n";
    assert!(err.ends_with(expected), "{err}");
    let policy = fake.directory().join("policy.toml");
    std::fs::write(&policy, "version = 2\n[tags").unwrap();
    let mut command = fdbroker(&["get", "web/3"]);
    let (_, err) = status(&command.env("FDBROKER_POLICY", &policy).output().unwrap(), 8);
    assert!(err.contains("policy.toml:"), "{err}");
}

#[test]
fn check_tells_what_is_wrong_with_each_file_and_exits_with_1() {
    let directory = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = directory.path().join(name);
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o600))
            .unwrap();
        path.to_str().unwrap().to_owned()
    };
    let good = POLICY.replace("\"nobody-has-this-name\"", "0");
    // Not every machine has the account that is the default.
    let good = good.replacen("version = 1\n", "version = 1\n[broker]\nuser = 64001\n", 1);
    let good = file("good.toml", &good);
    let bad = file("bad.toml", POLICY);
    let (out, err) = status(&fdbroker(&["check", &good]).output().unwrap(), 0);
    assert!(
        out.starts_with(&format!("{good}: ok: 2 tags, 1 resource")) && err.is_empty(),
        "{out}{err}"
    );
    let (out, err) = status(&fdbroker(&["check", &bad, &good, "/nowhere"]).output().unwrap(), 1);
    assert!(out.contains(": ok: "), "the others are checked all the same: {out}");
    assert!(err.contains("nobody-has-this-name") && err.contains("/nowhere"), "{err}");
}

#[test]
fn a_reader_that_leaves_early_is_no_failure() {
    let fake = Fake::honest();
    let mut broker = Broker::connect_to(fake.path()).unwrap();
    broker.add(slot("1/0"), None, &[b'x'; 32768]).unwrap();
    let (reading, writing) = rustix::pipe::pipe().unwrap();
    drop(reading);
    let mut command = fdbroker(&["get", "1/0"]);
    command.env("FDBROKER_SOCKET", fake.path()).stdout(Stdio::from(writing)).stderr(Stdio::piped());
    let (_, err) = status(&command.spawn().unwrap().wait_with_output().unwrap(), 0);
    assert!(err.is_empty(), "{err}");
}

#[test]
fn check_refuses_root_as_the_workers_user_and_notes_one_that_is_missing() {
    let directory = tempfile::tempdir().unwrap();
    let policy = |name: &str, text: &str| {
        let path = directory.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let root = policy("root.toml", "version = 1\n[broker]\nuser = 0\n");
    let (_, err) = status(&fdbroker(&["check", &root]).output().unwrap(), 1);
    assert!(err.contains("must not run as root"), "{err}");
    let number = policy("number.toml", "version = 1\n[broker]\nuser = 64001\n");
    let (out, err) = status(&fdbroker(&["check", &number]).output().unwrap(), 0);
    assert!(out.contains(": ok: ") && err.is_empty(), "{out}{err}");
}
