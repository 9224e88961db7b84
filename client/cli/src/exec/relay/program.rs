//! The program: a child of this process, with its environment, its signals and its end.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::process::{ExitCode, ExitStatus};

use std::os::unix::process::ExitStatusExt;

use rustix::process::{Pid, Signal, getpgrp, kill_process};
use rustix::termios::tcgetpgrp;
use tokio::process::{Child, Command};
use tokio::signal::unix::{self, SignalKind};

use crate::failure::Failure;

/// What is passed on to the program.
const PASSED: [Signal; 6] =
    [Signal::HUP, Signal::INT, Signal::QUIT, Signal::TERM, Signal::USR1, Signal::USR2];
/// Whatever is added to a signal's number for an exit status, as shells do.
const SIGNALLED: i32 = 128;

/// Variables that are set for the program, or removed.
#[derive(Default, Debug)]
pub(super) struct Environment(BTreeMap<String, Option<OsString>>);

impl Environment {
    /// Sets a variable.
    pub(super) fn set(&mut self, name: String, value: impl AsRef<OsStr>) {
        self.0.insert(name, Some(value.as_ref().to_owned()));
    }

    /// Removes one.
    pub(super) fn remove(&mut self, name: String) {
        self.0.insert(name, None);
    }
}

/// The program while it runs.
#[derive(Debug)]
pub(super) struct Program(Child);

impl Program {
    /// Starts it. Signals that arrive from now on are passed on.
    pub(super) fn start(
        program: &OsString,
        arguments: &[OsString],
        environment: &Environment,
    ) -> Result<Self, Failure> {
        let streams =
            streams().map_err(|error| Failure::local("exec: cannot handle signals", error))?;
        let mut command = Command::new(program);
        command.args(arguments);
        for (name, value) in &environment.0 {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        let name = || program.to_string_lossy().into_owned();
        let child =
            command.spawn().map_err(|source| Failure::NotRun { program: name(), source })?;
        let pid = child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
        for (signal, mut stream) in streams {
            tokio::spawn(async move {
                while stream.recv().await.is_some() {
                    pass_on(signal, pid);
                }
            });
        }
        Ok(Self(child))
    }

    /// Waits for its end. It is reaped only here, so its number is no other process's before.
    pub(super) async fn wait(mut self) -> Result<ExitCode, Failure> {
        let status = self.0.wait().await;
        status
            .map(exit_code)
            .map_err(|error| Failure::local("exec: waiting for the program", error))
    }
}

/// What hears the signals that are passed on.
fn streams() -> io::Result<Vec<(Signal, unix::Signal)>> {
    let stream =
        |signal: Signal| Ok((signal, unix::signal(SignalKind::from_raw(signal.as_raw()))?));
    PASSED.into_iter().map(stream).collect()
}

/// Passes a signal on, but for one that the terminal has sent to the program, too.
fn pass_on(signal: Signal, program: Option<Pid>) {
    let is_of_terminal = [Signal::INT, Signal::QUIT].contains(&signal) && is_in_foreground();
    if let Some(program) = program.filter(|_| !is_of_terminal) {
        // It may have ended.
        let _ = kill_process(program, signal);
    }
}

/// Whether the terminal sends its signals to this process and the program.
fn is_in_foreground() -> bool {
    let terminal = File::open("/dev/tty");
    terminal.is_ok_and(|terminal| tcgetpgrp(terminal).is_ok_and(|group| group == getpgrp()))
}

fn exit_code(status: ExitStatus) -> ExitCode {
    let signalled = || status.signal().map(|signal| signal.saturating_add(SIGNALLED));
    let code = status.code().or_else(signalled).and_then(|code| u8::try_from(code).ok());
    ExitCode::from(code.unwrap_or(u8::MAX))
}
