//! The process that looks names up while the broker starts, since a name service may never answer.
//!
//! The supervisor gives up privilege as long as it is one thread, so it cannot leave a thread behind then. This process is
//! killed instead. It has what the supervisor was started with, reads questions and writes answers, and ends with its
//! supervisor.

pub(crate) mod asker;
mod line;

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::process::ExitCode;

use fdbroker_host::ask_name_service;
use rustix::process::{Signal, set_parent_process_death_signal};

use crate::child;

/// Answers questions until there are no more.
pub(crate) fn main() -> ExitCode {
    child::report("name lookup", run())
}

fn run() -> Result<(), String> {
    let link = UnixStream::from(child::begin(c"fdbrokerd-names")?);
    let failed = |error: std::io::Error| child::cannot_go_on(&error);
    set_parent_process_death_signal(Some(Signal::KILL)).map_err(|error| failed(error.into()))?;
    let mut answers = link.try_clone().map_err(failed)?;
    for asked in BufReader::new(link).lines() {
        let question = line::to_question(&asked.map_err(failed)?).ok_or("it was asked nothing")?;
        let answer = line::of_answer(&ask_name_service(&question));
        answers.write_all(answer.as_bytes()).map_err(failed)?;
    }
    Ok(())
}
