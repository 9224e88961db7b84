//! Reads the tables `[resources.NAME]`. The keys of one kind are read in a file of its own.

mod path;

use crate::capability::CAPABILITIES;
use crate::load::amount::duration;
use crate::load::bounds::{Count, RESOURCES};
use crate::load::declared::{Declared, Once, check_name, index, is_number};
use crate::load::reader::{Expected, Section};
use crate::load::report::{Report, Span};
use crate::load::suggest::suggest;
use crate::{Opening, Resource, Slot};

const KEYS: [&str; 9] = [
    "slot",
    "device",
    "file",
    "access",
    "open",
    "number",
    "follow_symlinks",
    "capabilities",
    OPEN_TIMEOUT,
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
    read: Vec<Resource>,
}

impl<'d> Resources<'d> {
    pub(super) fn new(declared: &'d mut Declared) -> Self {
        let count = Count::of(RESOURCES);
        Self { declared, names: Once::new(), slots: Once::new(), count, read: Vec::new() }
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
        section.refuse_unknown_keys(&KEYS, report);
        let slot = self.slot(section, report);
        self.declared.resources.insert(name.to_owned(), slot);
        let source = path::read(section, report);
        let openings = Opening::ALL.map(|opening| (opening.name(), opening));
        let opening = section.word(OPEN, &openings, report).unwrap_or_default();
        let open_timeout = duration(section, OPEN_TIMEOUT, report);
        let capabilities = capabilities(section, report);
        if let (Some(slot), Some(source)) = (slot, source) {
            self.read.push(Resource {
                name: name.to_owned(),
                slot,
                source,
                opening,
                open_timeout: open_timeout.unwrap_or(Resource::DEFAULT_OPEN_TIMEOUT),
                capabilities,
            });
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
