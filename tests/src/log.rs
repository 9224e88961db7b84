//! What a daemon wrote to its standard error: a file of ours, so that writing never waits.

use std::fs::{self, File, OpenOptions};
use std::path::PathBuf;

use serde::Deserialize;

/// The log of one daemon.
#[derive(Debug)]
pub struct Log {
    path: PathBuf,
}

/// One line in the JSON form. What only audit records have is empty in other lines.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Line {
    pub time: String,
    pub level: String,
    pub message: String,
    pub kind: String,
    pub verdict: String,
    pub right: String,
    pub slot: String,
    /// How many slots it speaks of, where that is said: more than one.
    pub slots: Option<u32>,
    pub name: String,
    pub uid: u32,
    pub gid: u32,
    pub pid: i32,
    pub unit: String,
    pub sender_uid: Option<u32>,
    pub sender_gid: Option<u32>,
    pub sender_pid: Option<i32>,
    pub lease: Option<u64>,
    pub peer: Option<String>,
    pub session: Option<u64>,
    pub since: Option<String>,
    pub ended: Option<String>,
    pub by_uid: Option<u32>,
    pub rule: Option<String>,
    pub reason: String,
    /// 0 where it is not said: one.
    pub count: u32,
}

impl Line {
    /// Whether it is a record of the audit trail.
    pub fn is_audit(&self) -> bool {
        self.message == "audit"
    }
}

impl Log {
    /// A log in a file.
    pub fn new(path: PathBuf) -> Self {
        Self { path }
    }

    /// The file, to be appended to.
    pub fn open(&self) -> File {
        OpenOptions::new().create(true).append(true).open(&self.path).unwrap()
    }

    /// Forgets everything, once that is more than so many bytes.
    pub fn cut(&self, most: u64) {
        let file = self.open();
        if file.metadata().unwrap().len() > most {
            file.set_len(0).unwrap();
        }
    }

    /// Everything written so far.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.path).unwrap_or_default()).into_owned()
    }

    /// The complete lines written so far that are JSON.
    pub fn lines(&self) -> Vec<Line> {
        let text = self.text();
        let complete = text.rfind('\n').map_or("", |end| &text[..end]);
        complete.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }

    /// The audit records written so far.
    pub fn audit(&self) -> Vec<Line> {
        self.lines().into_iter().filter(Line::is_audit).collect()
    }

    /// The audit records of what was asked for, without those of connections.
    pub fn decisions(&self) -> Vec<Line> {
        self.audit().into_iter().filter(|line| line.kind == "decision").collect()
    }

    /// Waits for a line that fits.
    #[track_caller]
    pub fn wait_for(&self, what: &str, fits: impl Fn(&Line) -> bool) -> Line {
        crate::wait_for(what, || self.lines().into_iter().find(&fits))
    }
}
