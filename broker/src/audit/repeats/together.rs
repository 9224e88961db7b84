//! Counts of refusals that differ, one for each kind and verdict.

use std::collections::HashMap;

use crate::log::{Kind, OwnedRecord, Record, Verdict};

/// Counts of refusals that differ.
#[derive(Default)]
pub(super) struct Together(pub(super) HashMap<(Kind, Verdict), OwnedRecord>);

impl Together {
    pub(super) fn count(&mut self, record: &Record<'_>, why: &str) {
        match self.0.get_mut(&(record.kind, record.verdict)) {
            Some(counted) => counted.add_any(record, why),
            None => drop(self.0.insert((record.kind, record.verdict), record.owned())),
        }
    }

    pub(super) fn take(&mut self) -> impl Iterator<Item = OwnedRecord> + use<> {
        std::mem::take(&mut self.0).into_values()
    }
}
