//! Reads the policy file and its drop-ins, provided that nobody untrusted could have written them.
//!
//! The files that are checked are the files that are read. Each is found by walking its path
//! directory by directory. The checks are made on the very descriptors that the walk goes through
//! and the text is read from. The text is whole: if a file changes while it is read, all of them
//! are read again.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use fdbroker_policy::{Finding, Findings, Policy, SourceText, Uid, load};

use crate::SystemNames;
use crate::error::{ATTEMPTS, PolicyFileError, refused, shown, unreadable};
use crate::stamp::Stamp;
use crate::writers::{self, Found, Listed};

/// The most that is read of a policy, in bytes and all files together: 16 MiB.
pub const MAX_POLICY_BYTES: u64 = 16 << 20;

/// The directory of drop-ins, beside the policy file.
const DROP_INS: &str = "policy.d";

/// Reads the texts of a policy that only `trusted` users could have written: the file, then its
/// drop-ins.
///
/// Drop-ins are the files `*.toml` of the directory `policy.d` beside the file, in the order of
/// their names; those that begin with a dot are left out. Each must be a regular file in UTF-8, all
/// of them together at most [`MAX_POLICY_BYTES`]. They must belong to a trusted user and be
/// writable neither for a group nor for others. So must every directory that leads to them, also by
/// way of symbolic links; a directory with the sticky bit may be writable.
///
/// This can block: a file that was changed a moment ago is looked at a second time, and one that
/// has changed since is read again.
///
/// # Errors
/// [`PolicyFileError`], with everything that is wrong in one go.
pub fn read_policy(path: &Path, trusted: &[Uid]) -> Result<Vec<SourceText>, PolicyFileError> {
    let (sources, findings) = read(path, trusted)?;
    Findings::new(findings).map_or(Ok(sources), |findings| Err(PolicyFileError::Findings(findings)))
}

/// Reads and loads a policy that only root and the effective user of this process could have
/// written.
///
/// Returns its texts too, for another process that must decide by the same policy. Names are looked
/// up in [`SystemNames`]; this can block.
///
/// # Errors
/// [`PolicyFileError`], with everything that is wrong with the files and their texts in one go.
pub fn load_policy(path: &Path) -> Result<(Vec<SourceText>, Policy), PolicyFileError> {
    let trusted = [Uid::ROOT, Uid(rustix::process::geteuid().as_raw())];
    let (sources, findings) = read(path, &trusted)?;
    let loaded = load(&sources, &SystemNames::default());
    match (Findings::new(findings), loaded) {
        (None, Ok(policy)) => Ok((sources, policy)),
        (Some(findings), Ok(_)) | (None, Err(findings)) => Err(PolicyFileError::Findings(findings)),
        (Some(about_file), Err(about_text)) => {
            Err(PolicyFileError::Findings(about_file.and(about_text)))
        }
    }
}

/// Returns the files of a policy: the file itself, then its drop-ins.
///
/// It does not check who could have written them. So it is for programs that only report what they
/// say. The file need not exist.
///
/// # Errors
/// Why the directory of drop-ins cannot be read, if there is one.
pub fn policy_files(path: &Path) -> io::Result<Vec<PathBuf>> {
    let directory = drop_in_directory(path);
    let mut drop_ins = Vec::new();
    match std::fs::read_dir(&directory) {
        Ok(entries) => {
            for entry in entries {
                drop_ins.push(entry?.file_name());
            }
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let drop_ins = in_order(drop_ins).into_iter().map(|name| directory.join(name));
    Ok(std::iter::once(path.to_owned()).chain(drop_ins).collect())
}

/// The texts, and what is wrong with who could have written them.
fn read(path: &Path, trusted: &[Uid]) -> Result<(Vec<SourceText>, Vec<Finding>), PolicyFileError> {
    read_whole(path, trusted, &mut std::thread::sleep)
}

/// Reads the files until none of them changed while they were read. `pause` comes between reading
/// and looking again.
fn read_whole(
    path: &Path,
    trusted: &[Uid],
    pause: &mut dyn FnMut(Duration),
) -> Result<(Vec<SourceText>, Vec<Finding>), PolicyFileError> {
    for _ in 0..ATTEMPTS {
        let read = read_once(path, trusted)?;
        let now = SystemTime::now();
        pause(read.stamps.iter().map(|it| it.settles_in(now)).max().unwrap_or_default());
        if stamps(path, trusted).as_ref() == Some(&read.stamps) {
            return Ok((read.sources, read.findings));
        }
    }
    Err(PolicyFileError::Changing(path.to_owned()))
}

fn read_once<'a>(path: &Path, trusted: &'a [Uid]) -> Result<Reading<'a>, PolicyFileError> {
    let mut files = Reading { trusted, left: MAX_POLICY_BYTES, ..Reading::default() };
    let drop_ins = files.drop_ins(path)?;
    files.read(path).map_err(|error| match error {
        // A policy was meant to be there: going on as if there were none would be something else.
        PolicyFileError::NotFound(path) if !drop_ins.is_empty() => gone(&path),
        error => error,
    })?;
    for drop_in in drop_ins {
        files.read(&drop_in).map_err(|error| match error {
            PolicyFileError::NotFound(path) => gone(&path),
            error => error,
        })?;
    }
    Ok(files)
}

/// The stamps of the files as they are now, in the order in which they are read. `None` if one cannot be opened.
fn stamps(path: &Path, trusted: &[Uid]) -> Option<Vec<Stamp>> {
    let drop_ins = Reading { trusted, ..Reading::default() }.drop_ins(path).ok()?;
    let stamp = |path: PathBuf| Stamp::of(&writers::open(&path, trusted).ok()?.file).ok();
    std::iter::once(path.to_owned()).chain(drop_ins).map(stamp).collect()
}

/// What was read so far.
#[derive(Default)]
struct Reading<'a> {
    trusted: &'a [Uid],
    /// Bytes that may still be read.
    left: u64,
    sources: Vec<SourceText>,
    /// What the files bore before they were read, in the same order.
    stamps: Vec<Stamp>,
    findings: Vec<Finding>,
}

impl Reading<'_> {
    /// The paths of the drop-ins, in order.
    fn drop_ins(&mut self, path: &Path) -> Result<Vec<PathBuf>, PolicyFileError> {
        let directory = drop_in_directory(path);
        let Some(Listed { names, findings }) = writers::list(&directory, self.trusted)? else {
            return Ok(Vec::new());
        };
        self.find(findings);
        Ok(in_order(names).into_iter().map(|name| directory.join(name)).collect())
    }

    fn read(&mut self, path: &Path) -> Result<(), PolicyFileError> {
        let Found { file, findings } = writers::open(path, self.trusted)?;
        self.find(findings);
        self.stamps.push(Stamp::of(&file).map_err(|source| unreadable(path, source))?);
        let (message, remedy) = match text(file, self.left) {
            Ok(text) => {
                self.left = self.left.saturating_sub(u64::try_from(text.len()).unwrap_or(u64::MAX));
                self.sources.push(SourceText { path: shown(path), text });
                return Ok(());
            }
            Err(Unusable::Unreadable(source)) => return Err(unreadable(path, source)),
            Err(Unusable::NotUtf8) => ("the file is not UTF-8", "save it as UTF-8"),
            Err(Unusable::TooLarge) if self.sources.is_empty() => {
                ("the file is larger than 16 MiB", "make it smaller")
            }
            Err(Unusable::TooLarge) => {
                ("with this file the policy is larger than 16 MiB", "make it smaller")
            }
        };
        let wrong = Finding::about_file(shown(path), message, remedy);
        Err(refused(std::mem::take(&mut self.findings), wrong))
    }

    /// Takes findings down, each once: several files lie in one directory.
    fn find(&mut self, findings: Vec<Finding>) {
        for finding in findings {
            if !self.findings.contains(&finding) {
                self.findings.push(finding);
            }
        }
    }
}

fn drop_in_directory(path: &Path) -> PathBuf {
    path.parent().unwrap_or(Path::new("")).join(DROP_INS)
}

/// The names that are drop-ins, in order.
fn in_order(mut names: Vec<OsString>) -> Vec<OsString> {
    let is_drop_in = |name: &OsStr| {
        let name = name.as_bytes();
        name.ends_with(b".toml") && !name.starts_with(b".")
    };
    names.retain(|name| is_drop_in(name));
    names.sort();
    names
}

/// Of a file that must be there.
fn gone(path: &Path) -> PolicyFileError {
    unreadable(path, io::Error::from(io::ErrorKind::NotFound))
}

enum Unusable {
    Unreadable(io::Error),
    TooLarge,
    NotUtf8,
}

/// The content of a file. The limit counts what is read, whatever size the file claims to have.
fn text(file: File, limit: u64) -> Result<String, Unusable> {
    let mut bytes = Vec::new();
    file.take(limit + 1).read_to_end(&mut bytes).map_err(Unusable::Unreadable)?;
    if u64::try_from(bytes.len()).map_or(true, |length| length > limit) {
        return Err(Unusable::TooLarge);
    }
    String::from_utf8(bytes).map_err(|_| Unusable::NotUtf8)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tempfile::TempDir;

    const OLD: &str = "version = 1\n# allows nothing\n";
    const HALF: &str = "version = 1\n# allows all\n";
    const NEW: &str = "version = 1\n# allows all\n# but this\n";

    struct Place(TempDir);

    impl Place {
        fn new() -> Self {
            let place = Self(tempfile::tempdir().expect("a directory"));
            place.write("policy.toml", OLD);
            std::fs::create_dir(place.0.path().join(DROP_INS)).expect("made");
            place
        }

        fn write(&self, name: &str, text: &str) {
            std::fs::write(self.0.path().join(name), text).expect("written");
        }

        /// Reads the policy; `edit` runs each time between reading and looking again. Returns what
        /// was read, and how often.
        fn read(
            &self,
            mut edit: impl FnMut(usize),
        ) -> (Result<Vec<String>, PolicyFileError>, usize) {
            let trusted = [Uid::ROOT, Uid(rustix::process::geteuid().as_raw())];
            let mut times = 0;
            let read = read_whole(&self.0.path().join("policy.toml"), &trusted, &mut |_| {
                times += 1;
                edit(times);
            });
            let texts = |sources: Vec<SourceText>| sources.into_iter().map(|it| it.text).collect();
            (read.map(|(sources, _)| texts(sources)), times)
        }
    }

    #[test]
    fn a_file_that_is_left_alone_is_read_once() {
        let (read, times) = Place::new().read(|_| {});
        assert_eq!((read.unwrap(), times), (vec![OLD.to_owned()], 1));
    }

    #[test]
    fn half_of_an_edit_is_not_taken_for_the_policy() {
        let place = Place::new();
        place.write("policy.toml", HALF);
        let (read, times) = place.read(|time| {
            if time == 1 {
                place.write("policy.toml", NEW);
            }
        });
        assert_eq!((read.unwrap(), times), (vec![NEW.to_owned()], 2));
    }

    #[test]
    fn a_file_put_in_the_place_of_the_one_read_counts() {
        let place = Place::new();
        let (read, _) = place.read(|time| {
            if time == 1 {
                place.write("new", NEW);
                let path = |name: &str| place.0.path().join(name);
                std::fs::rename(path("new"), path("policy.toml")).expect("renamed");
            }
        });
        assert_eq!(read.unwrap(), [NEW]);
    }

    #[test]
    fn a_drop_in_that_comes_or_goes_meanwhile_is_noticed() {
        let place = Place::new();
        let (read, _) = place.read(|time| {
            if time == 1 {
                place.write("policy.d/a.toml", NEW);
            }
        });
        assert_eq!(read.unwrap(), [OLD, NEW]);
        let (read, _) = place.read(|time| {
            if time == 1 {
                std::fs::remove_file(place.0.path().join("policy.d/a.toml")).expect("removed");
            }
        });
        assert_eq!(read.unwrap(), [OLD]);
    }

    #[test]
    fn a_file_that_keeps_changing_is_given_up_with_a_reason() {
        let place = Place::new();
        let (read, times) = place.read(|time| place.write("policy.toml", &NEW.repeat(time)));
        let error = read.expect_err("given up");
        assert!(matches!(&error, PolicyFileError::Changing(path) if path.ends_with("policy.toml")));
        assert!(
            error.to_string().contains("changed during each of 5 attempts to read it"),
            "{error}"
        );
        assert_eq!(times, ATTEMPTS);
    }
}
