//! The command `fdbroker`, as somebody runs it against a daemon.

use std::process::{Command, Stdio};

use crate::binaries::binaries;
use crate::{Daemon, Ids, sys};

/// What a command said, and how it ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Said {
    /// The exit status; -1 for a signal.
    pub status: i32,
    /// Standard output.
    pub out: String,
    /// Standard error.
    pub err: String,
}

impl Daemon {
    /// The command, pointed at this daemon, and with no policy file to look names up in.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&binaries().command);
        command.env("FDBROKER_SOCKET", self.socket()).env("FDBROKER_POLICY", "").args(arguments);
        command.stdin(Stdio::null());
        command
    }

    /// Runs the command to its end.
    pub fn run(&self, arguments: &[&str]) -> Said {
        Said::of(self.command(arguments))
    }

    /// The same, as another user. Only for root.
    pub fn run_as(&self, uid: u32, arguments: &[&str]) -> Said {
        let mut command = self.command(arguments);
        sys::become_before(&mut command, Ids::plain(uid));
        Said::of(command)
    }

    /// Standard output of a command that must succeed.
    #[track_caller]
    pub fn says(&self, arguments: &[&str]) -> String {
        let said = self.run(arguments);
        assert_eq!(said.status, 0, "{arguments:?}: {said:?}");
        said.out
    }

    /// Standard error of a command that must fail, with this status.
    #[track_caller]
    pub fn complains(&self, status: i32, arguments: &[&str]) -> String {
        let said = self.run(arguments);
        assert_eq!(said.status, status, "{arguments:?}: {said:?}");
        said.err
    }
}

impl Said {
    fn of(mut command: Command) -> Self {
        let output = command.output().expect("the command can be executed");
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        let status = output.status.code().unwrap_or(-1);
        Self { status, out: text(output.stdout), err: text(output.stderr) }
    }
}
