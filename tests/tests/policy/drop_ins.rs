//! Drop-ins of the policy, served by a real daemon.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use fdbroker_tests::{Daemon, fixtures};

const MAIN: &str = "[tags.main]\nid = 1\n";

/// A tag, a resource and a rule of their own, and a test of them.
const DROP_IN: &str = r#"version = 1

[tags.more]
id = 2

[resources.file]
slot = "more/0"
file = "FILE"

[[rules]]
id = "everybody may get the file"
allow = ["get"]
slots = ["file"]
anyone = true

[[tests]]
user = 4242
right = "get"
slot = "file"
expect = "granted"
rule = "everybody may get the file"
"#;

/// A daemon to be started with this drop-in.
fn with_drop_in(text: &str) -> fdbroker_tests::Builder {
    let builder = Daemon::with_policy(MAIN);
    let directory = builder.directory().join("policy.d");
    fs::create_dir(&directory).unwrap();
    fs::set_permissions(&directory, fs::Permissions::from_mode(0o755)).unwrap();
    let file = builder.directory().private_file("served", "what the drop-in serves");
    let text = text.replace("FILE", file.to_str().unwrap());
    builder.directory().private_file("policy.d/10-more.toml", text);
    builder
}

#[test]
fn what_a_drop_in_declares_and_allows_is_served_also_by_the_next_worker() {
    let daemon = with_drop_in(DROP_IN).start();
    for _ in 0..2 {
        let descriptor = daemon.connect().get((2, 0)).descriptor();
        assert_eq!(fixtures::content(descriptor), "what the drop-in serves");
        daemon.kill_worker();
    }
    let record = daemon.log().decisions().remove(0);
    assert_eq!(record.rule.as_deref(), Some("everybody may get the file"));
}

#[test]
fn a_drop_in_whose_test_fails_keeps_the_broker_from_starting() {
    let (status, said) = with_drop_in(&DROP_IN.replace("\"granted\"", "\"refused\"")).fail();
    assert_eq!(status, 78, "{said}");
    assert!(said.contains("policy.d/10-more.toml:") && said.contains("this test fails"), "{said}");
}
