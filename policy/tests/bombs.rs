//! Policies made to take long or much memory: each is refused with a few findings, or loads.

mod support;

use fdbroker_policy::{Findings, SourceText, load};
use support::{Machine, load_one};

const HEAD: &str = "version = 1\n[tags.web]\nid = 10\n";

fn refuse(text: &str) -> Findings {
    load_one("policy.toml", text).map(|_| ()).expect_err("a refusal")
}

/// Asserts that there are few findings, that they are short, and that one of them says this.
fn assert_says(text: &str, message: &str) {
    let findings = refuse(text);
    let report = findings.to_string();
    assert!(findings.iter().count() <= 100 && report.len() < 64 << 10, "{} bytes", report.len());
    let says = findings.iter().any(|finding| finding.message.contains(message));
    assert!(says, "{message:?} is not in {}", report.chars().take(2000).collect::<String>());
}

fn rule(keys: &str) -> String {
    format!("[[rules]]\nallow = [\"get\"]\nslots = [\"web/1\"]\n{keys}\n")
}

#[test]
fn broken_lines_are_told_up_to_a_hundred_and_then_counted() {
    let findings = refuse(&"= \n".repeat(20_000));
    assert_eq!(findings.iter().count(), 100);
    assert!(findings.more() > 10_000, "{}", findings.more());
    let rest = format!("\n\nand {} more findings: correct these first", findings.more());
    assert!(findings.to_string().ends_with(&rest));
}

#[test]
fn of_a_long_text_that_is_broken_the_first_error_is_told() {
    let text = format!("{HEAD}{}= \n{}", rule("user = 5").repeat(2000), "= \n".repeat(1000));
    let findings = refuse(&text);
    let found: Vec<_> = findings.iter().map(|it| (it.line, it.message.as_str())).collect();
    assert!(
        matches!(&found[..], [(8004, message)] if message.contains("syntax error")),
        "{found:?}"
    );
}

#[test]
fn what_a_broken_drop_in_would_declare_is_not_missed() {
    let broken = format!("version = 1\n{}= \n", "# a comment\n".repeat(6000));
    let main = format!("{HEAD}{}", rule("user = 5").replace("web/1", "printer"));
    let sources = [SourceText::new("policy.toml", main), SourceText::new("10.toml", broken)];
    let findings = load(&sources, &Machine).expect_err("a refusal");
    assert_eq!(findings.iter().map(|it| it.path.as_str()).collect::<Vec<_>>(), ["10.toml"]);
}

#[test]
fn a_text_of_millions_of_pieces_is_refused_before_it_is_parsed() {
    let too_much = "too many keys and values";
    for piece in ["= \n", "] ", "a ", "\"\" ", " \n", "a = 1\n", "x.", "[[rules]]\n"] {
        assert_says(&piece.repeat((8 << 20) / piece.len()), too_much);
    }
    for value in ["1,", "{},", "[],"] {
        assert_says(&format!("version = 1\nx = [{}]", value.repeat(600_000)), too_much);
    }
    let half = SourceText::new("policy.toml", "a = 1\n".repeat(300_000));
    let findings = load(&[half.clone(), half], &Machine).expect_err("a refusal");
    assert!(findings.to_string().contains(too_much), "files count together");
}

#[test]
fn comments_are_no_keys_and_values() {
    let text = format!("{}version = 1\n", "# one, two = three. [four]\n".repeat(500_000));
    load_one("policy.toml", &text).expect("loads");
}

#[test]
fn so_many_rules_or_tests_are_refused_at_the_first_too_many() {
    let rules = format!("{HEAD}{}", rule("user = 5").repeat(20_002));
    assert_says(&rules, "the policy has more than 20000 rules");
    assert_eq!(refuse(&rules).iter().map(|it| it.line).collect::<Vec<_>>(), [4 + 20_000 * 4]);
    let test = "[[tests]]\nuser = 5\nright = \"get\"\nslot = \"web/1\"\nexpect = \"granted\"\n";
    let tests = format!("{HEAD}{}{}", rule("user = 5"), test.repeat(20_001));
    assert_says(&tests, "the policy has more than 20000 tests");
}

#[test]
fn a_list_of_thousands_is_refused() {
    let list = |item: &str| format!("[{}]", format!("{item}, ").repeat(4097));
    for (key, item) in
        [("user", "5"), ("group", "5"), ("unit", "\"a.service\""), ("label", "\"a\"")]
    {
        let text = format!("{HEAD}{}", rule(&format!("{key} = {}", list(item))));
        assert_says(&text, &format!("`{key}` has more than 4096 elements"));
    }
    let slots = rule("user = 5").replace("[\"web/1\"]", &list("\"web/1\""));
    assert_says(&format!("{HEAD}{slots}"), "`slots` has more than 4096 elements");
}

#[test]
fn the_stars_of_all_patterns_are_counted_together() {
    let stars = "*a".repeat(500);
    let rules = rule(&format!("label = \"{stars}\"")).repeat(20);
    load_one("policy.toml", &format!("{HEAD}{rules}")).expect("loads");
    let more = rule("unit = \"a*.service\"");
    let text = format!("{HEAD}{rules}{more}{more}");
    assert_says(&text, "the policy has more than 10000 stars in the patterns of conditions");
    assert_eq!(refuse(&text).iter().map(|it| it.line).collect::<Vec<_>>(), [4 + 20 * 4]);
    let plain = rule("unit = \"a.service\"").repeat(10_001);
    load_one("policy.toml", &format!("{HEAD}{plain}")).expect("loads");
}

#[test]
fn an_id_or_a_name_that_is_too_long_is_refused() {
    let long = "x".repeat(257);
    let text = format!("{HEAD}{}", rule(&format!("user = 5\nid = \"{long}\"")));
    assert_says(&text, "the `id` is too long");
    let text = format!("{HEAD}{}", rule(&format!("user = \"{long}\"")));
    assert_says(&text, "the name of this user is too long");
    assert_says(&format!("version = 1\n{} = 1\n", "k".repeat(1 << 20)), "unknown key `kkk");
}

#[test]
fn names_that_mean_nothing_do_not_take_minutes_to_refuse() {
    let resources: String = (0..3000)
        .map(|at| format!("[resources.r{at}]\nslot = \"web/{at}\"\nfile = \"/f\"\n"))
        .collect();
    let rules: String =
        (0..15_000).map(|at| rule("user = 5").replace("web/1", &format!("s{at}"))).collect();
    let findings = refuse(&format!("{HEAD}{resources}{rules}"));
    assert_eq!((findings.iter().count(), findings.more()), (100, 14_900));
}

#[test]
fn tests_that_weigh_too_many_rules_are_not_all_made() {
    let timed: String = (0..2000)
        .map(|at| {
            let from = format!("valid_from = 2026-01-01T00:{:02}:{:02}Z", at / 60, at % 60);
            rule(&format!("user = 5\n{from}")).replace("allow", "deny")
        })
        .collect();
    let test = "[[tests]]\nuser = 5\nright = \"get\"\nslot = \"web/1\"\nexpect = \"refused\"\n";
    let text = format!("{HEAD}{timed}{}", test.repeat(60));
    assert_says(&text, "the tests take too much work from here on");
}
