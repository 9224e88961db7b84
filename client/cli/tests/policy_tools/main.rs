//! The commands that answer from policy files alone: check, explain, who. No broker runs.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod check;
mod diff;
mod explain;
mod who;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};
use tempfile::TempDir;

const POLICY: &str = r#"version = 1

[tags.devices]
id = 1

[tags.web]
id = 10

[resources.zero]
slot = "devices/0"
device = "/dev/zero"

[[rules]]
id = "root may get zero"
allow = ["get"]
slots = ["zero"]
user = "root"

[[rules]]
id = "services of 4242 keep their sockets"
allow = ["add", "get", "del", "tag"]
slots = ["web/*"]
user = 4242
unit = "app@*.service"

[[rules]]
id = "group 77 gets nothing"
deny = ["*"]
slots = ["*"]
group = 77

[[rules]]
id = "operators"
allow = ["operate"]
user = 4242
valid_until = 2030-01-01T00:00:00Z

[[tests]]
user = "root"
right = "get"
slot = "zero"
expect = "granted"
"#;

/// A directory with policy files that only the tester can write.
struct Place(TempDir);

impl Place {
    /// With the policy above as policy.toml.
    fn new() -> Self {
        let place = Self(tempfile::tempdir().unwrap());
        place.write("policy.toml", POLICY);
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, text: &str) -> String {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::set_permissions(path.parent().unwrap(), fs::Permissions::from_mode(0o700)).unwrap();
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        path.to_str().unwrap().to_owned()
    }

    /// Runs the command with this policy.
    fn run(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_fdbroker"));
        command.args(arguments).env("FDBROKER_POLICY", self.path("policy.toml"));
        command.stdin(Stdio::null()).output().unwrap()
    }

    /// What it says, given that it exits so.
    #[track_caller]
    fn says(&self, status: i32, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        let [out, err] =
            [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text).into_owned());
        assert_eq!(output.status.code(), Some(status), "{arguments:?}: {out}{err}");
        if status == 0 { out } else { err }
    }

    #[track_caller]
    fn object(&self, arguments: &[&str]) -> Value {
        serde_json::from_str(&self.says(0, &[arguments, &["--json"]].concat())).unwrap()
    }
}

#[test]
fn each_command_has_help_with_examples() {
    for command in ["check", "explain", "who"] {
        let help = Place::new().says(0, &[command, "--help"]);
        assert!(
            help.contains(&format!("fdbroker {command}")) && help.contains("Examples"),
            "{help}"
        );
    }
}

#[test]
fn nothing_of_a_file_reaches_the_terminal_as_a_command() {
    let place = Place::new();
    let policy = POLICY.replace("root may get zero", "\u{202e}root \\u2066may");
    place.write("policy.toml", &policy);
    let label = "\u{9b}31m\u{1b}]0;title\u{7}";
    let arguments = ["explain", "--user", "root", "--group", "1", "--label", label, "get", "zero"];
    for said in [
        place.says(0, &arguments),
        place.says(0, &[&arguments[..], &["--json"]].concat()),
        place.says(0, &["who", "zero"]),
    ] {
        let harmful = said.chars().find(|c| (c.is_control() && *c != '\n') || *c == '\u{202e}');
        assert_eq!(harmful, None, "{said:?}");
    }
    let object = place.object(&arguments);
    assert_eq!(object["peer"]["label"], label);
    assert_eq!(object["rule"], "\u{202e}root \u{2066}may");
}

#[test]
fn a_policy_with_findings_exits_with_1() {
    let place = Place::new();
    place.write("policy.toml", "version = 2\n");
    for arguments in [&["explain", "--user", "root", "get", "1/0"][..], &["who", "1/0"]] {
        assert!(place.says(1, arguments).contains("policy.toml:1:11"));
    }
}

#[test]
fn the_tools_say_that_a_resources_slot_is_the_policys_own() {
    let place = Place::new();
    let rule = "version = 1\n[[rules]]\nid = \"all\"\nallow = [\"*\"]\nslots = [\"devices/*\"]\nuser = 0\n";
    place.write("policy.d/10.toml", rule);
    let said = place.says(0, &["explain", "--user", "0", "add", "zero"]);
    assert!(
        said.starts_with(
            "refused: root may not add zero (devices/0): nobody can change a resource's slot\n"
        ),
        "{said}"
    );
    assert!(said.contains("\"all\": allows it, but nobody can change a resource's slot"), "{said}");
    let object = place.object(&["explain", "--user", "0", "add", "zero"]);
    assert_eq!((&object["verdict"], &object["policys_own"]), (&json!("refused"), &json!(true)));
    let said = place.says(0, &["who", "zero"]);
    assert!(!said.contains("add") && !said.contains("del") && said.contains("list"), "{said}");
}
