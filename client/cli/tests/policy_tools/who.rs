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
fn who_without_a_slot_lists_those_who_operate_the_broker() {
    let place = Place::new();
    let said = place.says(0, &["who", "--at", "2029-01-01T00:00:00Z"]);
    assert!(said.contains("user 4242") && said.contains("until 2030-01-01T00:00:00Z"), "{said}");
    assert!(place.says(0, &["who", "--at", "2031-01-01T00:00:00Z"]).contains("nobody"));
}
