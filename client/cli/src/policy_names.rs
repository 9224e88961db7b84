//! What slots are called in a policy file.
//!
//! Of the file only the names of tags and resources count here: the users and groups in it need
//! not exist on this machine.

use std::cell::Cell;
use std::fs;
use std::path::PathBuf;

use fdbroker_policy::{Gid, LookupError, Names, Policy, SourceText, Uid};
use fdbroker_types::quoted;

use fdbroker::{Slot, Tag};

use crate::failure::Failure;

/// Where the policy file is when nobody says otherwise.
pub(crate) const DEFAULT_POLICY: &str = "/etc/fdbroker/policy.toml";

/// What helps where no policy file tells the names.
const OTHERWISE: &str = "give numbers, or --policy another";

/// Looks up slots; reads the policy file once it needs it.
#[derive(Debug)]
pub(crate) struct PolicyNames {
    file: PathBuf,
    /// Nobody named the file: it counts because the broker cannot be asked.
    fallback: bool,
    policy: Option<Policy>,
}

impl PolicyNames {
    /// The names of this policy file.
    pub(crate) fn new(file: PathBuf) -> Self {
        Self { file, fallback: false, policy: None }
    }

    /// The names of the default policy file, for want of a broker that tells them.
    pub(crate) fn of_this_machine() -> Self {
        Self { file: DEFAULT_POLICY.into(), fallback: true, policy: None }
    }

    /// The slot of this name.
    pub(crate) fn slot(&mut self, text: &str) -> Result<Slot, Failure> {
        let found = self.policy("slot", text)?.resolve(text);
        found.ok_or_else(|| self.unknown("slot", text, "1/0"))
    }

    /// The tag of this name.
    pub(crate) fn tag(&mut self, text: &str) -> Result<Tag, Failure> {
        let found = self.policy("tag", text)?.resolve_tag(text);
        found.ok_or_else(|| self.unknown("tag", text, "1"))
    }

    fn policy(&mut self, what: &str, text: &str) -> Result<&Policy, Failure> {
        if self.policy.is_none() {
            self.policy = Some(self.load(what, text)?);
        }
        self.policy.as_ref().ok_or(Failure::Findings)
    }

    fn load(&self, what: &str, name: &str) -> Result<Policy, Failure> {
        let unusable = |why: &dyn std::fmt::Display| {
            Failure::Local(format!(
                "{what} {name}: {}the policy file {}, where names are looked up, {why}",
                self.excuse(),
                quoted(&self.file),
                name = quoted(name)
            ))
        };
        let unread =
            |error: std::io::Error| unusable(&format_args!("cannot be read: {error}; {OTHERWISE}"));
        let files = fdbroker_host::policy_files(&self.file).map_err(unread)?;
        let read = |file: &PathBuf| -> Result<SourceText, Failure> {
            let text = fs::read_to_string(file).map_err(unread)?;
            Ok(SourceText::new(file.to_string_lossy(), text))
        };
        let sources: Vec<_> = files.iter().map(read).collect::<Result<_, _>>()?;
        let names = Anybody::default();
        fdbroker_policy::load_untested(&sources, &names)
            .map_err(|findings| unusable(&format_args!("does not load; {OTHERWISE}:\n{findings}")))
    }

    fn unknown(&self, what: &str, text: &str, example: &str) -> Failure {
        Failure::Usage(format!(
            "{what} {text}: {}not a number such as {example}, and not a name in the policy file {}; see what it declares",
            self.excuse(),
            quoted(&self.file),
            text = quoted(text)
        ))
    }

    fn excuse(&self) -> &'static str {
        match self.fallback {
            true => "the broker speaks version 1 of the protocol and cannot look up names; ",
            false => "",
        }
    }
}

/// Every name is somebody, each somebody else.
#[derive(Debug, Default)]
struct Anybody(Cell<u32>);

impl Anybody {
    fn next(&self) -> u32 {
        // From 1 on, and clear of the overflow id 65534, which no policy may name.
        self.0.set(self.0.get() % 60000 + 1);
        self.0.get()
    }
}

impl Names for Anybody {
    fn user(&self, _: &str) -> Result<Option<Uid>, LookupError> {
        Ok(Some(Uid(self.next())))
    }

    fn group(&self, _: &str) -> Result<Option<Gid>, LookupError> {
        Ok(Some(Gid(self.next())))
    }
}
