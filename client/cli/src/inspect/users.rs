//! The names of users, as this machine knows them.

use std::collections::HashMap;

use fdbroker_host::{Lookup, Question, SystemNames};
use fdbroker_policy::Uid;

/// The names that were looked up.
#[derive(Default)]
pub(crate) struct UserNames {
    service: SystemNames,
    known: HashMap<u32, Option<String>>,
}

impl UserNames {
    /// The name of a user, if it has one.
    pub(crate) fn name(&mut self, uid: u32) -> Option<&str> {
        let service = &self.service;
        let look_up = || service.look_up(&Question::Number(Uid(uid))).ok().flatten();
        let name = self.known.entry(uid).or_insert_with(|| look_up().map(|found| found.name));
        name.as_deref()
    }

    /// The name of a user, or else the number.
    pub(crate) fn shown(&mut self, uid: u32) -> String {
        self.name(uid).map_or_else(|| uid.to_string(), str::to_owned)
    }
}
