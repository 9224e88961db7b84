//! Servers that lie, against a script.

use fdbroker_policy::{Auth, ScriptAuth, ScriptStep};
use fdbroker_wire::Connection;

use crate::helper::server_words::HIDDEN;
use crate::helper::test_server::{Outcome, forms, log_in_to_sender};

const SMTP: [&str; 7] = [
    "expect:220 ",
    "send:EHLO shop",
    "skip:250-",
    "expect:250 ",
    "send:AUTH PLAIN {plain}",
    "expect:235 ",
    "send:NOOP",
];
const GREETING: &[u8] = b"220 mail\r\n250-mail\r\n250-AUTH PLAIN\r\n250 HELP\r\n";

fn script(steps: &[&str]) -> Auth {
    Auth::Script(ScriptAuth {
        protocol: "smtp".to_owned(),
        user: Some("shop".to_owned()),
        password: None,
        steps: steps.iter().map(|step| ScriptStep::parse(step).unwrap()).collect(),
    })
}

fn asked(steps: &[&str], sent: &[u8]) -> (Outcome, String) {
    let (outcome, asked) = log_in_to_sender(&script(steps), Some(b"geheim"), sent);
    (outcome, String::from_utf8(asked).unwrap())
}

/// Why a log-in fails.
fn refusal(steps: &[&str], sent: &[u8]) -> String {
    let failure = asked(steps, sent).0.unwrap_err();
    assert!(!failure.timed_out && !failure.text.contains("geheim"), "{failure:?}");
    failure.text
}

#[test]
fn a_script_is_followed_step_by_step_and_what_comes_early_is_the_callers() {
    let (payload, asked) = asked(&SMTP, &[GREETING, b"235 ok\r\n250 early\r\n"].concat());
    let payload = payload.unwrap();
    let connection = Connection::parse(&payload).unwrap();
    assert_eq!((connection.protocol(), connection.text("user")), ("smtp", Some("shop")));
    assert_eq!(connection.early(), b"250 early\r\n");
    assert_eq!(asked, "EHLO shop\r\nAUTH PLAIN AHNob3AAZ2VoZWlt\r\nNOOP\r\n");
}

#[test]
fn a_line_that_is_not_expected_ends_it_and_is_told_with_its_step() {
    let said = refusal(&SMTP, &[GREETING, b"535 5.7.8 wrong\x1b[2J\r\n"].concat());
    let expected =
        |code: &str| format!("step 6: the server says \"{code}…\" {HIDDEN}, which is not expected");
    assert_eq!(said, expected("535 "));
    let said = refusal(&SMTP, b"220 mail\r\n250-AUTH\r\n421 busy\x1b[2J\r\n");
    assert!(said.starts_with("step 4: the server says \"421 busy\\u{1b}[2J\""), "{said}");
    let said = refusal(&SMTP, b"220 mail\r\n421 geheim\r\n");
    assert!(said.ends_with("contains the password and is not shown"), "{said}");
    for form in forms() {
        for code in ["535 ", "-ERR ", "NO ", ""] {
            let said = refusal(&SMTP, &[GREETING, format!("{code}{form}\r\n").as_bytes()].concat());
            assert_eq!(said, expected(code));
        }
    }
}

#[test]
fn a_prompt_is_taken_byte_by_byte() {
    let steps = ["prompt:login: ", "write:{user}\r", "prompt:password: ", "write:{password}\r"];
    let (payload, asked) = asked(&steps, b"login: password: $ ");
    assert_eq!(Connection::parse(&payload.unwrap()).unwrap().early(), b"$ ");
    assert_eq!(asked, "shop\rgeheim\r");
    let said = refusal(&steps, b"loading");
    assert_eq!(said, "step 1: the server says \"loa\", which is not expected");
    let steps = [&steps[..], &["prompt:$ "]].concat();
    // It ends with the first byte that is not expected, and what was sent before may be an echo.
    for form in forms() {
        let said = refusal(&steps, format!("login: password: {form}").as_bytes());
        assert_eq!(said, format!("step 5: the server says \"…\" {HIDDEN}, which is not expected"));
    }
}

#[test]
fn a_password_of_several_lines_is_no_command() {
    let (outcome, asked) =
        log_in_to_sender(&script(&["send:PASS {password}"]), Some(b"a\r\nDELETE"), b"");
    assert!(outcome.unwrap_err().text.contains("has a line break"));
    assert_eq!(asked, b"");
}

#[test]
fn a_server_that_closes_after_any_byte_or_floods_ends_it() {
    let whole = [GREETING, b"235 ok\r\n"].concat();
    for length in 0..whole.len() {
        let said = refusal(&SMTP, &whole[..length]);
        assert!(said.contains("closed the connection during the log-in"), "{length}: {said}");
    }
    let said = refusal(&SMTP, &[b'x'; 5000]);
    assert!(said.contains("a line of more than 4096 bytes"), "{said}");
    let lines = b"250-x\r\n".repeat(20_000);
    let said = refusal(&SMTP, &[b"220 mail\r\n", &lines[..]].concat());
    assert!(said.contains("more than 65536 bytes"), "{said}");
}
