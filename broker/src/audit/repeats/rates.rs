//! How many records of refusals there may be in a second, as the policy says.

use std::collections::HashMap;
use std::num::NonZeroU32;

use fdbroker_policy::{Policy, Settings};

/// How many records of refusals there may be in a second, as the policy says.
pub(in crate::audit) struct Rates {
    /// Of one user.
    pub(super) of_user: NonZeroU32,
    /// Of one user by one rule, by the rule's id.
    pub(super) of_rules: HashMap<String, NonZeroU32>,
}

impl Rates {
    pub(in crate::audit) fn of(policy: &Policy) -> Self {
        let rules = policy.rules_with_rates();
        let of_rules =
            rules.filter_map(|(id, rates)| Some((id.to_owned(), rates.records_per_second?)));
        let of_user = policy.settings().records_per_second;
        Self { of_user, of_rules: of_rules.collect() }
    }
}

impl Default for Rates {
    fn default() -> Self {
        let of_user = Settings::default().records_per_second;
        Self { of_user, of_rules: HashMap::new() }
    }
}
