//! The names of a policy: each is looked up once, and what was found is remembered.
//!
//! A name that was known before keeps its number while it cannot be looked up: nobody loses a right since a name service
//! rests. One that was never known stays open, and so does one that nobody has: the account may come.

use std::cell::RefCell;

use fdbroker_host::Lookup;
use fdbroker_policy::{Gid, LookupError, Names, Uid};
use fdbroker_types::quoted;
use fdbroker_wire::{KnownName, NameKind};

/// Of so many names the status tells.
const SHOWN: usize = 20;

/// Looks names up and remembers what was found.
pub(super) struct Recorder<'b> {
    names: &'b dyn Lookup,
    /// What was known before.
    before: &'b [KnownName],
    /// Whether a name that nobody has counts as one that could not be looked up.
    forgives: bool,
    found: RefCell<FoundNames>,
}

/// The names of a policy, and what they mean.
#[derive(Clone, Default)]
pub(crate) struct FoundNames {
    /// Those that somebody has, or that could not be looked up.
    pub(crate) known: Vec<KnownName>,
    /// Those that nobody has.
    absent: Vec<(NameKind, String)>,
}

impl<'b> Recorder<'b> {
    /// For a policy after another one, whose names were these.
    pub(super) fn after(before: &'b [KnownName], names: &'b dyn Lookup) -> Self {
        Self { names, before, forgives: false, found: RefCell::default() }
    }

    /// For the last good policy, which must load whatever accounts have gone: as long as one has, a rule that denies by
    /// it denies everybody.
    pub(super) fn forgiving(self) -> Self {
        Self { forgives: true, ..self }
    }

    pub(super) fn into_found(self) -> FoundNames {
        self.found.into_inner()
    }

    fn record(
        &self,
        kind: NameKind,
        name: &str,
        looked_up: Result<Option<u32>, LookupError>,
    ) -> Result<Option<u32>, LookupError> {
        let answer = match looked_up {
            Ok(None) if self.forgives => Err(LookupError("nobody has this name".to_owned())),
            Err(error) => self.of_before(kind, name).map(Some).ok_or(error),
            answer => answer,
        };
        let mut found = self.found.borrow_mut();
        let name = name.to_owned();
        match &answer {
            Ok(None) => found.absent.push((kind, name)),
            Ok(id) => found.known.push(KnownName { kind, name, id: *id }),
            Err(_) => found.known.push(KnownName { kind, name, id: None }),
        }
        answer
    }

    fn of_before(&self, kind: NameKind, name: &str) -> Option<u32> {
        self.before.iter().find(|it| it.kind == kind && it.name == name)?.id
    }
}

impl Names for Recorder<'_> {
    fn user(&self, name: &str) -> Result<Option<Uid>, LookupError> {
        let looked_up = self.names.user(name).map(|found| found.map(|uid| uid.0));
        Ok(self.record(NameKind::User, name, looked_up)?.map(Uid))
    }

    fn group(&self, name: &str) -> Result<Option<Gid>, LookupError> {
        let looked_up = self.names.group(name).map(|found| found.map(|gid| gid.0));
        Ok(self.record(NameKind::Group, name, looked_up)?.map(Gid))
    }
}

impl FoundNames {
    /// Whether a name is open: nobody has it, or nobody can tell.
    pub(crate) fn are_open(&self) -> bool {
        !self.absent.is_empty() || self.has_unknown()
    }

    /// Whether a name could not be looked up.
    pub(crate) fn has_unknown(&self) -> bool {
        self.known.iter().any(|name| name.id.is_none())
    }

    /// Looks the open names up again; whether an answer is another one now. This can block.
    pub(super) fn have_changed(&self, names: &dyn Lookup) -> bool {
        let unknown = self.known.iter().filter(|name| name.id.is_none());
        let mut unknown = unknown.map(|known| (known.kind, &known.name));
        let absent = self.absent.iter().map(|(kind, name)| (*kind, name));
        // One that could not be looked up may turn out to be nobody's; for the last good policy that is the same.
        unknown.any(|(kind, name)| is_there(names, kind, name) == Some(true))
            || absent.into_iter().any(|(kind, name)| is_there(names, kind, name) == Some(true))
    }

    /// Those that could not be looked up, for the status.
    pub(crate) fn unknown(&self) -> String {
        let unknown = self.known.iter().filter(|name| name.id.is_none());
        shown(unknown.map(|name| (name.kind, name.name.as_str())))
    }

    /// Those that nobody has, for the status.
    pub(crate) fn absent(&self) -> String {
        shown(self.absent.iter().map(|(kind, name)| (*kind, name.as_str())))
    }
}

/// Whether somebody has a name; `None` if it cannot be looked up.
fn is_there(names: &dyn Lookup, kind: NameKind, name: &str) -> Option<bool> {
    match kind {
        NameKind::User => names.user(name).ok().map(|found| found.is_some()),
        NameKind::Group => names.group(name).ok().map(|found| found.is_some()),
    }
}

fn shown<'n>(names: impl Iterator<Item = (NameKind, &'n str)>) -> String {
    let mut names = names.map(|(kind, name)| match kind {
        NameKind::User => format!("user {}", quoted(name)),
        NameKind::Group => format!("group {}", quoted(name)),
    });
    let first: Vec<_> = names.by_ref().take(SHOWN).collect();
    match (first.is_empty(), names.count()) {
        (true, _) => "none".to_owned(),
        (false, 0) => first.join(", "),
        (false, more) => format!("{}, and {more} more", first.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use fdbroker_host::SystemNames;

    use super::*;

    fn failing() -> Result<Option<u32>, LookupError> {
        Err(LookupError("down".to_owned()))
    }

    #[test]
    fn a_name_that_was_known_keeps_its_number_while_it_cannot_be_looked_up() {
        let before = [KnownName { kind: NameKind::User, name: "ann".into(), id: Some(7) }];
        let system = SystemNames::default();
        let names = Recorder::after(&before, &system);
        assert_eq!(names.record(NameKind::User, "ann", failing()), Ok(Some(7)));
        assert!(names.record(NameKind::Group, "ann", failing()).is_err());
        assert_eq!(names.record(NameKind::User, "bob", Ok(None)), Ok(None));
        let found = names.into_found();
        assert_eq!(
            (found.unknown(), found.absent()),
            ("group \"ann\"".into(), "user \"bob\"".into())
        );
    }

    #[test]
    fn for_the_last_good_policy_a_name_that_nobody_has_is_open() {
        let system = SystemNames::default();
        let names = Recorder::after(&[], &system).forgiving();
        assert!(names.record(NameKind::User, "bob", Ok(None)).is_err());
        let found = names.into_found();
        assert!(found.has_unknown() && found.are_open() && !found.have_changed(&system));
        assert_eq!(found.absent(), "none");
    }
}
