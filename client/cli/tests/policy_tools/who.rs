//! `fdbroker who`: who has which right.

use super::*;

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
fn an_account_that_does_not_exist_is_nobody_and_not_anyone() {
    let place = Place::new();
    let rule = "id = \"root may get zero\"\n";
    let policy = POLICY.replacen(rule, &format!("{rule}unit = \"x.service\"\n"), 1);
    let policy = policy.replacen("user = \"root\"", "user = \"no-such-account\"", 1);
    place.write("policy.toml", &policy);
    let said = place.says(0, &["who", "zero"]);
    assert!(said.contains("nobody holds a right"), "{said}");
    let said = place.says(0, &["explain", "--user", "root", "get", "zero"]);
    assert!(said.contains("it names no user that exists here"), "{said}");
}

#[test]
fn who_without_a_slot_lists_those_who_operate_the_broker() {
    let place = Place::new();
    let said = place.says(0, &["who", "--at", "2029-01-01T00:00:00Z"]);
    assert!(said.contains("user 4242") && said.contains("until 2030-01-01T00:00:00Z"), "{said}");
    assert!(place.says(0, &["who", "--at", "2031-01-01T00:00:00Z"]).contains("nobody"));
}

#[test]
fn who_without_a_policy_file_says_which_rules_hold_then() {
    let default = std::path::Path::new("/etc/fdbroker/policy.toml");
    if default.exists() {
        // This machine has a policy.
        return;
    }
    let mut command = Command::new(env!("CARGO_BIN_EXE_fdbroker"));
    let output = command.arg("who").env_remove("FDBROKER_POLICY").output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("there is no policy file") && said.contains("built-in policy"), "{said}");
}
