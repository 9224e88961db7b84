//! An archive in the form that the kernel unpacks into memory: cpio, newc (cpio(5)).

use std::collections::BTreeSet;
use std::path::Path;

/// What is in it so far.
#[derive(Default)]
pub(super) struct Archive {
    bytes: Vec<u8>,
    /// The paths that are in it: a second file by a name is left out.
    paths: BTreeSet<String>,
}

const DIRECTORY: u32 = 0o040_000;
const FILE: u32 = 0o100_000;

impl Archive {
    /// Adds a directory, and those above it, if it is not there.
    pub(super) fn directory(&mut self, path: &str) {
        let path = path.trim_matches('/');
        if path.is_empty() || !self.paths.insert(path.to_owned()) {
            return;
        }
        self.above(path);
        self.entry(path, DIRECTORY | 0o755, &[]);
    }

    /// Adds a file, and the directories above it.
    pub(super) fn file(&mut self, path: &str, content: &[u8], mode: u32) {
        let path = path.trim_matches('/');
        if self.paths.insert(path.to_owned()) {
            self.above(path);
            self.entry(path, FILE | mode, content);
        }
    }

    fn above(&mut self, path: &str) {
        if let Some(parent) = Path::new(path).parent().and_then(Path::to_str) {
            self.directory(parent);
        }
    }

    fn entry(&mut self, path: &str, mode: u32, content: &[u8]) {
        let number = u32::try_from(self.paths.len()).unwrap();
        let (size, name) =
            (u32::try_from(content.len()).unwrap(), u32::try_from(path.len() + 1).unwrap());
        let fields = [number, mode, 0, 0, 1, 0, size, 0, 0, 0, 0, name, 0];
        let fields: String = fields.iter().map(|field| format!("{field:08x}")).collect();
        self.bytes.extend_from_slice(format!("070701{fields}{path}\0").as_bytes());
        self.pad();
        self.bytes.extend_from_slice(content);
        self.pad();
    }

    fn pad(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }

    /// Returns the archive.
    pub(super) fn finish(&mut self) -> Vec<u8> {
        self.entry("TRAILER!!!", 0, &[]);
        std::mem::take(&mut self.bytes)
    }
}
