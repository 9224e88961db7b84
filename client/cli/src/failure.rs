//! How the command fails: one sentence, and an exit status of its own for each thing that a
//! script may want to tell apart.

use std::fmt;
use std::io;
use std::process::ExitCode;

use fdbroker::{Errno, Error, Operation};
use fdbroker_types::quoted;

use crate::terminal;

const NOT_LOADED: &str =
    "reload: the policy was not loaded; correct what is reported above and reload again";

/// Why the command did not do what it should.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The broker, or the way to it.
    Broker(Error),
    /// A policy file has findings, which were printed.
    Findings,
    /// The command line asks for what cannot be meant.
    Usage(String),
    /// A reload that was asked for by a signal, and what the broker says of it.
    NotLoaded(String),
    /// The broker has not said in time what became of it.
    Unanswered(String),
    /// Something here: a file, a descriptor, a socket.
    Local(String),
    /// It takes a right that this user does not have.
    Denied(String),
    /// What is asked for is not there.
    Absent(String),
    /// The program to run did not run.
    NotRun {
        /// Which.
        program: String,
        /// What the system said.
        source: io::Error,
    },
}

impl Failure {
    /// Something here failed for the reason that the system gave.
    pub(crate) fn local(what: impl fmt::Display, source: impl fmt::Display) -> Self {
        Self::Local(format!("{what}: {source}"))
    }

    /// Reports the failure on standard error, and returns the exit status.
    pub(crate) fn report(self) -> ExitCode {
        if let Self::Broker(Error::Reported { text, .. }) = &self {
            terminal::complain(format_args!("{}", text.trim_end()));
        }
        if let Self::NotLoaded(report) = &self {
            terminal::complain(format_args!("{}", report.trim_end()));
        }
        if !matches!(self, Self::Findings) {
            terminal::complain(format_args!("fdbroker: {self}"));
        }
        ExitCode::from(self.status())
    }

    fn status(&self) -> u8 {
        match self {
            Self::Findings | Self::NotLoaded(_) => 1,
            Self::Usage(_) => 2,
            Self::Broker(error) => status_of(error),
            Self::Denied(_) => 3,
            Self::Absent(_) => 4,
            Self::Unanswered(_) => 7,
            Self::Local(_) => 8,
            Self::NotRun { source, .. } if source.kind() == io::ErrorKind::NotFound => 127,
            Self::NotRun { .. } => 126,
        }
    }
}

fn status_of(error: &Error) -> u8 {
    match error {
        Error::Reported { attempt, .. } if attempt.operation == Operation::Reload => 1,
        Error::BadName { .. } => 2,
        Error::Refused { .. } => 3,
        Error::Absent { .. } | Error::Reported { errno: Errno::NOENT, .. } => 4,
        Error::Quota { .. } => 5,
        Error::Broken { .. } | Error::Untrusted { .. } | Error::Unidentified { .. } => 6,
        Error::NoRoom { .. } | Error::Withheld { .. } | Error::TooLarge { .. } => 8,
        _ => 7,
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Broker(error)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Broker(error @ Error::Untrusted { uid, .. }) => {
                write!(f, "{error}: --trust-uid {uid}")
            }
            Self::Broker(Error::Reported { attempt, errno: Errno::INVAL, .. })
                if attempt.operation == Operation::Reload =>
            {
                f.write_str(NOT_LOADED)
            }
            Self::NotLoaded(_) => f.write_str(NOT_LOADED),
            Self::Broker(Error::Reported { attempt, errno, .. }) => {
                write!(f, "{attempt} failed ({errno}), as reported above")
            }
            Self::Broker(error) => error.fmt(f),
            Self::Findings => f.write_str("the policy has mistakes, which are reported above"),
            Self::Usage(text)
            | Self::Local(text)
            | Self::Denied(text)
            | Self::Absent(text)
            | Self::Unanswered(text) => f.write_str(text),
            Self::NotRun { program, source } => {
                write!(f, "exec: {program} cannot be run: {source}", program = quoted(program))
            }
        }
    }
}
