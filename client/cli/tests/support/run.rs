//! The command, run as a script would.

use std::process::{Command, Output, Stdio};

use crate::support::Fake;

/// The command with these arguments, and nothing in its environment that matters.
pub(crate) fn fdbroker(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_fdbroker"));
    command.args(arguments).env_remove("FDBROKER_SOCKET").env_remove("FDBROKER_POLICY");
    command.stdin(Stdio::null());
    command
}

/// Runs the command against a broker.
pub(crate) fn at(fake: &Fake, arguments: &[&str]) -> Output {
    fdbroker(arguments).env("FDBROKER_SOCKET", fake.path()).output().unwrap()
}

/// What it wrote, if it exited with this status.
#[track_caller]
pub(crate) fn status(output: &Output, expected: i32) -> (String, String) {
    let out = String::from_utf8_lossy(&output.stdout).into_owned();
    let err = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(expected), "stdout: {out}\nstderr: {err}");
    (out, err)
}
