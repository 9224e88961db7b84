//! `fdbroker explain`: what the policy says to somebody, and why.

use std::num::NonZeroU32;

use clap::{ArgGroup, Args};
use fdbroker_policy::{Moment, Policy, Rates, Right, Target, Verdict};
use fdbroker_policy_tools::{Considered, Effect, Explanation, Reason, explain};
use fdbroker_types::{counted, escape};
use serde_json::{Value, json};

use crate::check::{load, now};
use crate::connect_args::ConnectArgs;
use crate::describe::{Describer, right_names, rights};
use crate::failure::Failure;
use crate::output;
use crate::subject_args::{Subject, SubjectArgs};
use crate::who::{target, target_object};

/// Explain whether the policy grants a user a right, and what each rule contributes
///
/// Reads the policy file of --policy, of $FDBROKER_POLICY, or /etc/fdbroker/policy.toml, without
/// asking a broker.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES, group = ArgGroup::new("identity").required(true))]
pub(crate) struct Explain {
    /// The right: get, add, del, tag, claim, replace, list, inspect, operate
    right: Right,
    /// The slot, such as 10/3, web/3 or tun; or a tag for the rights tag and claim; none for operate
    slot: Option<String>,
    #[command(flatten)]
    identity: SubjectArgs,
    /// Ask for this time, such as 2026-12-31T23:00:00Z [default: now]
    #[arg(long, value_name = "TIME")]
    at: Option<Moment>,
    /// Write one JSON object instead
    #[arg(long)]
    json: bool,
}

const EXAMPLES: &str = "\
Examples:
  fdbroker explain --user vpn get tun
  fdbroker explain --user www-data --unit web@1.service add web/3
  fdbroker explain --pid 4711 get devices/0
  fdbroker explain --user ann operate
  fdbroker explain --user vpn --at 2027-01-01T00:00:00Z --policy new.toml --json get tun

The exit status is 0 for any verdict. Programs read the verdict from --json.";

impl Explain {
    /// Runs it.
    pub(crate) fn run(self, args: &ConnectArgs) -> Result<(), Failure> {
        let policy = load(args)?;
        let target = self.target(&policy)?;
        let subject = self.identity.subject()?;
        let at = self.at.unwrap_or_else(now);
        let explanation = explain(&policy, &subject.peer(), self.right, target, at);
        let describer = Describer(vec![&policy]);
        let answer = Answer { explanation, subject, right: self.right, target, at, describer };
        if self.json { output::json(&answer.object()) } else { answer.print() }
    }

    fn target(&self, policy: &Policy) -> Result<Target, Failure> {
        let usage = |text: &str| Err(Failure::Usage(format!("explain: {text}")));
        match &self.slot {
            None if self.right.is_of_broker() => Ok(Target::Broker),
            None => usage("say which slot is meant"),
            Some(_) if self.right.is_of_broker() => {
                let right = self.right;
                usage(&format!("the right {right} is for the broker: leave the slot out"))
            }
            Some(text) => match target(policy, text)? {
                Target::Tag(_) if !self.right.is_of_tag() => {
                    usage("that is a tag: say which slot is meant, such as web/3")
                }
                target => Ok(target),
            },
        }
    }
}

/// An explanation with its question.
struct Answer<'p> {
    explanation: Explanation<'p>,
    subject: Subject,
    right: Right,
    target: Target,
    at: Moment,
    describer: Describer<'p>,
}

impl Answer<'_> {
    fn print(&self) -> Result<(), Failure> {
        output::line(escape(&self.verdict()))?;
        output::line(escape(&format!("  asked for: {}", self.identity())))?;
        if self.explanation.rules.is_empty() {
            let why = if self.explanation.can_be_asked {
                "no rule covers it"
            } else {
                "its tag is not declared"
            };
            return output::line(format_args!("  {why}"));
        }
        for considered in &self.explanation.rules {
            output::line(escape(&format!(
                "  rule \"{}\": {}",
                considered.rule,
                self.effect(considered)
            )))?;
        }
        Ok(())
    }

    fn verdict(&self) -> String {
        let user = self.describer.user(self.subject.uid);
        let what = format!("{} {}", self.right, self.place());
        match self.explanation.verdict {
            Verdict::Granted { rule } => {
                format!("granted: {user} may {what}, by the rule \"{rule}\"")
            }
            Verdict::Refused { rule: Some(rule) } => {
                format!("refused: {user} may not {what}, by the rule \"{rule}\"")
            }
            _ if self.explanation.is_kept => {
                format!("refused: {user} may not {what}: nobody can change a resource's slot")
            }
            Verdict::Refused { rule: None } | Verdict::Kept { .. } => {
                format!("refused: {user} may not {what}, since no rule allows it")
            }
        }
    }

    fn place(&self) -> String {
        match self.target {
            Target::Slot(slot) => self.describer.slot(slot),
            Target::Tag(tag) => self.describer.tag(tag),
            Target::Broker => "the broker".to_owned(),
        }
    }

    fn identity(&self) -> String {
        let groups: Vec<_> =
            self.subject.all_groups().into_iter().map(|gid| self.describer.group(gid)).collect();
        let groups = if groups.is_empty() { "none".to_owned() } else { groups.join(" ") };
        let known = |key, fact: &Option<String>| match fact {
            Some(fact) => format!("{key} {fact}"),
            None if self.has_none(key) => format!("no {key}"),
            None => format!("{key} not known"),
        };
        format!(
            "uid {}, groups {groups}, {}, {}, {}, at {}",
            self.subject.uid,
            known("unit", &self.subject.unit),
            known("cgroup", &self.subject.cgroup),
            known("label", &self.subject.label),
            self.at
        )
    }

    /// Whether it is known that there is none: of a process that was read, or of a unit whose control group is known.
    fn has_none(&self, key: &str) -> bool {
        match key {
            "unit" => self.subject.cgroup.is_some(),
            "label" => self.subject.is_read,
            _ => false,
        }
    }

    fn effect(&self, considered: &Considered<'_>) -> String {
        match &considered.effect {
            Effect::Decides => format!("decides{}", limits(considered.rates)),
            Effect::AlsoAllows => "also allows it".to_owned(),
            Effect::AlsoDenies => "also denies it".to_owned(),
            Effect::Overruled if matches!(self.explanation.verdict, Verdict::Kept { .. }) => {
                "allows it, but nobody can change a resource's slot".to_owned()
            }
            Effect::Overruled => "allows it, but another rule denies it".to_owned(),
            Effect::DoesNotCount(reasons) => {
                let reasons: Vec<_> = reasons.iter().map(|reason| self.reason(reason)).collect();
                format!("does not apply: {}", reasons.join("; "))
            }
        }
    }

    fn reason(&self, reason: &Reason<'_>) -> String {
        let or = |list: Vec<String>| list.join(" or ");
        match reason {
            Reason::OtherRights { allows, denies } => {
                let part = |verb: &str, list: &[Right]| {
                    (!list.is_empty()).then(|| format!("{verb} {}", rights(list)))
                };
                let parts: Vec<_> = [part("allows", allows), part("denies", denies)]
                    .into_iter()
                    .flatten()
                    .collect();
                format!("it {}, and says nothing about {}", parts.join(" and "), self.right)
            }
            Reason::PartOfTag => "it covers only a part of the tag".to_owned(),
            Reason::NotYet(from) => format!("it applies from {from} on"),
            Reason::NoLonger(until) => format!("it applied until {until}"),
            Reason::User { wanted: [], .. } => "it names no user that exists here".to_owned(),
            Reason::Group { wanted: [], .. } => "it names no group that exists here".to_owned(),
            Reason::User { wanted, is } => {
                let wanted = or(wanted.iter().map(|uid| self.describer.user(*uid)).collect());
                format!("the user is {}, not {wanted}", self.describer.user(*is))
            }
            Reason::Group { wanted, are: _ } => {
                let wanted = or(wanted.iter().map(|gid| self.describer.group(*gid)).collect());
                format!("not in the group {wanted}")
            }
            Reason::Text { key, wanted, is } => {
                let wanted = wanted.join(" or ");
                match is {
                    Some(is) => format!("the {key} is {is}, not {wanted}"),
                    None if self.has_none(key) => {
                        format!("there is no {key}, and it must be {wanted}")
                    }
                    None => format!("the {key} is not known, and must be {wanted}"),
                }
            }
        }
    }

    fn object(&self) -> Value {
        let verdict = self.explanation.verdict;
        let groups = self.subject.all_groups();
        let rules = self.explanation.rules.iter().map(|it| self.rule_object(it));
        json!({
            "verdict": if verdict.is_granted() { "granted" } else { "refused" },
            "rule": verdict.rule(),
            "policys_own": self.explanation.is_kept,
            "right": self.right.name(),
            "on": target_object(self.target, &self.describer),
            "at": self.at.to_string(),
            "peer": {
                "user": self.describer.user_object(self.subject.uid),
                "groups": groups.iter().map(|gid| self.describer.group_object(*gid)).collect::<Vec<_>>(),
                "unit": self.subject.unit,
                "cgroup": self.subject.cgroup,
                "label": self.subject.label,
            },
            "rules": rules.collect::<Vec<_>>(),
        })
    }

    fn rule_object(&self, considered: &Considered<'_>) -> Value {
        let (effect, reasons) = match &considered.effect {
            Effect::Decides => ("decides", &[][..]),
            Effect::AlsoAllows => ("also-allows", &[][..]),
            Effect::AlsoDenies => ("also-denies", &[][..]),
            Effect::Overruled => ("overruled", &[][..]),
            Effect::DoesNotCount(reasons) => ("does-not-count", &reasons[..]),
        };
        let reasons: Vec<_> = reasons.iter().map(|reason| self.reason_object(reason)).collect();
        let mut object = json!({ "rule": considered.rule, "effect": effect, "reasons": reasons });
        let rates = [
            ("requests_per_second", considered.rates.requests_per_second),
            ("records_per_second", considered.rates.records_per_second),
        ];
        for (key, rate) in rates {
            if let Some(rate) = rate {
                object[key] = rate.get().into();
            }
        }
        object
    }

    fn reason_object(&self, reason: &Reason<'_>) -> Value {
        match reason {
            Reason::OtherRights { allows, denies } => json!({
                "reason": "other-rights",
                "allows": right_names(allows),
                "denies": right_names(denies),
            }),
            Reason::PartOfTag => json!({ "reason": "part-of-tag" }),
            Reason::NotYet(from) => json!({ "reason": "not-yet", "valid_from": from.to_string() }),
            Reason::NoLonger(until) => {
                json!({ "reason": "no-longer", "valid_until": until.to_string() })
            }
            Reason::User { wanted, is } => json!({
                "reason": "user",
                "wanted": wanted.iter().map(|uid| self.describer.user_object(*uid)).collect::<Vec<_>>(),
                "is": self.describer.user_object(*is),
            }),
            Reason::Group { wanted, are } => json!({
                "reason": "group",
                "wanted": wanted.iter().map(|gid| self.describer.group_object(*gid)).collect::<Vec<_>>(),
                "is": are.iter().map(|gid| self.describer.group_object(*gid)).collect::<Vec<_>>(),
            }),
            Reason::Text { key, wanted, is } => {
                json!({ "reason": key, "wanted": wanted, "is": is })
            }
        }
    }
}

/// The rates of the rule that decides, as the end of a line; nothing where it has none.
fn limits(rates: Rates) -> String {
    let part = |limit: Option<NonZeroU32>, noun| limit.map(|limit| counted(limit.get(), noun));
    let parts = [
        part(rates.requests_per_second, "request"),
        part(rates.records_per_second, "audit record"),
    ];
    let parts: Vec<_> = parts.into_iter().flatten().collect();
    if parts.is_empty() {
        return String::new();
    }
    format!(", at most {} a second for each user", parts.join(" and "))
}
