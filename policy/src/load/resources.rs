//! Reads the tables `[resources.NAME]`.

use super::bounds::{Count, RESOURCES};
use super::declared::{Declared, Once, check_name, index, is_number};
use super::near;
use super::reader::{Expected, Section};
use super::report::{Report, Span};
use crate::capability::CAPABILITIES;
use crate::slot::decimal;
use crate::{Access, DeviceNumber, Opening, PathSource, Resource, Slot, Source};

const KEYS: [&str; 8] =
    ["slot", "device", "file", "access", "open", "number", "follow_symlinks", "capabilities"];

const SLOT: Expected =
    Expected { key: "slot", write: "a tag and a number in quotes, such as \"devices/0\"" };
const DEVICE: Expected =
    Expected { key: "device", write: "the absolute path of a device node in quotes" };
const FILE: Expected =
    Expected { key: "file", write: "the absolute path of a regular file in quotes" };
const ACCESS: Expected = Expected { key: "access", write: "\"read\", \"write\" or \"read-write\"" };
const OPEN: Expected = Expected { key: "open", write: "\"per-request\" or \"startup\"" };
const NUMBER: Expected = Expected {
    key: "number",
    write: "the device's major and minor number in quotes, such as \"10:200\"",
};
const NEEDED: Expected =
    Expected { key: "capabilities", write: "a list of names in quotes, such as [\"syslog\"]" };

/// The greatest device numbers of the kernel: 12 and 20 bits (linux/kdev_t.h).
const MAX_MAJOR: u64 = 0xfff;
const MAX_MINOR: u64 = 0xf_ffff;

/// `PATH_MAX` less the final NUL (linux/limits.h).
const LONGEST_PATH: usize = 4095;

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
        let what = what(section, report);
        let draft = Draft::read(section, report);
        if let (Some(slot), Some((what, path))) = (slot, what) {
            self.read.push(draft.finish(name, slot, what, path));
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

/// The keys that a resource can do without.
struct Draft {
    access: Access,
    opening: Opening,
    number: Option<DeviceNumber>,
    follow_symlinks: bool,
    capabilities: Vec<String>,
}

impl Draft {
    fn read(section: Section<'_, '_>, report: &mut Report<'_>) -> Self {
        let accesses = Access::ALL.map(|access| (access.name(), access));
        let openings = Opening::ALL.map(|opening| (opening.name(), opening));
        Self {
            access: section.word(ACCESS, &accesses, report).unwrap_or_default(),
            opening: section.word(OPEN, &openings, report).unwrap_or_default(),
            number: device_number(section, report),
            follow_symlinks: section.boolean("follow_symlinks", report).unwrap_or(false),
            capabilities: capabilities(section, report),
        }
    }

    fn finish(self, name: &str, slot: Slot, what: What, path: &str) -> Resource {
        let Self { access, opening, number, follow_symlinks, capabilities } = self;
        let at = PathSource { path: path.to_owned(), access, follow_symlinks };
        let source = match what {
            What::Device => Source::Device { at, number },
            What::File => Source::File { at },
        };
        Resource { name: name.to_owned(), slot, source, opening, capabilities }
    }
}

/// Which of the keys says what the path is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum What {
    Device,
    File,
}

/// What the path must be, and the path: exactly one of `device` and `file`.
fn what<'a>(section: Section<'a, '_>, report: &mut Report<'_>) -> Option<(What, &'a str)> {
    let (device, file) = (section.key_span(DEVICE.key), section.key_span(FILE.key));
    let (what, expected) = match (device, file) {
        (Some(device), Some(file)) => {
            let message = format!("{} has both `device` and `file`", section.what);
            let (first, second) =
                if device.start < file.start { (device, file) } else { (file, device) };
            report.add_twice(
                &second,
                &report.mark(&first),
                message,
                "keep the one that says what the path is",
            );
            return None;
        }
        (None, None) => {
            let message = format!("{} has neither `device` nor `file`", section.what);
            report.add_missing(
                section.name,
                message,
                "add a line `device =` or `file =` with an absolute path in quotes",
            );
            return None;
        }
        (Some(_), None) => (What::Device, DEVICE),
        (None, Some(_)) => (What::File, FILE),
    };
    let (path, span) = section.string(expected, report)?;
    check_path(path, &span, report).then_some((what, path))
}

fn check_path(path: &str, span: &Span, report: &mut Report<'_>) -> bool {
    let (wrong, remedy) = if !path.starts_with('/') {
        ("is not absolute", "write the whole path, beginning with /")
    } else if path.contains('\0') {
        ("contains a NUL character", "no path can: take it out")
    } else if path.split('/').any(|component| component == "..") {
        ("contains `..`", "write the path without going up")
    } else if path.len() > LONGEST_PATH {
        ("is too long", "a path has at most 4095 bytes")
    } else {
        return true;
    };
    report.add(span, format!("the path {wrong}"), remedy);
    false
}

fn device_number(section: Section<'_, '_>, report: &mut Report<'_>) -> Option<DeviceNumber> {
    if let Some(key) = section.key_span(NUMBER.key)
        && section.get(DEVICE.key).is_none()
    {
        report.add(
            &key,
            "`number` is only for a device",
            "take it out, or write `device =` instead of `file =`",
        );
    }
    let (text, span) = section.string(NUMBER, report)?;
    let part = |text: &str, max: u64| {
        decimal(text).filter(|number| *number <= max).and_then(|number| u32::try_from(number).ok())
    };
    let parsed = text.split_once(':').and_then(|(major, minor)| {
        Some(DeviceNumber { major: part(major, MAX_MAJOR)?, minor: part(minor, MAX_MINOR)? })
    });
    if parsed.is_none() {
        report.add(
            &span,
            format!("\"{text}\" is no device number"),
            format!("write {}, at most {MAX_MAJOR}:{MAX_MINOR}", NUMBER.write),
        );
    }
    parsed
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
    near::suggest(
        bare,
        CAPABILITIES.into_iter(),
        "names are as in capabilities(7), lower case and without CAP_",
    )
}
