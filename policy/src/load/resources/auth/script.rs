//! Reads `script`: a log-in that the policy spells out.

use super::names::{PASSWORD, USER, name, password};
use super::protocol::{PROTOCOL, protocol};
use crate::load::reader::{Expected, Section};
use crate::load::report::{Report, Span};
use crate::{BadScriptStep, ScriptAuth, ScriptFill, ScriptStep};

const STEPS: Expected = Expected {
    key: "steps",
    write: "a list such as [\"expect:+OK\", \"send:USER {user}\", \"expect:+OK\"]",
};
const MOST_STEPS: usize = 64;
/// How long all steps may be, in bytes: they go to the helper in one message.
const LONGEST: usize = 4096;
/// What a payload without `protocol` has.
const DEFAULT_PROTOCOL: &str = "script";

/// Reads it, where these are all kinds of log-in: a script is not to be taken for one of the others.
pub(super) fn read(
    section: Section<'_, '_>,
    kinds: &[&str],
    report: &mut Report<'_>,
) -> Option<ScriptAuth> {
    section.refuse_unknown_keys(&[PROTOCOL.key, USER.key, PASSWORD.key, STEPS.key], report);
    let protocol = protocol(section, DEFAULT_PROTOCOL, kinds, report);
    let user = user(section, report);
    let password = password(section, report);
    let steps = steps(section, report)?;
    match_fills(section, &steps, report);
    Some(ScriptAuth { protocol, user, password, steps })
}

/// Returns the user, which has to fit into a line.
fn user(section: Section<'_, '_>, report: &mut Report<'_>) -> Option<String> {
    let user = name(section, USER, report)?;
    if !user.contains(char::is_control) {
        return Some(user);
    }
    let span = section.key_span(USER.key)?;
    report.add(&span, "`user` has a control character", "write a name without");
    None
}

fn steps(section: Section<'_, '_>, report: &mut Report<'_>) -> Option<Vec<ScriptStep>> {
    let Some(found) = section.get(STEPS.key) else {
        let remedy = format!("add `steps =` with {}", STEPS.write);
        report.add_missing(section.name, "`script` has no `steps`", remedy);
        return None;
    };
    let texts = section.strings(STEPS, report)?;
    let length: usize = texts.iter().map(|(text, _)| text.len()).sum();
    if texts.is_empty() || texts.len() > MOST_STEPS || length > LONGEST {
        let message = format!("`steps` has {} steps of {length} bytes", texts.len());
        let remedy = format!("write 1 to {MOST_STEPS} steps of at most {LONGEST} bytes in all");
        report.add(&found.span(), message, remedy);
        return None;
    }
    let steps: Vec<_> = texts.iter().map(|(text, span)| step(text, span, report)).collect();
    refuse_idle_skips(&steps, &texts, report);
    steps.into_iter().collect()
}

fn step(text: &str, span: &Span, report: &mut Report<'_>) -> Option<ScriptStep> {
    let problem = match ScriptStep::parse(text) {
        Ok(step) => return Some(step),
        Err(problem) => problem,
    };
    let (message, remedy) = match problem {
        BadScriptStep::Unknown => (
            "a step of `steps` begins with nothing that is known",
            "begin it with `expect:`, `skip:`, `send:`, `prompt:` or `write:`".to_owned(),
        ),
        BadScriptStep::Empty => {
            ("a step of `steps` has no text", "write it behind the colon".to_owned())
        }
        BadScriptStep::Broken => (
            "a line of `steps` has a line break or a NUL in it",
            "write a step for each line; `send:` adds the end of the line itself".to_owned(),
        ),
        BadScriptStep::Brace => {
            let names = ScriptFill::ALL.map(|fill| format!("`{{{}}}`", fill.name())).join(", ");
            let remedy = format!("write one of {names}; a brace itself is written twice");
            ("a step of `steps` has a brace that stands for nothing", remedy)
        }
    };
    report.add(span, message, remedy);
    None
}

/// What is skipped comes before a line that is expected.
fn refuse_idle_skips(
    steps: &[Option<ScriptStep>],
    texts: &[(&str, Span)],
    report: &mut Report<'_>,
) {
    for (at, (step, (_, span))) in steps.iter().zip(texts).enumerate() {
        let next = steps.get(at + 1);
        let is_idle =
            !matches!(next, Some(Some(ScriptStep::Skip(_) | ScriptStep::Expect(_)) | None));
        if matches!(step, Some(ScriptStep::Skip(_))) && is_idle {
            let message = "nothing is expected behind a `skip:`";
            report.add(span, message, "write the `expect:` behind it whose line ends the skipping");
        }
    }
}

/// What is named in the steps has to be there, and what is there has to be sent.
fn match_fills(section: Section<'_, '_>, steps: &[ScriptStep], report: &mut Report<'_>) {
    let fills: Vec<_> =
        steps.iter().filter_map(ScriptStep::sent).flat_map(|text| text.fills()).collect();
    for (key, sends) in [
        (USER.key, fills.iter().any(|fill| fill.has_user())),
        (PASSWORD.key, fills.iter().any(|fill| fill.has_password())),
    ] {
        match section.key_span(key) {
            None if sends => {
                let message = format!("`steps` sends the {key}, and `script` has no `{key}`");
                report.add_missing(section.name, message, format!("add `{key} =`"));
            }
            Some(span) if !sends => {
                let message = format!("no step sends the `{key}`");
                let remedy = format!("remove the key, or write {{{key}}} where it is sent");
                report.add(&span, message, remedy);
            }
            _ => {}
        }
    }
}
