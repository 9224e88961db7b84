//! The names of the policy, as the supervisor looked them up.

use std::collections::HashMap;

use fdbroker_policy::{Gid, LookupError, Names, Uid};
use fdbroker_wire::{KnownName, NameKind};

/// Answers for the machine: the worker reads the very policy that the supervisor read.
pub(crate) struct KnownNames(HashMap<(NameKind, String), Option<u32>>);

impl KnownNames {
    pub(crate) fn new(names: Vec<KnownName>) -> Self {
        Self(names.into_iter().map(|known| ((known.kind, known.name), known.id)).collect())
    }

    fn id(&self, kind: NameKind, name: &str) -> Result<Option<u32>, LookupError> {
        match self.0.get(&(kind, name.to_owned())) {
            Some(Some(id)) => Ok(Some(*id)),
            Some(None) => Err(LookupError("the supervisor has said why".to_owned())),
            None => Ok(None),
        }
    }
}

impl Names for KnownNames {
    fn user(&self, name: &str) -> Result<Option<Uid>, LookupError> {
        Ok(self.id(NameKind::User, name)?.map(Uid))
    }

    fn group(&self, name: &str) -> Result<Option<Gid>, LookupError> {
        Ok(self.id(NameKind::Group, name)?.map(Gid))
    }
}
