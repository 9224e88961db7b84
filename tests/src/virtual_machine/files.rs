//! Which files of this machine a virtual one needs.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The newest kernel of Debian's that has its modules, and its version.
pub(super) fn kernel() -> Option<(PathBuf, String)> {
    let entries = fs::read_dir("/boot").ok()?;
    let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let mut versions: Vec<_> = names
        .filter_map(|name| name.strip_prefix("vmlinuz-").map(str::to_owned))
        .filter(|version| Path::new("/lib/modules").join(version).join("modules.dep").exists())
        .collect();
    versions.sort();
    let version = versions.pop()?;
    Some((PathBuf::from(format!("/boot/vmlinuz-{version}")), version))
}

/// What modprobe(8) looks into.
pub(super) fn of_modprobe(modules: &Path) -> Vec<PathBuf> {
    let names = ["modules.dep", "modules.alias", "modules.symbols", "modules.builtin"];
    names.map(|name| modules.join(name)).into_iter().filter(|path| path.exists()).collect()
}

/// The files below a directory.
pub(super) fn below(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).into_iter().flatten();
    let paths = entries.map(|entry| entry.unwrap().path());
    let (inner, mut files): (Vec<_>, Vec<_>) = paths.partition(|path| path.is_dir());
    files.extend(inner.iter().flat_map(|directory| below(directory)));
    files
}

/// The libraries that a program is linked with, and what loads them.
pub(super) fn libraries(program: &Path) -> Vec<PathBuf> {
    let output = Command::new("ldd").arg(program).output().expect("ldd(1) is there");
    let text = String::from_utf8_lossy(&output.stdout);
    let words = text.split_whitespace().filter(|word| word.starts_with('/'));
    words.map(PathBuf::from).collect()
}

pub(super) fn is_executable(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|found| found.permissions().mode() & 0o111 != 0)
}
