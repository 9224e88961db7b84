//! Reads the keys of resources with a path: `device`, `file`, `access`, `number` and `follow_symlinks`.

use crate::load::reader::{Expected, Section};
use crate::load::report::{Report, Span};
use crate::{Access, DeviceNumber, PathSource, Source};
use fdbroker_types::decimal;

const DEVICE: Expected =
    Expected { key: "device", write: "the absolute path of a device node in quotes" };
const FILE: Expected =
    Expected { key: "file", write: "the absolute path of a regular file in quotes" };
const ACCESS: Expected = Expected { key: "access", write: "\"read\", \"write\" or \"read-write\"" };
const NUMBER: Expected = Expected {
    key: "number",
    write: "the device's major and minor number in quotes, such as \"10:200\"",
};

/// The greatest device numbers of the kernel: 12 and 20 bits (linux/kdev_t.h).
const MAX_MAJOR: u64 = 0xfff;
const MAX_MINOR: u64 = 0xf_ffff;

/// `PATH_MAX` less the final NUL (linux/limits.h).
const LONGEST_PATH: usize = 4095;

/// Returns what is opened, unless there is a finding about it.
pub(super) fn read(section: Section<'_, '_>, report: &mut Report<'_>) -> Option<Source> {
    let what = what(section, report);
    let accesses = Access::ALL.map(|access| (access.name(), access));
    let access = section.word(ACCESS, &accesses, report).unwrap_or_default();
    let number = device_number(section, report);
    let follow_symlinks = section.boolean("follow_symlinks", report).unwrap_or(false);
    let (what, path) = what?;
    let at = PathSource { path: path.to_owned(), access, follow_symlinks };
    Some(match what {
        What::Device => Source::Device { at, number },
        What::File => Source::File { at },
    })
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
                "keep `device` for a device node, or `file` for a regular file",
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
    if let Some(key) = section.key_span(NUMBER.key)
        && section.get(DEVICE.key).is_none()
    {
        report.add(
            &key,
            "`number` is only for a device",
            "remove it, or write `device =` instead of `file =`",
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
