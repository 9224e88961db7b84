//! What the keys of the language come to once a policy is loaded.

mod support;

use std::num::NonZeroU32;
use std::time::Duration;

use fdbroker_policy::{
    Accept, Access, Account, Audit, DeviceNumber, Gid, Index, Kind, Moment, Opening, PathSource,
    Peer, Policy, Rates, Right, Settings, Slot, Source, SourceText, Tag, Target, Uid, Verdict,
    load,
};
use support::{Machine, load_one};

fn policy(text: &str) -> Policy {
    load_one("policy.toml", &format!("version = 1\n{text}"))
        .unwrap_or_else(|findings| panic!("{findings}"))
}

fn slot(tag: i16, index: i32) -> Slot {
    Slot { tag: Tag::new(tag).expect("a tag"), index: Index::new(index).expect("an index") }
}

const WEB: &str =
    "[tags.web]\nid = 10\n[resources.null]\nslot = \"web/7\"\ndevice = \"/dev/null\"\n";

fn with_rules(rules: &str) -> Policy {
    policy(&format!("{WEB}{rules}"))
}

const NOW: Moment = Moment::new(0, 0);

/// What a peer of user 1000, group 1000 may do.
fn decide(policy: &Policy, right: Right, target: Target) -> Verdict<'_> {
    policy.outcome(&Peer::new(Uid(1000), Gid(1000), &[]), right, target, NOW)
}

#[test]
fn a_file_with_nothing_but_its_version_has_the_defaults_and_grants_nothing() {
    let policy = policy("");
    assert_eq!(*policy.settings(), Settings::default());
    assert_eq!((policy.tags().count(), policy.resources().len()), (0, 0));
    assert_eq!((policy.rule_count(), policy.test_count()), (0, 0));
    let verdict = decide(&policy, Right::Get, Target::Slot(slot(0, 0)));
    assert_eq!(verdict, Verdict::Refused { rule: None });
}

#[test]
fn every_setting_is_read() {
    let settings = policy(
        "[broker]\nuser = 7\nmax_connections = 1\nmax_connections_per_uid = 2\nmax_slots_per_uid = 3\n\
         max_payload_bytes_per_uid = \"4KiB\"\nframe_timeout = \"500ms\"\naudit = \"required\"\n\
         requests_per_second = 5\nrecords_per_second = 6\n",
    );
    let expected = Settings {
        user: Account::Number(Uid(7)),
        max_connections: 1,
        max_connections_per_uid: 2,
        max_slots_per_uid: 3,
        max_payload_bytes_per_uid: 4096,
        frame_timeout: Duration::from_millis(500),
        audit: Audit::Required,
        requests_per_second: NonZeroU32::new(5),
        records_per_second: NonZeroU32::new(6).unwrap(),
    };
    assert_eq!(*settings.settings(), expected);
}

#[test]
fn a_rule_can_have_rates_of_its_own() {
    let policy = policy(
        "[tags.web]\nid = 1\n[[rules]]\nid = \"busy\"\nallow = [\"get\"]\nslots = [\"web/*\"]\nanyone = true\n\
         requests_per_second = 7\n[[rules]]\nid = \"idle\"\nallow = [\"del\"]\nslots = [\"web/*\"]\nanyone = true\n",
    );
    let rates = Rates { requests_per_second: NonZeroU32::new(7), records_per_second: None };
    assert_eq!(policy.rates_of("busy"), rates);
    assert_eq!(policy.rates_of("idle"), Rates::default());
    assert_eq!(policy.rules_with_rates().collect::<Vec<_>>(), [("busy", rates)]);
}

#[test]
fn sizes_and_durations_take_their_units() {
    for (text, bytes) in
        [("\"100B\"", 100), ("\"1GiB\"", 1 << 30), ("\"64MiB\"", 64 << 20), ("4096", 4096)]
    {
        let policy = policy(&format!("[broker]\nmax_payload_bytes_per_uid = {text}\n"));
        assert_eq!(policy.settings().max_payload_bytes_per_uid, bytes, "{text}");
    }
    for (text, seconds) in [("10s", 10), ("2m", 120), ("1h", 3600), ("1000ms", 1)] {
        let policy = policy(&format!("[broker]\nframe_timeout = \"{text}\"\n"));
        assert_eq!(policy.settings().frame_timeout, Duration::from_secs(seconds), "{text}");
    }
}

#[test]
fn a_tag_is_not_serial_and_accepts_the_default_kinds_unless_it_says_so() {
    let policy = policy(
        "[tags.plain]\nid = 0x10\n[tags.web]\nid = 10\nserial = true\naccept = [\"tcp\", \"none\"]\n\
         [tags.all]\nid = 3\naccept = [\"any\"]\n[tags.closed]\nid = 4\naccept = []\n",
    );
    let names: Vec<_> =
        policy.tags().map(|tag| (tag.name.as_str(), tag.id.get(), tag.serial)).collect();
    assert_eq!(
        names,
        [("all", 3, false), ("closed", 4, false), ("web", 10, true), ("plain", 16, false)]
    );
    let accepts: Vec<_> = policy.tags().map(|tag| tag.accept).collect();
    let web = Accept::of(&[Kind::Tcp, Kind::PayloadOnly]);
    assert_eq!(accepts, [Accept::ANY, Accept::NOTHING, web, Accept::DEFAULT]);
}

#[test]
fn resources_stand_in_the_order_of_the_file() {
    let policy = policy(
        "[tags.a]\nid = 1\n[resources.z]\nslot = \"a/5\"\nfile = \"/z\"\n[resources.b]\nslot = \"a/4\"\nfile = \"/b\"\n\
         [resources.m]\nslot = \"a/3\"\nfile = \"/m\"\n",
    );
    let names: Vec<_> = policy.resources().iter().map(|resource| resource.name.as_str()).collect();
    assert_eq!(names, ["z", "b", "m"]);
    let (index, resource) = policy.resource_at(slot(1, 3)).unwrap();
    assert_eq!((index.0, resource.name.as_str()), (2, "m"));
    assert!(policy.resource_at(slot(1, 0)).is_none());
}

#[test]
fn the_slots_of_resources_are_told_in_order_of_a_tag_and_behind_a_slot() {
    let policy = policy(
        "[tags.a]\nid = 1\n[tags.b]\nid = 2\n[tags.c]\nid = 3\n[tags.d]\nid = 4\n\
         [resources.z]\nslot = \"c/7\"\nfile = \"/z\"\n[resources.y]\nslot = \"a/5\"\nfile = \"/y\"\n\
         [resources.x]\nslot = \"a/3\"\nfile = \"/x\"\n",
    );
    let tag = |id| slot(id, 0).tag;
    let all = [slot(1, 3), slot(1, 5), slot(3, 7)];
    assert_eq!(policy.resource_slots(None, None), &all);
    assert_eq!(policy.resource_slots(Some(tag(1)), None), &all[..2]);
    assert_eq!(policy.resource_slots(Some(tag(2)), None), &[]);
    assert_eq!(policy.resource_slots(Some(tag(4)), None), &[]);
    assert_eq!(policy.resource_slots(None, Some(slot(1, 3))), &all[1..]);
    assert_eq!(policy.resource_slots(Some(tag(1)), Some(slot(1, 3))), &all[1..2]);
    assert_eq!(policy.resource_slots(Some(tag(3)), Some(slot(1, 0))), &all[2..]);
    assert_eq!(policy.resource_slots(Some(tag(1)), Some(slot(3, 0))), &[]);
}

#[test]
fn slots_are_alike_up_to_the_next_resource_of_their_tag_and_a_resource_is_like_no_other() {
    let policy = policy(
        "[tags.a]\nid = 1\n[tags.b]\nid = 2\n[tags.c]\nid = 3\n\
         [resources.y]\nslot = \"a/9\"\nfile = \"/y\"\n[resources.x]\nslot = \"a/5\"\nfile = \"/x\"\n\
         [resources.z]\nslot = \"c/7\"\nfile = \"/z\"\n\
         [[rules]]\nallow = [\"get\"]\nslots = [\"a/0-6\"]\nanyone = true\n",
    );
    let until = |tag, index| policy.alike_until(slot(tag, index)).get();
    let last = Index::MAX.get();
    let found = [0, 4, 5, 6, 7, 8, 9, 10].map(|index| until(1, index));
    assert_eq!(found, [4, 4, 5, 6, 8, 8, 9, last]);
    assert_eq!([until(2, 0), until(2, 8), until(3, 0), until(3, 8)], [last, last, 6, last]);
}

#[test]
fn every_key_of_a_resource_is_read() {
    let policy = policy(
        "[tags.a]\nid = 1\n[resources.full]\nslot = \"a/0\"\ndevice = \"/dev/kmsg\"\naccess = \"read-write\"\n\
         open = \"startup\"\nnumber = \"1:11\"\nfollow_symlinks = true\nopen_timeout = \"250ms\"\ncapabilities = [\"syslog\", \"bpf\", \"syslog\"]\n\
         [resources.bare]\nslot = \"a/1\"\nfile = \"/etc/motd\"\n",
    );
    let [full, bare] = policy.resources() else { panic!("two resources") };
    let at = |path: &str, access, follow_symlinks| PathSource {
        path: path.to_owned(),
        access,
        follow_symlinks,
    };
    let number = Some(DeviceNumber { major: 1, minor: 11 });
    assert_eq!(
        full.source,
        Source::Device { at: at("/dev/kmsg", Access::ReadWrite, true), number }
    );
    assert_eq!(
        (full.opening, &*full.capabilities),
        (Opening::Startup, &["syslog", "bpf"].map(String::from)[..])
    );
    assert_eq!(bare.source, Source::File { at: at("/etc/motd", Access::Read, false) });
    assert_eq!((bare.opening, bare.capabilities.len()), (Opening::PerRequest, 0));
    assert_eq!(
        [full, bare].map(|resource| resource.open_timeout),
        [Duration::from_millis(250), Duration::from_secs(10)]
    );
}

#[test]
fn a_slot_resolves_from_a_resource_a_tags_name_or_its_number() {
    let policy = with_rules("");
    for (text, expected) in
        [("null", slot(10, 7)), ("web/3", slot(10, 3)), ("10/3", slot(10, 3)), ("9/0", slot(9, 0))]
    {
        assert_eq!(policy.resolve(text), Some(expected), "{text}");
    }
    for text in [
        "",
        "web",
        "web/",
        "/1",
        "web/x",
        "web/2147483648",
        "32768/0",
        "null/0",
        "web/1/2",
        "-1/0",
        "web/+1",
    ] {
        assert_eq!(policy.resolve(text), None, "{text}");
    }
    assert_eq!(policy.resolve_tag("web"), Tag::new(10));
    assert_eq!(policy.resolve_tag("11"), Tag::new(11));
    assert_eq!(policy.resolve_tag("null"), None);
}

#[test]
fn a_deny_beats_every_allow_wherever_it_stands() {
    let allow = "[[rules]]\nid = \"a\"\nallow = [\"*\"]\nslots = [\"*\"]\nanyone = true\n";
    let deny = "[[rules]]\nid = \"z\"\ndeny = [\"del\"]\nslots = [\"null\"]\nuser = 1000\n";
    for rules in [format!("{allow}{deny}"), format!("{deny}{allow}")] {
        let policy = with_rules(&rules);
        let target = Target::Slot(slot(10, 7));
        assert_eq!(decide(&policy, Right::Del, target), Verdict::Refused { rule: Some("z") });
        assert_eq!(decide(&policy, Right::Get, target), Verdict::Granted { rule: "a" });
    }
}

#[test]
fn of_several_rules_the_one_with_the_smallest_id_is_named() {
    let rule = |id| {
        format!("[[rules]]\nid = \"{id}\"\nallow = [\"get\"]\nslots = [\"web/7\"]\nanyone = true\n")
    };
    let everywhere = "[[rules]]\nid = \"b\"\nallow = [\"get\"]\nslots = [\"*\"]\nanyone = true\n";
    let policy = with_rules(&[rule("c"), rule("a"), everywhere.to_owned()].concat());
    assert_eq!(
        decide(&policy, Right::Get, Target::Slot(slot(10, 7))),
        Verdict::Granted { rule: "a" }
    );
    assert_eq!(
        decide(&policy, Right::Get, Target::Slot(slot(10, 8))),
        Verdict::Granted { rule: "b" }
    );
}

#[test]
fn a_rule_without_an_id_is_named_by_its_line() {
    let policy = with_rules("\n[[rules]]\nallow = [\"get\"]\nslots = [\"web/*\"]\nanyone = true\n");
    let verdict = decide(&policy, Right::Get, Target::Slot(slot(10, 0)));
    assert_eq!(verdict, Verdict::Granted { rule: "rule at line 8" });
}

#[test]
fn drop_ins_may_hold_tags_resources_and_rules_and_refer_to_each_other() {
    let main = SourceText::new("policy.toml", "version = 1\n[tags.a]\nid = 1\n");
    let one =
        "version = 1\n[[rules]]\nallow = [\"get\"]\nslots = [\"null\", \"a/1\"]\nanyone = true\n";
    let other = "version = 1\n[tags.b]\nid = 2\n[resources.null]\nslot = \"b/0\"\nfile = \"/f\"\n";
    let drop_ins = [SourceText::new("/d/10.toml", one), SourceText::new("/d/20.toml", other)];
    let policy = load(&[&[main][..], &drop_ins].concat(), &Machine).unwrap();
    for slot in [slot(1, 1), slot(2, 0)] {
        let verdict = decide(&policy, Right::Get, Target::Slot(slot));
        assert_eq!(verdict, Verdict::Granted { rule: "rule at line 2 of 10.toml" });
    }
}

#[test]
fn without_a_file_there_is_no_policy() {
    assert!(load(&[], &Machine).is_err());
}

#[test]
fn the_right_to_a_tag_comes_only_from_rules_that_cover_all_of_it() {
    let policy = with_rules(
        "[[rules]]\nid = \"part\"\nallow = [\"*\"]\nslots = [\"web/0-9\"]\nanyone = true\n\
         [[rules]]\nid = \"denies a part\"\ndeny = [\"*\"]\nslots = [\"web/0-9\"]\nuser = 7\n",
    );
    let (whole, part) = (Target::Tag(slot(10, 0).tag), Target::Slot(slot(10, 3)));
    assert_eq!(decide(&policy, Right::Tag, whole), Verdict::Refused { rule: None });
    assert_eq!(decide(&policy, Right::Tag, part), Verdict::Refused { rule: None });
    assert!(decide(&policy, Right::Get, part).is_granted());
    for slots in ["web/*", "*", "web/0-2147483647"] {
        let policy = with_rules(&format!(
            "[[rules]]\nid = \"w\"\nallow = [\"tag\"]\nslots = [\"{slots}\"]\nanyone = true\n"
        ));
        assert_eq!(decide(&policy, Right::Tag, whole), Verdict::Granted { rule: "w" }, "{slots}");
    }
}

#[test]
fn a_tag_that_is_not_declared_is_refused_even_where_a_rule_covers_everything() {
    let policy = with_rules("[[rules]]\nallow = [\"*\"]\nslots = [\"*\"]\nanyone = true\n");
    assert_eq!(
        decide(&policy, Right::Get, Target::Slot(slot(11, 0))),
        Verdict::Refused { rule: None }
    );
    assert_eq!(
        decide(&policy, Right::Tag, Target::Tag(slot(11, 0).tag)),
        Verdict::Refused { rule: None }
    );
}

#[test]
fn replace_does_not_follow_from_add_or_del() {
    let policy =
        with_rules("[[rules]]\nallow = [\"add\", \"del\"]\nslots = [\"web/*\"]\nanyone = true\n");
    assert!(!decide(&policy, Right::Replace, Target::Slot(slot(10, 0))).is_granted());
}

#[test]
fn operate_counts_of_the_broker_and_a_star_does_not_include_it() {
    let star = with_rules("[[rules]]\nallow = [\"*\"]\nslots = [\"*\"]\nanyone = true\n");
    assert!(!decide(&star, Right::Operate, Target::Broker).is_granted());
    assert!(decide(&star, Right::List, Target::Slot(slot(10, 0))).is_granted());
    let operator = with_rules("[[rules]]\nid = \"o\"\nallow = [\"operate\"]\nuser = 1000\n");
    let verdict = decide(&operator, Right::Operate, Target::Broker);
    assert_eq!(verdict, Verdict::Granted { rule: "o" });
    for target in [Target::Slot(slot(10, 0)), Target::Tag(slot(10, 0).tag)] {
        assert!(!decide(&operator, Right::Operate, target).is_granted());
    }
    assert!(!decide(&operator, Right::Get, Target::Broker).is_granted());
}

#[test]
fn one_rule_can_be_about_the_broker_and_about_slots() {
    let policy = with_rules(
        "[[rules]]\nallow = [\"*\", \"operate\"]\nslots = [\"web/0\"]\nanyone = true\n\
         [[rules]]\nid = \"no\"\ndeny = [\"get\", \"operate\"]\nslots = [\"web/1\"]\nuser = 1000\n",
    );
    assert!(decide(&policy, Right::Get, Target::Slot(slot(10, 0))).is_granted());
    let verdict = decide(&policy, Right::Operate, Target::Broker);
    assert_eq!(verdict, Verdict::Refused { rule: Some("no") });
}

#[test]
fn outside_its_time_a_rule_neither_allows_nor_denies() {
    let policy = with_rules(
        "[[rules]]\nid = \"a\"\nallow = [\"get\"]\nslots = [\"web/*\"]\nanyone = true\nvalid_until = 1970-01-01T00:00:30Z\n\
         [[rules]]\nid = \"d\"\ndeny = [\"get\"]\nslots = [\"web/*\"]\nanyone = true\n\
         valid_from = 1970-01-01T00:00:10Z\nvalid_until = 1970-01-01 00:00:20+00:00\n",
    );
    assert!(policy.is_timed() && policy.rule_count() == 2 && !with_rules("").is_timed());
    let peer = Peer::new(Uid(1000), Gid(1000), &[]);
    let granted = |seconds| {
        let target = Target::Slot(slot(10, 0));
        policy.outcome(&peer, Right::Get, target, Moment::new(seconds, 0)).is_granted()
    };
    let seconds: Vec<_> = (0..40).step_by(5).filter(|seconds| granted(*seconds)).collect();
    assert_eq!(seconds, [0, 5, 20, 25]);
}

/// The sentence of each finding about a test that follows these rules.
fn failing(rules: &str, test: &str) -> Vec<String> {
    match load_one("p", &format!("version = 1\n{WEB}{rules}[[tests]]\n{test}")) {
        Ok(policy) => {
            assert_eq!(policy.test_count(), 1);
            Vec::new()
        }
        Err(findings) => findings.into_iter().map(|finding| finding.message).collect(),
    }
}

#[test]
fn a_policy_whose_own_tests_fail_does_not_load() {
    let rule = "[[rules]]\nallow = [\"get\", \"tag\"]\nslots = [\"web/*\"]\ngroup = 33\nunit = \"x@*.service\"\n\
                cgroup = \"/s.slice/*\"\nlabel = \"l*\"\n[[rules]]\nallow = [\"operate\"]\nuser = 7\n";
    let who = "user = 1\ngroup = [32, 33]\nunit = \"x@1.service\"\ncgroup = \"/s.slice/x@1.service\"\nlabel = \"l*\"\n";
    let granted = "right = \"get\"\nslot = \"null\"\nexpect = \"granted\"\n";
    assert!(failing(rule, &format!("{who}{granted}")).is_empty());
    for line in who.lines().skip(1) {
        let without = who.replace(&format!("{line}\n"), "");
        let found = failing(rule, &format!("{without}{granted}"));
        if line.starts_with("unit") {
            // It is that of the control group.
            assert_eq!(found, [""; 0]);
            continue;
        }
        assert_eq!(found, ["this test fails: it is refused, since no rule allows it"], "{line}");
    }
    let whole = "right = \"tag\"\nslot = \"web/*\"\nexpect = \"granted\"\n";
    assert!(failing(rule, &format!("{who}{whole}")).is_empty());
    let operate =
        "user = 7\nright = \"operate\"\nexpect = \"granted\"\nrule = \"rule at line 14\"\n";
    assert_eq!(failing(rule, operate), Vec::<String>::new());
}

#[test]
fn a_test_names_a_time_only_where_it_makes_a_difference() {
    let timed = "[[rules]]\nallow = [\"get\"]\nslots = [\"web/*\"]\nuser = 7\nvalid_until = 2026-01-01T00:00:00Z\n";
    let test = |user, expect| {
        format!("user = {user}\nright = \"get\"\nslot = \"web/0\"\nexpect = \"{expect}\"\n")
    };
    let differs = ["this test passes at some times and fails at others"];
    assert_eq!(failing(timed, &test(7, "granted")), differs);
    assert_eq!(failing(timed, &test(7, "refused")), differs);
    assert!(failing(timed, &test(8, "refused")).is_empty());
    let denied = "[[rules]]\ndeny = [\"*\"]\nslots = [\"*\"]\nanyone = true\n";
    assert!(failing(&format!("{timed}{denied}"), &test(7, "refused")).is_empty());
    let at = "at = 2025-12-31T23:59:59Z\n";
    assert!(failing(timed, &format!("{at}{}", test(7, "granted"))).is_empty());
}

#[test]
fn the_policy_knows_the_names_that_it_uses() {
    let policy = with_rules(
        "[[rules]]\nallow = [\"get\"]\nslots = [\"*\"]\nuser = [\"vpn\", 7]\ngroup = \"www-data\"\n",
    );
    assert_eq!((policy.user_name(Uid(501)), policy.user_name(Uid(7))), (Some("vpn"), None));
    assert_eq!((policy.group_name(Gid(33)), policy.group_name(Gid(501))), (Some("www-data"), None));
}

#[test]
fn root_is_not_special() {
    let policy = with_rules("[[rules]]\nallow = [\"*\"]\nslots = [\"*\"]\nuser = 1000\n");
    let root = Peer::new(Uid::ROOT, Gid(0), &[Gid(0)]);
    assert!(!policy.outcome(&root, Right::Get, Target::Slot(slot(10, 0)), NOW).is_granted());
}

#[test]
fn ten_thousand_rules_and_a_hundred_thousand_slots_load_quickly() {
    let mut text = String::from("[tags.web]\nid = 10\n");
    for rule in 0..10_000 {
        let slots: Vec<_> = (0..10)
            .map(|at| format!("\"web/{}-{}\"", rule * 10 + at, 200_000 - rule - at))
            .collect();
        text += &format!(
            "[[rules]]\nallow = [\"get\"]\nslots = [{}]\nuser = {rule}\n",
            slots.join(",")
        );
    }
    let before = std::time::Instant::now();
    let policy = policy(&text);
    let took = before.elapsed();
    eprintln!("10,000 rules with 100,000 ranges: {took:?}");
    // Generous by far: it is here to catch what grows with the square.
    assert!(took < Duration::from_secs(30), "{took:?}");
    assert!(decide(&policy, Right::Get, Target::Slot(slot(10, 100_000))).is_granted());
}

#[test]
fn a_hundred_thousand_resources_load_quickly() {
    let mut text = String::from("[tags.web]\nid = 10\n");
    for at in 0..100_000 {
        text += &format!("[resources.r{at}]\nslot = \"web/{at}\"\nfile = \"/f\"\n");
    }
    let before = std::time::Instant::now();
    let policy = policy(&text);
    let took = before.elapsed();
    eprintln!("100,000 resources: {took:?}");
    assert!(took < Duration::from_secs(30), "{took:?}");
    assert_eq!(policy.resolve("r99999"), Some(slot(10, 99_999)));
}

#[test]
fn a_slot_is_out_of_reach_when_no_rule_allows_anybody_anything_there() {
    let policy = policy(
        "[tags.a]\nid = 1\n[tags.b]\nid = 2\n\
         [[rules]]\nallow = [\"get\"]\nslots = [\"a/0-9\", \"b/7\"]\nuser = 7\n\
         [[rules]]\nallow = [\"get\"]\nslots = [\"a/20\"]\nuser = 7\n\
         valid_until = 2026-01-01T00:00:00Z\n\
         [[rules]]\ndeny = [\"*\"]\nslots = [\"b/*\"]\nanyone = true\n",
    );
    let (before, after) = (Moment::new(0, 0), Moment::new(1_800_000_000, 0));
    let reaches = |text: &str, at| policy.reaches(policy.resolve(text).unwrap(), at);
    assert!(reaches("a/9", after));
    assert!(!reaches("a/10", after));
    assert!(reaches("a/20", before) && !reaches("a/20", after));
    assert!(!reaches("b/0", after) && !reaches("b/7", after) && !reaches("3/0", after));
    let peer = |uid| Peer::new(Uid(uid), Gid(7), &[]);
    assert_eq!(policy.tags_for(&peer(7), after), 2);
    assert_eq!(policy.tags_for(&peer(8), after), 0);
}
