//! `fdbroker explain`: why a peer may do something or not.

use super::*;

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
fn explain_says_one_request_in_the_singular() {
    let place = Place::new();
    let rule = "id = \"root may get zero\"\n";
    let rates = "requests_per_second = 1\nrecords_per_second = 1\n";
    place.write("policy.toml", &POLICY.replacen(rule, &format!("{rule}{rates}"), 1));
    let said = place.says(0, &["explain", "--user", "root", "get", "zero"]);
    assert!(said.contains("at most 1 request and 1 audit record a second for each user"), "{said}");
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
