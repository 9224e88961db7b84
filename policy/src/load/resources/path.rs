//! Reads the keys of resources with a path: `device`, `file`, `access`, `number` and `follow_symlinks`.

use crate::load::reader::{Expected, Section};
use crate::load::report::{Report, Span};
use crate::{Access, DeviceNumber, PathSource, Source};
use fdbroker_types::decimal;

pub(super) const DEVICE: Expected =
    Expected { key: "device", write: "the absolute path of a device node in quotes" };
pub(super) const FILE: Expected =
    Expected { key: "file", write: "the absolute path of a regular file in quotes" };
const ACCESS: Expected = Expected { key: "access", write: "\"read\", \"write\" or \"read-write\"" };
const NUMBER: Expected = Expected {
    key: "number",
    write: "the device's major and minor number in quotes, such as \"10:200\"",
};

const FOLLOW_SYMLINKS: &str = "follow_symlinks";

/// The greatest device numbers of the kernel: 12 and 20 bits (linux/kdev_t.h).
const MAX_MAJOR: u64 = 0xfff;
const MAX_MINOR: u64 = 0xf_ffff;

/// `PATH_MAX` less the final NUL (linux/limits.h).
const LONGEST_PATH: usize = 4095;

/// The keys that only a device or a file has, beside the one that names it.
pub(super) const KEYS: [&str; 3] = [ACCESS.key, NUMBER.key, FOLLOW_SYMLINKS];

/// Returns the device, unless there is a finding about it.
pub(super) fn device(section: Section<'_, '_>, report: &mut Report<'_>) -> Option<Source> {
    let number = device_number(section, report);
    path(section, DEVICE, report).map(|at| Source::Device { at, number })
}

/// Returns the file, unless there is a finding about it.
pub(super) fn file(section: Section<'_, '_>, report: &mut Report<'_>) -> Option<Source> {
    if let Some(key) = section.key_span(NUMBER.key) {
        report.add(
            &key,
            "`number` is only for a device",
            "remove it, or write `device =` instead of `file =`",
        );
    }
    path(section, FILE, report).map(|at| Source::File { at })
}

/// Returns the path that the key `named` has, and how it is opened.
fn path(section: Section<'_, '_>, named: Expected, report: &mut Report<'_>) -> Option<PathSource> {
    let accesses = Access::ALL.map(|access| (access.name(), access));
    let access = section.word(ACCESS, &accesses, report).unwrap_or_default();
    let follow_symlinks = section.boolean(FOLLOW_SYMLINKS, report).unwrap_or(false);
    let (path, span) = section.string(named, report)?;
    let at = PathSource { path: path.to_owned(), access, follow_symlinks };
    check_path(path, &span, report).then_some(at)
}

pub(super) fn check_path(path: &str, span: &Span, report: &mut Report<'_>) -> bool {
    let (wrong, remedy) = if !path.starts_with('/') {
        ("is not absolute", "write the whole path, beginning with /")
    } else if path.contains('\0') {
        ("contains a NUL character", "remove the NUL character: a path cannot have one")
    } else if path.split('/').any(|component| component == "..") {
        ("contains `..`", "write the path without `..`")
    } else if path.len() > LONGEST_PATH {
        ("is too long", "a path has at most 4095 bytes")
    } else {
        return true;
    };
    report.add(span, format!("the path {wrong}"), remedy);
    false
}

fn device_number(section: Section<'_, '_>, report: &mut Report<'_>) -> Option<DeviceNumber> {
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
