//! Somebody without privilege who runs programs by `fdbroker exec`.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use fdbroker_tests::{Daemon, Ids, is_root, skip, sys};

/// Who runs the programs where that can be chosen: without a right on any credential.
const CALLER: u32 = 64032;
/// Debian's Python, which has Debian's modules.
pub const PYTHON: &str = "/usr/bin/python3";

/// A directory for sockets, and the broker that is asked.
pub struct Caller {
    pub daemon: Daemon,
    pub runtime: PathBuf,
}

impl Caller {
    pub fn of(daemon: Daemon) -> Self {
        let runtime = daemon.directory().join("runtime");
        fs::create_dir(&runtime).unwrap();
        fs::set_permissions(&runtime, fs::Permissions::from_mode(0o1777)).unwrap();
        Self { daemon, runtime }
    }

    /// The command `exec` for what is wanted, and this program.
    pub fn exec(&self, wanted: &str, program: impl AsRef<OsStr>, arguments: &[&str]) -> Command {
        self.exec_with(&[wanted], program, arguments)
    }

    /// The same, with these options and slots.
    pub fn exec_with(
        &self,
        wanted: &[&str],
        program: impl AsRef<OsStr>,
        arguments: &[&str],
    ) -> Command {
        let mut command = self.daemon.command(&[&["exec"], wanted, &["--"]].concat());
        command.arg(program).args(arguments).current_dir("/");
        command.env("XDG_RUNTIME_DIR", &self.runtime).env("LC_ALL", "C");
        if is_root() {
            sys::become_before(&mut command, Ids::plain(CALLER));
        }
        command
    }

    /// The standard output of a command that must succeed.
    #[track_caller]
    pub fn says(&self, mut command: Command) -> String {
        let output = command.output().unwrap();
        assert!(output.status.success(), "{output:?}\n{}", self.daemon.log().text());
        text(&output.stdout).trim_end().to_owned()
    }

    /// The directories of relays that are there.
    pub fn directories(&self) -> Vec<PathBuf> {
        let found = fs::read_dir(&self.runtime).unwrap();
        found.map(|entry| entry.unwrap().path()).collect()
    }
}

pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Whether Debian's Python has this module; says so aloud where it does not.
pub fn has_python(what: &str, module: &str) -> bool {
    let mut python = Command::new(PYTHON);
    python.args(["-c", &format!("import {module}")]).stderr(Stdio::null());
    let found = python.status().is_ok_and(|status| status.success());
    if !found {
        skip(what, &format!("{PYTHON} has no {module}"));
    }
    found
}
