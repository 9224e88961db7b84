//! What else differs between two policies: resources, tags, settings, and the rules that the moment leaves out.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU32;
use std::time::Duration;

use fdbroker_policy::{ALWAYS_KEPT, Moment, Policy, Rates, Resource, Settings, TagSettings};

/// What differs between two policies beside the rights; see [`diff()`](crate::diff()).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SettingsDiff {
    /// The rules with a time limit, of the earlier policy and of the later.
    pub timed: [TimedRules; 2],
    /// The resources, by name.
    pub resources: Vec<Altered>,
    /// The tags, by number; each under its later name.
    pub tags: Vec<Altered>,
    /// The settings of `[broker]`, by key.
    pub settings: Vec<Field>,
    /// The rates of rules that both policies have, by id.
    pub rates: Vec<Altered>,
    /// The capabilities that only resources of the later policy need: a broker that was started with the earlier one has
    /// given them up.
    pub capabilities: Vec<String>,
}

/// How many rules will or did count at another moment than the one in question.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TimedRules {
    /// They begin later.
    pub begin_later: usize,
    /// They count now, and end later.
    pub end_later: usize,
    /// They have ended.
    pub ended: usize,
}

/// A resource or a tag that is not the same in both.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Altered {
    /// What it is called.
    pub name: String,
    /// In what way.
    pub how: Alteration,
}

/// In what way something is not the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Alteration {
    /// Only the later policy has it.
    Added,
    /// Only the earlier policy has it.
    Gone,
    /// These of its keys are others.
    Changed(Vec<Field>),
}

/// A key, and what it means in each policy: a default is written out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field {
    /// The key of the language.
    pub key: &'static str,
    /// What it was.
    pub before: String,
    /// What it is.
    pub after: String,
}

/// A key, and what stands there.
type Entry = (&'static str, String);

impl SettingsDiff {
    /// What else differs when `new` takes the place of `old`, at a moment.
    #[must_use]
    pub fn of(old: &Policy, new: &Policy, at: Moment) -> Self {
        let timed = [old, new].map(|policy| TimedRules::of(policy, at));
        let resources = |policy: &Policy| {
            let named = policy.resources().iter();
            named.map(|it| (it.name.clone(), (it.name.clone(), of_resource(it)))).collect()
        };
        let tags = |policy: &Policy| {
            policy.tags().map(|tag| (tag.id, (tag.name.clone(), of_tag(tag)))).collect()
        };
        Self {
            timed,
            resources: altered(resources(old), resources(new)),
            tags: altered(tags(old), tags(new)),
            settings: fields(of_settings(old.settings()), of_settings(new.settings())),
            rates: altered(rates(old, new), rates(new, old)),
            capabilities: needed(new).difference(&needed(old)).map(ToString::to_string).collect(),
        }
    }
}

/// The capabilities that a policy's resources need, beside those that every broker keeps.
fn needed(policy: &Policy) -> BTreeSet<&str> {
    let named = policy.resources().iter().flat_map(|it| &it.capabilities).map(String::as_str);
    let implied = policy.resources().iter();
    let implied = implied.filter_map(|resource| resource.source.implied_capability(|_| None));
    named.chain(implied).filter(|name| !ALWAYS_KEPT.contains(name)).collect()
}

impl TimedRules {
    fn of(policy: &Policy, at: Moment) -> Self {
        let count = |some: &dyn Fn(Option<Moment>, Option<Moment>) -> bool| {
            policy.rules().iter().filter(|rule| some(rule.valid.from, rule.valid.until)).count()
        };
        let begins = |from: Option<Moment>| from.is_some_and(|from| at < from);
        let ended = |until: Option<Moment>| until.is_some_and(|until| until <= at);
        Self {
            begin_later: count(&|from, _| begins(from)),
            end_later: count(&|from, until| until.is_some() && !begins(from) && !ended(until)),
            ended: count(&|_, until| ended(until)),
        }
    }
}

fn altered<K: Ord>(
    mut old: BTreeMap<K, (String, Vec<Entry>)>,
    new: BTreeMap<K, (String, Vec<Entry>)>,
) -> Vec<Altered> {
    let mut found = Vec::new();
    for (key, (name, after)) in new {
        let how = match old.remove(&key) {
            None => Alteration::Added,
            Some((_, before)) => Alteration::Changed(fields(before, after)),
        };
        if how != Alteration::Changed(Vec::new()) {
            found.push(Altered { name, how });
        }
    }
    found.extend(old.into_values().map(|(name, _)| Altered { name, how: Alteration::Gone }));
    found.sort_by(|one, other| one.name.cmp(&other.name));
    found
}

/// What differs; a key that one of them does not have is `none` there.
fn fields(before: Vec<Entry>, after: Vec<Entry>) -> Vec<Field> {
    let gone = before.iter().filter(|(key, _)| !after.iter().any(|(other, _)| other == key));
    let gone: Vec<_> = gone.map(|(key, _)| (*key, NONE.to_owned())).collect();
    let mut found = Vec::new();
    for (key, after) in after.into_iter().chain(gone) {
        let old = before.iter().find(|(other, _)| *other == key);
        let before = old.map_or(NONE, |(_, text)| text).to_owned();
        if before != after {
            found.push(Field { key, before, after });
        }
    }
    found
}

const NONE: &str = "none";

fn of_resource(resource: &Resource) -> Vec<Entry> {
    let Resource { name: _, slot, source, opening, open_timeout, ready, lease, capabilities } =
        resource;
    let mut entries = vec![("slot", format!("{}/{}", slot.tag, slot.index))];
    entries.extend(source.entries());
    entries.push(("open", opening.to_string()));
    entries.push(("open_timeout", milliseconds(*open_timeout)));
    entries.extend(ready.iter().flat_map(fdbroker_policy::Ready::entries));
    entries.extend(lease.iter().flat_map(fdbroker_policy::LeaseTerms::entries));
    entries.push(("capabilities", listed(capabilities.iter().map(String::as_str))));
    entries
}

/// The rates of a policy's rules, for those rules that both have and one of them limits.
fn rates(policy: &Policy, other: &Policy) -> BTreeMap<String, (String, Vec<Entry>)> {
    let limited = policy.rules_with_rates().chain(other.rules_with_rates()).map(|(id, _)| id);
    let both = limited.filter(|id| policy.rule(id).is_some() && other.rule(id).is_some());
    both.map(|id| (id.to_owned(), (id.to_owned(), of_rates(policy.rates_of(id))))).collect()
}

fn of_rates(rates: Rates) -> Vec<Entry> {
    let Rates { requests_per_second, records_per_second } = rates;
    let text = |rate: Option<NonZeroU32>| rate.map_or("none".to_owned(), |rate| rate.to_string());
    vec![
        ("requests_per_second", text(requests_per_second)),
        ("records_per_second", text(records_per_second)),
    ]
}

fn of_tag(tag: &TagSettings) -> Vec<Entry> {
    let TagSettings { name, id: _, serial, durability, accept } = tag;
    vec![
        ("name", name.clone()),
        ("serial", serial.to_string()),
        ("durability", durability.name().to_owned()),
        ("accept", listed(accept.iter().map(|kind| kind.name()))),
    ]
}

fn of_settings(settings: &Settings) -> Vec<Entry> {
    let Settings {
        user,
        max_connections,
        max_connections_per_uid,
        max_slots_per_uid,
        max_payload_bytes_per_uid,
        frame_timeout,
        audit,
        requests_per_second,
        records_per_second,
    } = settings;
    let requests = requests_per_second.map_or("unlimited".to_owned(), |rate| rate.to_string());
    vec![
        ("user", user.to_string()),
        ("max_connections", max_connections.to_string()),
        ("max_connections_per_uid", max_connections_per_uid.to_string()),
        ("max_slots_per_uid", max_slots_per_uid.to_string()),
        ("max_payload_bytes_per_uid", format!("{max_payload_bytes_per_uid}B")),
        ("frame_timeout", milliseconds(*frame_timeout)),
        ("audit", audit.to_string()),
        ("requests_per_second", requests),
        ("records_per_second", records_per_second.to_string()),
    ]
}

fn milliseconds(time: Duration) -> String {
    format!("{}ms", time.as_millis())
}

fn listed<'t>(words: impl Iterator<Item = &'t str>) -> String {
    let mut words: Vec<_> = words.collect();
    words.sort_unstable();
    if words.is_empty() { "nothing".to_owned() } else { words.join(" ") }
}
