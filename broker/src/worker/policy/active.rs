//! The policy in force. A reload swaps it between two requests: each request keeps the one that it
//! began with, and what waits for its turn is decided again when that comes.

use std::cell::RefCell;
use std::collections::HashMap;
use std::num::NonZeroU32;
use std::rc::Rc;
use std::time::{Duration, SystemTime};

use fdbroker_policy::{Moment, Policy, SourceText, Uid};
use fdbroker_wire::Setup;
use tokio::sync::Notify;
use tokio::time::timeout;

use super::names::KnownNames;
use crate::payer::Payers;

/// How long a policy that the supervisor has sent may take to be in force here.
const SWAP: Duration = Duration::from_secs(30);

/// A policy, and which one it is.
pub(crate) struct Rules {
    pub(crate) policy: Policy,
    /// Who pays for whom.
    pub(crate) payers: Payers,
    /// Counted from the start of the broker.
    pub(crate) generation: u32,
    /// How many requests a second each user may make by a rule, for the rules that say.
    rates: HashMap<String, NonZeroU32>,
}

/// Where the policy in force is found.
pub(crate) struct ActivePolicy {
    rules: RefCell<Rc<Rules>>,
    swapped: Notify,
}

impl Rules {
    /// Reads the policy that the supervisor has read already; this takes as long as it is large.
    pub(crate) fn read(setup: Setup) -> Result<Self, String> {
        let generation = setup.generation;
        let payers = Payers::told(&setup.subordinates);
        if setup.policy.is_empty() {
            let policy = fdbroker_policy::built_in(Uid(setup.owner));
            return Ok(Self::new(policy, payers, generation));
        }
        let names = KnownNames::new(setup.names);
        let sources = setup.policy.into_iter();
        let sources: Vec<_> = sources.map(|file| SourceText::new(file.path, file.text)).collect();
        match fdbroker_policy::load(&sources, &names) {
            Ok(policy) => Ok(Self::new(policy, payers, generation)),
            Err(findings) => Err(findings.to_string()),
        }
    }

    fn new(policy: Policy, payers: Payers, generation: u32) -> Self {
        let rates = policy.rules_with_rates();
        let rates =
            rates.filter_map(|(id, rates)| Some((id.to_owned(), rates.requests_per_second?)));
        let rates = rates.collect();
        Self { policy, payers, generation, rates }
    }

    /// How many requests a second each user may make by a rule, if the rule says.
    pub(crate) fn rate_of(&self, rule: &str) -> Option<NonZeroU32> {
        if self.rates.is_empty() { None } else { self.rates.get(rule).copied() }
    }

    /// The time to decide at; any will do where no rule begins or ends by itself.
    pub(crate) fn now(&self) -> Moment {
        if self.policy.is_timed() { SystemTime::now().into() } else { Moment::new(0, 0) }
    }
}

impl ActivePolicy {
    pub(crate) fn new(rules: Rules) -> Self {
        Self { rules: RefCell::new(Rc::new(rules)), swapped: Notify::new() }
    }

    /// The policy in force now.
    pub(crate) fn now(&self) -> Rc<Rules> {
        Rc::clone(&self.rules.borrow())
    }

    /// Whether `rules` are still in force.
    pub(crate) fn are(&self, rules: &Rules) -> bool {
        std::ptr::eq(&**self.rules.borrow(), rules)
    }

    /// Waits until a policy of this generation, or a later one, is in force, but for 30 seconds at most. Returns whether it
    /// is.
    pub(crate) async fn is_reached(&self, generation: u32) -> bool {
        timeout(SWAP, self.reached(generation)).await.is_ok()
    }

    /// Waits until a policy of this generation, or a later one, is in force. Can be dropped.
    pub(crate) async fn reached(&self, generation: u32) {
        loop {
            let swapped = self.swapped.notified();
            if self.rules.borrow().generation >= generation {
                return;
            }
            swapped.await;
        }
    }

    /// Puts another one in force.
    pub(crate) fn swap(&self, rules: Rules) {
        self.rules.replace(Rc::new(rules));
        self.swapped.notify_waiters();
    }
}
