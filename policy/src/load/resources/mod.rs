//! Reads the tables `[resources.NAME]`. The keys of one kind are read in a file of its own.

mod auth;
mod connect;
mod credential;
mod host_port;
mod lease;
mod path;
mod ready;
mod tls;

use std::collections::BTreeSet;

use crate::capability::CAPABILITIES;
use crate::load::amount::duration;
use crate::load::bounds::{Count, ENCRYPTED_READY, RESOURCES};
use crate::load::declared::{Declared, Once, check_name, index, is_number};
use crate::load::reader::{Expected, Section};
use crate::load::report::{Report, Span};
use crate::load::suggest::suggest;
use crate::{Opening, Ready, Resource, Slot, Source};

/// The keys of every kind, beside the one that names it.
const KEYS: [&str; 4] = [SLOT.key, OPEN.key, NEEDED.key, OPEN_TIMEOUT];

/// A kind of resource, as the language has it.
struct ResourceKind {
    /// The key that says what is opened.
    named: Expected,
    /// As in "`access` is not for …".
    noun: &'static str,
    /// The keys that it has beside [`KEYS`].
    keys: &'static [&'static str],
    read: fn(Section<'_, '_>, &mut Report<'_>) -> Option<Source>,
}

const KINDS: [ResourceKind; 3] = [
    ResourceKind { named: path::DEVICE, noun: "a device", keys: &path::KEYS, read: path::device },
    ResourceKind { named: path::FILE, noun: "a file", keys: &path::KEYS, read: path::file },
    ResourceKind {
        named: connect::CONNECT,
        noun: "a connection",
        keys: &connect::KEYS,
        read: connect::read,
    },
];

const SLOT: Expected =
    Expected { key: "slot", write: "a tag and a number in quotes, such as \"devices/0\"" };
const OPEN: Expected = Expected { key: "open", write: "\"per-request\" or \"startup\"" };
const OPEN_TIMEOUT: &str = "open_timeout";
const NEEDED: Expected =
    Expected { key: "capabilities", write: "a list of names in quotes, such as [\"syslog\"]" };

/// Reads the resources of a file, one after the other.
pub(super) struct Resources<'d> {
    declared: &'d mut Declared,
    names: Once<String>,
    slots: Once<Slot>,
    count: Count,
    encrypted_ready: Count,
    read: Vec<Resource>,
}

impl<'d> Resources<'d> {
    pub(super) fn new(declared: &'d mut Declared) -> Self {
        let (names, slots, read) = (Once::new(), Once::new(), Vec::new());
        let [count, encrypted_ready] = [RESOURCES, ENCRYPTED_READY].map(Count::of);
        Self { declared, names, slots, count, encrypted_ready, read }
    }

    pub(super) fn read(&mut self, name: &str, section: Section<'_, '_>, report: &mut Report<'_>) {
        if !self.count.admits(section.name, report) {
            self.declare(name);
            return;
        }
        check_name(name, "resource", section.name, report);
        if let Some(first) = self.names.give(name.to_owned(), report.mark(section.name)) {
            let message = format!("the resource \"{name}\" is given twice");
            report.add_twice(section.name, &first, message, "give each resource a name of its own");
            return;
        }
        let slot = self.slot(section, report);
        self.declared.resources.insert(name.to_owned(), slot);
        let source = source(section, report);
        let openings = Opening::ALL.map(|opening| (opening.name(), opening));
        let opening = section.word(OPEN, &openings, report).unwrap_or_default();
        let open_timeout = duration(section, OPEN_TIMEOUT, report);
        let capabilities = capabilities(section, report);
        let (ready, lease) = (ready::read(section, report), lease::read(section, report));
        if let (Some(source), Some(ready)) = (&source, &ready) {
            self.count_ready(source, ready, section, report);
        }
        if let (Some(slot), Some(source)) = (slot, source) {
            self.read.push(Resource {
                name: name.to_owned(),
                slot,
                source,
                opening,
                open_timeout: open_timeout.unwrap_or(Resource::DEFAULT_OPEN_TIMEOUT),
                ready,
                lease,
                capabilities,
            });
        }
    }

    /// Counts those that have a process each.
    fn count_ready(
        &mut self,
        source: &Source,
        ready: &Ready,
        section: Section<'_, '_>,
        report: &mut Report<'_>,
    ) {
        if matches!(source, Source::Connect(connect) if connect.tls.is_some()) {
            let number = usize::try_from(ready.number).unwrap_or(usize::MAX);
            let span = section.key_span(ready::READY).unwrap_or_else(|| section.name.clone());
            self.encrypted_ready.admits_many(number, &span, report);
        }
    }

    /// Takes down a name under which nothing can be read.
    pub(super) fn declare(&mut self, name: &str) {
        self.declared.resources.entry(name.to_owned()).or_insert(None);
    }

    pub(super) fn finish(self) -> Vec<Resource> {
        self.read
    }

    fn slot(&mut self, section: Section<'_, '_>, report: &mut Report<'_>) -> Option<Slot> {
        if section.get(SLOT.key).is_none() {
            let message = format!("{} has no `slot`", section.what);
            report.add_missing(
                section.name,
                message,
                format!("add a line `slot =` with {}", SLOT.write),
            );
        }
        let (text, span) = section.string(SLOT, report)?;
        let slot = self.parse_slot(text, &span, report)?;
        if let Some(first) = self.slots.give(slot, report.mark(&span)) {
            let message = format!("the slot \"{text}\" is given twice");
            report.add_twice(&span, &first, message, "give each resource a slot of its own");
        }
        Some(slot)
    }

    fn parse_slot(&self, text: &str, span: &Span, report: &mut Report<'_>) -> Option<Slot> {
        let Some((tag, number)) = text.split_once('/').filter(|(_, number)| is_number(number))
        else {
            report.add(span, format!("\"{text}\" is no slot"), format!("write {}", SLOT.write));
            return None;
        };
        let (tag, index) = (self.declared.tag(tag, span, report), index(number, span, report));
        Some(Slot { tag: tag?, index: index? })
    }
}

/// Returns what is opened: exactly one key names it.
fn source(section: Section<'_, '_>, report: &mut Report<'_>) -> Option<Source> {
    let place = |kind: &'static ResourceKind| Some((section.key_span(kind.named.key)?, kind));
    let mut given: Vec<_> = KINDS.iter().filter_map(place).collect();
    given.sort_by_key(|(span, _)| span.start);
    let Some((first, kind)) = given.first() else {
        refuse_unknown_keys(section, None, report);
        let message = format!("{} does not say what is opened", section.what);
        let remedy = "add a line `device =`, `file =` or `connect =`";
        report.add_missing(section.name, message, remedy);
        return None;
    };
    refuse_unknown_keys(section, Some(kind), report);
    for (second, other) in &given[1..] {
        let (one, two) = (kind.named.key, other.named.key);
        let message = format!("{} has both `{one}` and `{two}`", section.what);
        let remedy = format!("keep `{one}` for {}, or `{two}` for {}", kind.noun, other.noun);
        report.add_twice(second, &report.mark(first), message, remedy);
    }
    let source = (kind.read)(section, report);
    source.filter(|_| given.len() == 1)
}

/// Reports each key that no kind has, or only another one.
fn refuse_unknown_keys(
    section: Section<'_, '_>,
    kind: Option<&ResourceKind>,
    report: &mut Report<'_>,
) {
    let of_kinds: BTreeSet<&str> = KINDS.iter().flat_map(|kind| kind.keys).copied().collect();
    let named = KINDS.iter().map(|kind| kind.named.key);
    let all: Vec<&str> = KEYS.into_iter().chain(named).chain(of_kinds.iter().copied()).collect();
    section.refuse_unknown_keys(&all, report);
    let Some(kind) = kind else { return };
    for other in of_kinds.iter().filter(|other| !kind.keys.contains(other)) {
        if let Some(span) = section.key_span(other) {
            report.add(&span, format!("`{other}` is not for {}", kind.noun), "remove it");
        }
    }
}

fn capabilities(section: Section<'_, '_>, report: &mut Report<'_>) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    for (name, span) in section.strings(NEEDED, report).unwrap_or_default() {
        if !CAPABILITIES.contains(&name) {
            let message = format!("there is no capability \"{name}\"");
            report.add(&span, message, capability_remedy(name));
        } else if !found.iter().any(|other| other == name) {
            found.push(name.to_owned());
        }
    }
    found
}

/// Most people write `CAP_SYSLOG` the first time.
fn capability_remedy(name: &str) -> String {
    let lower = name.to_ascii_lowercase();
    let bare = lower.strip_prefix("cap_").unwrap_or(&lower);
    suggest(
        bare,
        CAPABILITIES.into_iter(),
        "names are as in capabilities(7), lower case and without CAP_",
    )
}
