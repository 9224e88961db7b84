//! `fdbroker check --diff`: what changes from one policy to another.

use super::*;

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
        "a reload refuses NEW; a restart, which not every deposit survives, is needed for: another user, the capability net_admin, the capability syslog",
    ] {
        assert!(said.lines().any(|it| it == line), "{line}: {said}");
    }
    let object = place.object(&["check", "--diff", &old, &new]);
    let reasons = ["another user", "the capability net_admin", "the capability syslog"];
    assert_eq!(object["takes_a_restart"], json!(reasons));
    assert!(!place.says(0, &["check", "--diff", &old, &old]).contains("restart"));
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
