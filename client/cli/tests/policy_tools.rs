//! The commands that answer from policy files alone: check, explain, who. No broker runs.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

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
fn check_counts_what_it_found_good() {
    let place = Place::new();
    let policy = place.path("policy.toml");
    let said = place.says(0, &["check", policy.to_str().unwrap()]);
    assert!(
        said.ends_with("/policy.toml: ok: 2 tags, 1 resource, 4 rules, 1 test passed\n"),
        "{said}"
    );
    let rule = "version = 1\n[[rules]]\nallow = [\"get\"]\nslots = [\"web/0\"]\nuser = 7\n";
    place.write("policy.d/10.toml", rule);
    place.write("policy.d/README", "no policy");
    let said = place.says(0, &["check", policy.to_str().unwrap()]);
    assert!(said.ends_with("5 rules, 1 test passed, with 1 drop-in\n"), "{said}");
}

#[test]
fn check_names_the_drop_in_that_is_wrong() {
    let place = Place::new();
    place.write("policy.d/10.toml", "version = 1\n[tags.web]\nid = 11\n");
    let said = place.says(1, &["check", place.path("policy.toml").to_str().unwrap()]);
    assert!(
        said.contains("policy.d/10.toml:2:7: error") && said.contains("policy.toml:6:7: note"),
        "{said}"
    );
}

#[test]
fn check_fails_where_the_policys_own_tests_fail() {
    let place = Place::new();
    let policy = place.write("policy.toml", &POLICY.replace("\"granted\"", "\"refused\""));
    let said = place.says(1, &["check", &policy]);
    assert!(
        said.contains("this test fails: it is granted, by the rule \"root may get zero\""),
        "{said}"
    );
}

#[test]
fn check_diff_tells_who_gains_and_who_loses() {
    let place = Place::new();
    let old = place.path("policy.toml");
    let fewer = POLICY.replace("slots = [\"web/*\"]", "slots = [\"web/0-9\"]");
    let fewer = fewer.replace(", \"tag\"]", "]");
    let new = fewer.replacen("user = \"root\"\n", "user = [\"root\", 7]\n", 1);
    let new = place.write("new.toml", &new);
    let arguments =
        ["check", "--diff", old.to_str().unwrap(), &new, "--at", "2029-01-01T00:00:00Z"];
    let said = place.says(0, &arguments);
    let (first, table) = said.split_once('\n').unwrap();
    assert_eq!(first, "as of 2029-01-01T00:00:00Z:");
    let lines: Vec<Vec<&str>> = table
        .lines()
        .take_while(|line| !line.starts_with("OLD"))
        .map(|line| line.split("  ").map(str::trim).filter(|cell| !cell.is_empty()).collect())
        .collect();
    let services = "services of 4242 keep their sockets";
    assert_eq!(lines[0], ["right", "on", "who", "before", "after"]);
    assert_eq!(
        lines[1],
        [
            "loses",
            "tag",
            "web as a whole",
            "user 4242, unit app@*.service",
            &format!("allowed by \"{services}\""),
            "no rule allows it"
        ]
    );
    assert_eq!(lines[2], ["unless group 77", "rule \"group 77 gets nothing\""]);
    assert_eq!(
        lines[3],
        [
            "gains",
            "get",
            "zero (devices/0)",
            "user 7",
            "no rule allows it",
            "allowed by \"root may get zero\""
        ]
    );
    assert_eq!(lines[5][..3], ["loses", "get, add, del", "web/10-2147483647"]);
    assert_eq!(lines.len(), 7, "{said}");
    let object = place.object(&arguments);
    assert_eq!(object["at"], "2029-01-01T00:00:00Z");
    assert_eq!(object["changes"][1]["change"], "gains");
    assert_eq!(object["changes"][1]["who"]["users"], json!([{ "uid": 7, "name": null }]));
    assert_eq!(
        object["changes"][1]["on"],
        json!([{ "tag": 1, "tag_name": "devices", "first": 0, "last": 0 }])
    );
    assert_eq!(object["changes"][1]["unless"][0]["rule"], "group 77 gets nothing");
}

#[test]
fn check_diff_says_so_where_nothing_changes_and_fails_where_one_does_not_load() {
    let place = Place::new();
    let old = place.write("old.toml", POLICY);
    let said = place.says(0, &["check", "--diff", &old, &old]);
    assert!(said.contains("nobody gains"), "{said}");
    let bad = place.write("bad.toml", "version = 2\n");
    let said = place.says(1, &["check", "--diff", &bad, &old]);
    assert!(said.contains("bad.toml:1:11"), "{said}");
    place.says(2, &["check", "--diff", &old]);
    place.says(2, &["check", "--json"]);
    place.says(2, &["check", "--diff", &old, &old, "--at", "tomorrow"]);
}

#[test]
fn explain_tells_the_verdict_and_what_each_rule_has_to_do_with_it() {
    let place = Place::new();
    let said = place.says(0, &["explain", "--user", "root", "--group", "77", "get", "zero"]);
    let lines: Vec<_> = said.lines().collect();
    assert_eq!(
        lines[0],
        "refused: root may not get zero (devices/0), by the rule \"group 77 gets nothing\""
    );
    assert!(lines[1].contains("groups 77, unit not known"), "{said}");
    assert_eq!(
        lines[2..],
        [
            "  rule \"group 77 gets nothing\": decides",
            "  rule \"root may get zero\": allows it, but another rule denies it",
        ]
    );
    let said =
        place.says(0, &["explain", "--user", "4242", "--unit", "vpn.service", "list", "web/3"]);
    assert!(
        said.starts_with("refused: 4242 may not list web/3, since no rule allows it\n"),
        "{said}"
    );
    assert!(said.contains("allows get, add, del, tag, and says nothing about list; the unit is vpn.service, not app@*.service"), "{said}");
    assert!(said.contains("not in the group 77"), "{said}");
}

#[test]
fn explain_tells_the_rates_of_the_rule_that_decides() {
    let place = Place::new();
    let rule = "id = \"root may get zero\"\n";
    let rates = "requests_per_second = 5\nrecords_per_second = 6\n";
    place.write("policy.toml", &POLICY.replacen(rule, &format!("{rule}{rates}"), 1));
    let said = place.says(0, &["explain", "--user", "root", "get", "zero"]);
    let line = "rule \"root may get zero\": decides, at most 5 requests and 6 audit records a second for each user\n";
    assert!(said.contains(line), "{said}");
    let object = place.object(&["explain", "--user", "root", "get", "zero"]);
    let rule = &object["rules"][0];
    assert_eq!((&rule["requests_per_second"], &rule["records_per_second"]), (&json!(5), &json!(6)));
}

#[test]
fn explain_derives_the_unit_from_the_control_group() {
    let place = Place::new();
    let ask = |cgroup: &str| {
        place.object(&["explain", "--user", "4242", "--cgroup", cgroup, "tag", "web"])
    };
    assert_eq!(ask("/system.slice/app@1.service/worker")["verdict"], "granted");
    let posing = ask("/user.slice/user-4242.slice/user@4242.service/app.slice/app@1.service");
    assert_eq!(
        (&posing["verdict"], &posing["peer"]["unit"]),
        (&json!("refused"), &json!("user@4242.service"))
    );
}

#[test]
fn explain_takes_the_time_and_the_broker_itself() {
    let place = Place::new();
    let ask = |at: &str| place.object(&["explain", "--user", "4242", "--at", at, "operate"]);
    let granted = ask("2029-12-31T23:59:59Z");
    assert_eq!((&granted["verdict"], &granted["rule"]), (&json!("granted"), &json!("operators")));
    assert_eq!(granted["on"], json!({ "broker": true }));
    let refused = ask("2030-01-01T01:00:00+01:00");
    assert_eq!((&refused["verdict"], &refused["rule"]), (&json!("refused"), &Value::Null));
    let reason = json!({ "reason": "no-longer", "valid_until": "2030-01-01T00:00:00Z" });
    let rule = json!({ "rule": "operators", "effect": "does-not-count", "reasons": [reason] });
    assert_eq!(refused["rules"], json!([rule]));
}

#[test]
fn explain_takes_the_identity_of_a_living_process() {
    let place = Place::new();
    let mut child = Command::new("sleep").arg("60").spawn().unwrap();
    let pid = child.id().to_string();
    let object = place.object(&["explain", "--pid", &pid, "get", "zero"]);
    let me = rustix::process::geteuid().as_raw();
    assert_eq!(object["peer"]["user"]["uid"], me);
    assert_eq!(object["verdict"], if me == 0 { "granted" } else { "refused" });
    let cgroups = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
    if let Some(cgroup) = object["peer"]["cgroup"].as_str() {
        assert!(cgroups.lines().any(|line| line.ends_with(cgroup)), "{cgroup} {cgroups}");
    }
    child.kill().unwrap();
    child.wait().unwrap();
    let said = place.says(8, &["explain", "--pid", &pid, "get", "zero"]);
    assert!(said.contains(&pid) && said.contains("ended"), "{said}");
}

#[test]
fn explain_refuses_a_question_that_makes_no_sense() {
    let place = Place::new();
    for arguments in [
        &["explain", "get", "zero"][..],
        &["explain", "--user", "root", "get"],
        &["explain", "--user", "root", "get", "web"],
        &["explain", "--user", "root", "get", "nowhere/0"],
        &["explain", "--user", "root", "operate", "zero"],
        &["explain", "--user", "root", "own", "zero"],
        &["explain", "--user", "root", "--pid", "1", "get", "zero"],
        &["explain", "--pid", "1", "--group", "7", "get", "zero"],
        &["explain", "--pid", "0", "get", "zero"],
        &["explain", "--user", "nobody-has-this-name", "get", "zero"],
        &["explain", "--user", "root", "--group", "nobody-has-this-name", "get", "zero"],
    ] {
        place.says(2, arguments);
    }
}

#[test]
fn explain_says_that_a_tag_is_not_declared() {
    let said = Place::new().says(0, &["explain", "--user", "root", "get", "9/0"]);
    assert!(said.contains("its tag is not declared"), "{said}");
}

#[test]
fn who_lists_holders_and_what_is_taken_from_them() {
    let place = Place::new();
    let said = place.says(0, &["who", "zero"]);
    let lines: Vec<Vec<&str>> = said
        .lines()
        .map(|line| line.split("  ").map(str::trim).filter(|cell| !cell.is_empty()).collect())
        .collect();
    assert_eq!(lines[1], ["user root", "get", "zero (devices/0)", "\"root may get zero\""]);
    assert_eq!(
        lines[2],
        ["but not group 77", "get", "zero (devices/0)", "\"group 77 gets nothing\""]
    );
    let object = place.object(&["who", "web"]);
    assert_eq!(object["on"], json!({ "tag": 10, "tag_name": "web" }));
    assert_eq!(object["holders"][0]["rights"], json!(["get", "add", "del", "tag"]));
    assert_eq!(object["holders"][0]["who"]["units"], json!(["app@*.service"]));
    assert!(place.says(0, &["who", "9/0"]).contains("nobody"));
    place.says(2, &["who", "nowhere/0"]);
}

#[test]
fn who_without_a_slot_lists_those_who_operate_the_broker() {
    let place = Place::new();
    let said = place.says(0, &["who", "--at", "2029-01-01T00:00:00Z"]);
    assert!(said.contains("user 4242") && said.contains("until 2030-01-01T00:00:00Z"), "{said}");
    assert!(place.says(0, &["who", "--at", "2031-01-01T00:00:00Z"]).contains("nobody"));
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

#[test]
fn explain_knows_the_unit_of_a_control_group() {
    let place = Place::new();
    let asked = |more: &[&str]| -> Vec<String> {
        let begin = ["explain", "--user", "4242", "get", "web/1"];
        begin.iter().chain(more).map(|word| (*word).to_owned()).collect()
    };
    let says = |status, more: &[&str]| {
        let arguments = asked(more);
        place.says(status, &arguments.iter().map(String::as_str).collect::<Vec<_>>())
    };
    let cgroup = ["--cgroup", "/system.slice/app@1.service"];
    assert!(says(0, &cgroup).starts_with("granted"));
    assert!(says(0, &[cgroup[0], cgroup[1], "--unit", "app@1.service"]).starts_with("granted"));
    let said = says(2, &[cgroup[0], cgroup[1], "--unit", "app@2.service"]);
    assert!(said.contains("no process is both in the unit \"app@2.service\""), "{said}");
    let said = says(0, &["--cgroup", "/docker/x"]);
    assert!(said.contains("no unit, cgroup /docker/x, label not known"), "{said}");
    assert!(said.contains("there is no unit, and it must be app@*.service"), "{said}");
}

#[test]
fn check_diff_tells_what_takes_a_restart_and_who_keeps_what_they_have() {
    let place = Place::new();
    let old = place.path("policy.toml").to_str().unwrap().to_owned();
    let kmsg = "[resources.log]\nslot = \"devices/1\"\ndevice = \"/dev/kmsg\"\n";
    let limits = "max_slots_per_uid = 7\nmax_connections = 4097\n";
    let broker = format!("[broker]\nuser = 4242\n{limits}");
    let tun = "[resources.tun]\nslot = \"devices/2\"\nfile = \"/f\"\ncapabilities = [\"net_admin\", \"kill\"]\n";
    let new = place.write("new.toml", &format!("{POLICY}{kmsg}{tun}{broker}"));
    let said = place.says(0, &["check", "--diff", &old, &new]);
    for line in [
        "setting changed: max_slots_per_uid was 16384, is 7; those who have more keep it",
        "setting changed: max_connections was 4096, is 4097",
        "a reload refuses NEW; a restart, which empties all slots, is needed for: another user, the capability net_admin, the capability syslog",
    ] {
        assert!(said.lines().any(|it| it == line), "{line}: {said}");
    }
    let object = place.object(&["check", "--diff", &old, &new]);
    let reasons = ["another user", "the capability net_admin", "the capability syslog"];
    assert_eq!(object["takes_a_restart"], json!(reasons));
    assert!(!place.says(0, &["check", "--diff", &old, &old]).contains("restart"));
}

#[test]
fn check_notes_that_a_required_trail_takes_a_file() {
    let place = Place::new();
    let file =
        place.write("new.toml", &format!("{POLICY}[broker]\nuser = 4242\naudit = \"required\"\n"));
    let output = place.run(&["check", &file]);
    assert!(output.status.success());
    assert!(String::from_utf8_lossy(&output.stderr).contains("when started with --audit-file"));
}

#[test]
fn check_diff_tells_what_else_changes_and_as_of_when() {
    let place = Place::new();
    let old = place.path("policy.toml").to_str().unwrap().to_owned();
    let mut new =
        POLICY.replace("device = \"/dev/zero\"", "device = \"/dev/null\"\naccess = \"write\"");
    new = new.replace("id = 10\n", "id = 10\nserial = true\naccept = [\"tcp\"]\n");
    new +=
        "[broker]\naudit = \"required\"\n[resources.more]\nslot = \"devices/1\"\nfile = \"/f\"\n";
    let new = place.write("new/new.toml", &new);
    place.write("new/policy.d/1.toml", "version = 1\n[tags.more]\nid = 11\n");
    let at = "2029-01-01T00:00:00Z";
    for arguments in [
        ["check", "--diff", &old, &new, "--at", at],
        ["check", "--diff", "--at", at, &old, &new],
        ["check", "--at", at, &old, "--diff", &new],
    ] {
        let said = place.says(0, &arguments);
        for line in [
            "as of 2029-01-01T00:00:00Z: nobody gains and nobody loses a right",
            "OLD has 1 rule that ends later",
            "NEW has 1 rule that ends later",
            "tag added: more",
            "resource added: more",
            "resource changed: zero: path was device /dev/zero, is device /dev/null; access was read, is write",
            "setting changed: audit was best-effort, is required",
            "NEW was read with 1 drop-in",
        ] {
            assert!(said.lines().any(|it| it == line), "{line}: {said}");
        }
        assert!(
            said.contains("tag changed: web: serial was false, is true; accept was "),
            "{said}"
        );
    }
    let object = place.object(&["check", "--diff", &new, "--at", "2031-01-01T00:00:00Z", &old]);
    assert_eq!(object["drop_ins"], json!({ "old": 1, "new": 0 }));
    assert_eq!(
        object["timed_rules"]["new"],
        json!({ "begin_later": 0, "end_later": 0, "ended": 1 })
    );
    assert_eq!(object["resources"][0], json!({ "name": "more", "change": "gone", "fields": [] }));
    assert_eq!(
        object["settings"],
        json!([{ "key": "audit", "before": "required", "after": "best-effort" }])
    );
    for wrong in [&["check", "--diff", old.as_str()][..], &["check", "--diff"]] {
        assert!(place.says(2, wrong).contains("check --diff OLD NEW"));
    }
}
