//! `fdbroker check`: the policy's compiler, and what a new policy would change.

use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use clap::Args;
use fdbroker_host::PolicyFileError;
use fdbroker_policy::{Audit, Moment, Policy, Settings, Uid};
use fdbroker_policy_tools::{
    Alteration, Altered, Change, Differences, Field, SettingsDiff, TimedRules, diff,
};
use fdbroker_types::{counted, escape};
use serde_json::{Value, json};

use crate::connect_args::ConnectArgs;
use crate::credentials;
use crate::describe::{Describer, right_names, rights};
use crate::failure::Failure;
use crate::notes::{note_private_sockets, note_strict_tags};
use crate::output;
use crate::plain_text::note_plain_passwords;
use crate::policy_names::DEFAULT_POLICY;
use crate::running;
use crate::sockets::note_open_directories;
use crate::terminal;

/// Check policy files as the broker does, and print all mistakes
///
/// Reads the drop-ins of each file too, policy.d/*.toml beside it, and runs the policy's tests.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Check {
    /// The policy files [default: that of --policy, of $FDBROKER_POLICY, or
    /// /etc/fdbroker/policy.toml]
    #[arg(value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Compare two files, OLD and NEW: who gains and who loses which right, and which resources,
    /// tags and settings change
    #[arg(long)]
    diff: bool,
    /// With --diff: compare for this time, such as 2026-12-31T23:00:00Z [default: now]
    #[arg(long, value_name = "TIME", requires = "diff")]
    at: Option<Moment>,
    /// With --diff: write one JSON object instead of a table
    #[arg(long, requires = "diff")]
    json: bool,
}

const EXAMPLES: &str = "\
Examples:
  fdbroker check                       the policy of this machine
  fdbroker check new.toml && install -m 644 new.toml /etc/fdbroker/policy.toml
  fdbroker check --diff /etc/fdbroker/policy.toml new.toml

Each finding has its place, the line, and what to do. The exit status is 0 without findings, else
1. Without FILE it is 1 too if the running broker serves under an older policy, since this one did
not load; the user that runs the broker is told, with the right operate. With --diff, a difference
is not a finding. The check also refuses files that users other than root and you could write: run
it as root for a broker that root runs.

A line of --diff concerns everybody who meets the conditions in its column WHO. Lines that begin
with unless are exceptions: another rule applies to them, so nothing changes, or another line
shows them. If the patterns of two rules are too complex to compare, the line says may gain or may
lose.";

impl Check {
    /// Runs it.
    pub(crate) fn run(mut self, args: &ConnectArgs) -> Result<(), Failure> {
        if self.diff {
            let [old, new] = &self.files[..] else {
                let text = "check: --diff compares two files: check --diff OLD NEW";
                return Err(Failure::Usage(text.to_owned()));
            };
            return compare(old, new, self.at.unwrap_or_else(now), self.json);
        }
        let is_machines = self.files.is_empty();
        if is_machines {
            self.files.push(policy_file(args));
        }
        let mut outcome = Ok(());
        for file in &self.files {
            outcome = check(file)?.and(outcome);
        }
        if is_machines {
            outcome = running::is_current(args).and(outcome);
        }
        outcome
    }
}

/// The time by the clock of this machine, in whole seconds.
pub(crate) fn now() -> Moment {
    Moment::new(Moment::from(SystemTime::now()).seconds(), 0)
}

/// The policy that a session is about. Findings are printed.
pub(crate) fn load(args: &ConnectArgs) -> Result<Policy, Failure> {
    Ok(load_file(&policy_file(args))?.0)
}

/// The policy file that counts where the command line names none as an argument.
fn policy_file(args: &ConnectArgs) -> PathBuf {
    args.policy().unwrap_or_else(|| DEFAULT_POLICY.into())
}

/// A policy, and how many drop-ins belong to it. Findings are printed.
fn load_file(file: &Path) -> Result<(Policy, usize), Failure> {
    match fdbroker_host::load_policy(file) {
        Ok((sources, policy)) => {
            policy
                .warnings()
                .iter()
                .for_each(|warning| terminal::complain(format_args!("{warning}")));
            Ok((policy, sources.len().saturating_sub(1)))
        }
        Err(PolicyFileError::Findings(findings)) => {
            terminal::complain(format_args!("{findings}"));
            Err(Failure::Findings)
        }
        Err(error) => {
            terminal::complain(format_args!("fdbroker: {error}{}", remedy(&error)));
            Err(Failure::Findings)
        }
    }
}

/// What to do about a file that this user may not read.
fn remedy(error: &PolicyFileError) -> &'static str {
    match error {
        PolicyFileError::Unreadable { source, .. }
            if source.kind() == io::ErrorKind::PermissionDenied =>
        {
            "; run it as root, or as a user who may read it"
        }
        PolicyFileError::NotFound(path) if path.as_path() == Path::new(DEFAULT_POLICY) => {
            "; without it, a broker has a built-in policy, which lets the user that started it do \
             everything, and nobody else anything"
        }
        _ => "",
    }
}

/// Prints the report on one file; returns whether the file is good.
fn check(file: &Path) -> Result<Result<(), Failure>, Failure> {
    let (policy, drop_ins) = match load_file(file) {
        Ok(loaded) => loaded,
        Err(failure) => return Ok(Err(failure)),
    };
    let mut counts = vec![
        counted(policy.tags().count(), "tag"),
        counted(policy.resources().len(), "resource"),
        counted(policy.rule_count(), "rule"),
        format!("{} passed", counted(policy.test_count(), "test")),
    ];
    if drop_ins > 0 {
        counts.push(format!("with {}", counted(drop_ins, "drop-in")));
    }
    let shown = escape(&file.to_string_lossy());
    if let Err(failure) = account(&shown, &policy) {
        return Ok(Err(failure));
    }
    credentials::note_faults(&shown, &policy);
    note_private_sockets(&shown, &policy);
    note_strict_tags(&shown, &policy);
    note_open_directories(&shown, &policy);
    note_plain_passwords(&shown, &policy);
    if policy.settings().audit == Audit::Required {
        terminal::complain(format_args!(
            "{shown}: note: audit = \"required\": the broker loads this only when started with --audit-file"
        ));
    }
    output::line(format_args!("{shown}: ok: {}", counts.join(", "))).map(Ok)
}

/// Whether root's broker would find an account for its worker, here and now. The default one may be
/// made yet, by the installation; that one which the policy names is not there is a finding. Root is never one.
fn account(shown: &str, policy: &Policy) -> Result<(), Failure> {
    match fdbroker_host::account(&policy.settings().user) {
        Ok(found) if found.uid == Uid::ROOT => {
            terminal::complain(format_args!(
                "{shown}: the worker must not run as root: name an ordinary account as `user` in [broker]"
            ));
            Err(Failure::Findings)
        }
        Ok(_) => Ok(()),
        Err(error) => {
            terminal::complain(format_args!(
                "{shown}: note: root's broker would not start: {error}"
            ));
            Ok(())
        }
    }
}

fn compare(old: &Path, new: &Path, at: Moment, json: bool) -> Result<(), Failure> {
    // The findings of both are printed.
    let (old, new) = (load_file(old), load_file(new));
    let ((old, old_drop_ins), (new, new_drop_ins)) = (old?, new?);
    let comparison = Comparison {
        differences: diff(&old, &new, at),
        others: SettingsDiff::of(&old, &new, at),
        at,
        drop_ins: [old_drop_ins, new_drop_ins],
        lowered: lowered(old.settings(), new.settings()),
        describer: Describer(vec![&new, &old]),
    };
    if json { output::json(&comparison.object()) } else { comparison.print() }
}

/// The limits that are lower than before.
fn lowered(old: &Settings, new: &Settings) -> Vec<&'static str> {
    let limits = |of: &Settings| {
        [
            ("max_connections", u64::from(of.max_connections)),
            ("max_connections_per_uid", of.max_connections_per_uid.into()),
            ("max_slots_per_uid", of.max_slots_per_uid.into()),
            ("max_payload_bytes_per_uid", of.max_payload_bytes_per_uid),
        ]
    };
    let pairs = limits(old).into_iter().zip(limits(new));
    pairs.filter(|((_, old), (_, new))| new < old).map(|((key, _), _)| key).collect()
}

const CUT: &str = "stopped here: more users may gain or lose a right";

/// What is said of two policies.
struct Comparison<'p> {
    differences: Differences,
    others: SettingsDiff,
    at: Moment,
    drop_ins: [usize; 2],
    /// The limits that are lower than before.
    lowered: Vec<&'static str>,
    describer: Describer<'p>,
}

impl Comparison<'_> {
    fn print(&self) -> Result<(), Failure> {
        let Differences { changes, is_cut } = &self.differences;
        if changes.is_empty() && !is_cut {
            output::line(format_args!("as of {}: nobody gains and nobody loses a right", self.at))?;
        } else {
            output::line(format_args!("as of {}:", self.at))?;
            let rows = changes.iter().flat_map(|change| rows(change, &self.describer));
            output::table(["", "right", "on", "who", "before", "after"], rows.collect())?;
        }
        if *is_cut {
            output::line(CUT)?;
        }
        let SettingsDiff { timed, resources, tags, settings, rates, .. } = &self.others;
        let sides = ["OLD", "NEW"];
        for (side, timed) in sides.iter().zip(timed) {
            timed_line(side, timed).map_or(Ok(()), output::line)?;
        }
        for (noun, list) in [("tag", tags), ("resource", resources), ("rule", rates)] {
            list.iter().try_for_each(|it| output::line(escape(&altered_line(noun, it))))?;
        }
        settings.iter().try_for_each(|it| {
            let keeps =
                if self.lowered.contains(&it.key) { "; those who have more keep it" } else { "" };
            output::line(escape(&format!("setting changed: {}{keeps}", field_text(it))))
        })?;
        let reasons = self.takes_a_restart();
        if !reasons.is_empty() {
            let reasons = reasons.join(", ");
            output::line(format_args!(
                "a reload refuses NEW; a restart, which not every deposit survives, is needed for: {reasons}"
            ))?;
        }
        for (side, count) in sides.iter().zip(self.drop_ins).filter(|(_, count)| *count > 0) {
            output::line(format_args!("{side} was read with {}", counted(count, "drop-in")))?;
        }
        Ok(())
    }

    /// What a reload refuses: a broker that was started with OLD cannot change it.
    fn takes_a_restart(&self) -> Vec<String> {
        let SettingsDiff { settings, capabilities, .. } = &self.others;
        let user = settings.iter().any(|it| it.key == "user").then(|| "another user".to_owned());
        let capabilities = capabilities.iter().map(|name| format!("the capability {name}"));
        user.into_iter().chain(capabilities).collect()
    }

    fn object(&self) -> Value {
        let SettingsDiff { timed: [old, new], resources, tags, settings, rates, .. } = &self.others;
        let list = |list: &[Altered]| list.iter().map(altered_object).collect::<Vec<_>>();
        let [old_drop_ins, new_drop_ins] = self.drop_ins;
        let changes = self.differences.changes.iter().map(|change| object(change, &self.describer));
        json!({
            "at": self.at.to_string(),
            "changes": changes.collect::<Vec<_>>(),
            "complete": !self.differences.is_cut,
            "resources": list(resources),
            "tags": list(tags),
            "rules": list(rates),
            "settings": settings.iter().map(field_object).collect::<Vec<_>>(),
            "takes_a_restart": self.takes_a_restart(),
            "timed_rules": { "old": timed_object(old), "new": timed_object(new) },
            "drop_ins": { "old": old_drop_ins, "new": new_drop_ins },
        })
    }
}

/// What the moment leaves out, if there is anything.
fn timed_line(side: &str, timed: &TimedRules) -> Option<String> {
    let TimedRules { begin_later, end_later, ended } = *timed;
    let parts = [
        (begin_later, "begins", "begin", " later"),
        (end_later, "ends", "end", " later"),
        (ended, "has", "have", " ended"),
    ];
    let parts = parts.iter().filter(|(count, ..)| *count > 0);
    let parts = parts.map(|(count, one, more, when)| {
        let verb = if *count == 1 { one } else { more };
        format!("{} that {verb}{when}", counted(*count, "rule"))
    });
    let parts: Vec<_> = parts.collect();
    (!parts.is_empty()).then(|| format!("{side} has {}", parts.join(", ")))
}

fn timed_object(timed: &TimedRules) -> Value {
    let TimedRules { begin_later, end_later, ended } = timed;
    json!({ "begin_later": begin_later, "end_later": end_later, "ended": ended })
}

fn altered_line(noun: &str, altered: &Altered) -> String {
    let name = &altered.name;
    match &altered.how {
        Alteration::Added => format!("{noun} added: {name}"),
        Alteration::Gone => format!("{noun} gone: {name}"),
        Alteration::Changed(fields) => {
            let fields: Vec<_> = fields.iter().map(field_text).collect();
            format!("{noun} changed: {name}: {}", fields.join("; "))
        }
    }
}

fn altered_object(altered: &Altered) -> Value {
    let (how, fields) = match &altered.how {
        Alteration::Added => ("added", &[][..]),
        Alteration::Gone => ("gone", &[][..]),
        Alteration::Changed(fields) => ("changed", &fields[..]),
    };
    let fields: Vec<_> = fields.iter().map(field_object).collect();
    json!({ "name": altered.name, "change": how, "fields": fields })
}

fn field_text(field: &Field) -> String {
    format!("{} was {}, is {}", field.key, field.before, field.after)
}

fn field_object(field: &Field) -> Value {
    json!({ "key": field.key, "before": field.before, "after": field.after })
}

/// The line of a change, and one for each of those who are spared.
fn rows(change: &Change, describer: &Describer<'_>) -> Vec<[String; 6]> {
    let verb = match (change.gains, change.is_vague) {
        (true, false) => "gains",
        (false, false) => "loses",
        (true, true) => "may gain",
        (false, true) => "may lose",
    };
    let decided = |rule: &Option<String>, granted: bool| match rule {
        Some(rule) if granted => format!("allowed by \"{rule}\""),
        Some(rule) => format!("denied by \"{rule}\""),
        None => "no rule allows it".to_owned(),
    };
    let first = [
        verb.to_owned(),
        rights(&change.rights),
        describer.scopes(&change.on),
        describer.subject(&change.who),
        decided(&change.before, !change.gains),
        decided(&change.after, change.gains),
    ];
    let unless = change.unless.iter().map(|unless| {
        let who = describer.subject(&unless.who);
        let empty = String::new;
        [
            empty(),
            empty(),
            empty(),
            format!("  unless {who}"),
            format!("rule \"{}\"", unless.rule),
            empty(),
        ]
    });
    std::iter::once(first).chain(unless).collect()
}

fn object(change: &Change, describer: &Describer<'_>) -> Value {
    let unless = change
        .unless
        .iter()
        .map(|unless| json!({ "rule": unless.rule, "who": describer.subject_object(&unless.who) }));
    json!({
        "change": if change.gains { "gains" } else { "loses" },
        "rights": right_names(&change.rights),
        "on": describer.scopes_object(&change.on),
        "who": describer.subject_object(&change.who),
        "before": change.before,
        "after": change.after,
        "vague": change.is_vague,
        "unless": unless.collect::<Vec<_>>(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_file_that_this_user_may_not_read_is_for_another_user() {
        let unreadable = |kind: io::ErrorKind| {
            remedy(&PolicyFileError::Unreadable { path: "/p".into(), source: kind.into() })
        };
        assert_eq!(
            unreadable(io::ErrorKind::PermissionDenied),
            "; run it as root, or as a user who may read it"
        );
        assert_eq!(unreadable(io::ErrorKind::NotADirectory), "");
    }
}
