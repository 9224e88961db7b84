//! `fdbroker check`: the policy's compiler.

use std::path::{Path, PathBuf};

use clap::Args;
use fdbroker_host::PolicyFileError;
use fdbroker_policy::{Policy, Uid};

use super::slot_names::DEFAULT_POLICY;
use super::{Failure, output};

/// Check policy files as the broker does, and tell everything that is wrong with them
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Check {
    /// The policy files [default: /etc/fdbroker/policy.toml]
    #[arg(value_name = "FILE")]
    files: Vec<PathBuf>,
}

const EXAMPLES: &str = "\
Examples:
  fdbroker check                       the policy of this machine
  fdbroker check new.toml && install -m 644 new.toml /etc/fdbroker/policy.toml

Each finding has its place, the line, and what to do. Exits with 0 when there is none, else with 1.
Who could write a file is judged for who runs the check: check as root what root's broker will read.";

impl Check {
    /// Runs it.
    pub(crate) fn run(mut self) -> Result<(), Failure> {
        if self.files.is_empty() {
            self.files.push(DEFAULT_POLICY.into());
        }
        let mut outcome = Ok(());
        for file in &self.files {
            outcome = check(file)?.and(outcome);
        }
        outcome
    }
}

/// Prints what there is to say of one file; gives whether it is good.
fn check(file: &Path) -> Result<Result<(), Failure>, Failure> {
    match fdbroker_host::load_policy(file) {
        Ok((_, policy)) => {
            if let Err(failure) = account(file, &policy) {
                return Ok(Err(failure));
            }
            let (tags, resources) = (policy.tags().count(), policy.resources().len());
            let shown = file.display();
            output::line(format_args!(
                "{shown}: ok: {}, {}",
                counted(tags, "tag"),
                counted(resources, "resource"),
            ))
            .map(Ok)
        }
        Err(PolicyFileError::Findings(findings)) => {
            output::complain(format_args!("{findings}"));
            Ok(Err(Failure::Findings))
        }
        Err(error) => {
            output::complain(format_args!("fdbroker: check: {error}"));
            Ok(Err(Failure::Findings))
        }
    }
}

/// Whether root's broker would find an account for its worker, here and now. One that is missing
/// may be made yet, or be there on another machine; root is never one.
fn account(file: &Path, policy: &Policy) -> Result<(), Failure> {
    let shown = file.display();
    match fdbroker_host::account(&policy.settings().user) {
        Ok(found) if found.uid == Uid::ROOT => {
            output::complain(format_args!(
                "{shown}: the worker must not run as root: name an ordinary account as `user` in [broker]"
            ));
            Err(Failure::Findings)
        }
        Ok(_) => Ok(()),
        Err(error) => {
            output::complain(format_args!("{shown}: note: root's broker would not start: {error}"));
            Ok(())
        }
    }
}

fn counted(number: usize, noun: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {noun}{plural}")
}
