//! `fdbroker who`: everybody that holds a right.

use clap::Args;
use fdbroker_policy::{Moment, Policy, Target};
use fdbroker_policy_tools::{Exception, Grant, grants};
use fdbroker_types::quoted;
use serde_json::{Value, json};

use crate::check::{load, now};
use crate::connect_args::ConnectArgs;
use crate::describe::{Describer, right_names, rights, validity, validity_object};
use crate::failure::Failure;
use crate::output;

/// Show who has which right to a slot, or to the broker itself, by the rules of a policy file
///
/// Shows the conditions of each rule that allows a right, with the rules that deny a part of it.
/// Rights that are denied entirely are left out. Reads the policy file of --policy, of
/// $FDBROKER_POLICY, or /etc/fdbroker/policy.toml, without asking a broker.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Who {
    /// The slot, such as 10/3, web/3 or tun; or a tag, such as web or web/*
    /// [default: the broker itself: who has the right to operate it?]
    slot: Option<String>,
    /// Show the rights at this time, such as 2026-12-31T23:00:00Z [default: now]
    #[arg(long, value_name = "TIME")]
    at: Option<Moment>,
    /// Write one JSON object instead of a table
    #[arg(long)]
    json: bool,
}

const EXAMPLES: &str = "\
Examples:
  fdbroker who tun                     who may get the tun device?
  fdbroker who 'web/*'                 who may do something in the tag web?
  fdbroker who --policy new.toml --json web/3
  fdbroker who                         who may operate the broker?";

impl Who {
    /// Runs it.
    pub(crate) fn run(self, args: &ConnectArgs) -> Result<(), Failure> {
        let policy = load(args)?;
        let target = match &self.slot {
            Some(text) => target(&policy, text)?,
            None => Target::Broker,
        };
        let at = self.at.unwrap_or_else(now);
        let found = grants(&policy, target, at);
        let describer = Describer(vec![&policy]);
        if self.json {
            let grants: Vec<_> = found.iter().map(|grant| object(grant, &describer)).collect();
            let on = target_object(target, &describer);
            return output::json(&json!({ "on": on, "at": at.to_string(), "holders": grants }));
        }
        if found.is_empty() {
            let what = if target == Target::Broker { "on the broker itself" } else { "to it" };
            return output::line(format_args!("nobody holds a right {what}"));
        }
        let rows = found.iter().flat_map(|grant| rows(grant, &describer));
        output::table(["who", "right", "on", "rule", ""], rows.collect())
    }
}

/// What a text means: a slot or a tag.
pub(crate) fn target(policy: &Policy, text: &str) -> Result<Target, Failure> {
    let tag = || policy.resolve_tag(text.strip_suffix("/*").unwrap_or(text));
    let found = policy.resolve(text).map(Target::Slot).or_else(|| tag().map(Target::Tag));
    found.ok_or_else(|| {
        Failure::Usage(format!(
            "{text}: not a slot or tag such as 10/3 or 10, and not a name in the policy file",
            text = quoted(text)
        ))
    })
}

/// What is asked about, for a program.
pub(crate) fn target_object(target: Target, describer: &Describer<'_>) -> Value {
    match target {
        Target::Slot(slot) => describer.slot_object(slot),
        Target::Tag(tag) => describer.tag_object(tag),
        Target::Broker => json!({ "broker": true }),
    }
}

fn rows(grant: &Grant<'_>, describer: &Describer<'_>) -> Vec<[String; 5]> {
    let first = [
        describer.subject(&grant.who),
        rights(&grant.rights),
        describer.scopes(&grant.on),
        format!("\"{}\"", grant.rule),
        validity(grant.valid),
    ];
    let except = grant.except.iter().map(|exception| {
        [
            format!("  but not {}", describer.subject(&exception.who)),
            rights(&exception.rights),
            describer.scopes(&exception.on),
            format!("\"{}\"", exception.rule),
            validity(exception.valid),
        ]
    });
    let cut = grant.is_cut.then(|| {
        let rest = "  and perhaps not others: the search for exceptions stopped here".to_owned();
        [rest, String::new(), String::new(), String::new(), String::new()]
    });
    std::iter::once(first).chain(except).chain(cut).collect()
}

fn object(grant: &Grant<'_>, describer: &Describer<'_>) -> Value {
    let except = grant.except.iter().map(|exception| {
        let Exception { rule, who, rights, on, valid } = exception;
        json!({
            "rule": rule,
            "who": describer.subject_object(who),
            "rights": right_names(rights),
            "on": describer.scopes_object(on),
            "valid": validity_object(*valid),
        })
    });
    json!({
        "rule": grant.rule,
        "who": describer.subject_object(&grant.who),
        "rights": right_names(&grant.rights),
        "on": describer.scopes_object(&grant.on),
        "valid": validity_object(grant.valid),
        "except": except.collect::<Vec<_>>(),
        "complete": !grant.is_cut,
    })
}
