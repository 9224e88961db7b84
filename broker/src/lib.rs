//! fdbrokerd: a privileged file-descriptor broker.
//!
//! Processes of this one binary. The [`supervisor`] keeps the privilege: it opens what the
//! policy names and holds a copy of every deposit. The [`worker`] has none: it talks to peers,
//! decides, and records. Where somebody leaves descriptors unread in a connection, a [`closer`] closes
//! that. A [`helper`] makes one connection to a server, and a [`program`] of the operator's may log in there.
//! While the broker starts, a process looks names up ([`lookup`]). A request goes: accept ([`worker::accept`]) → identity
//! ([`worker::identity`]) → decode ([`worker::peer::inbox`]) → decide ([`worker::request::decision`]) → act
//! ([`worker::request`]) → record ([`log`]) → answer ([`worker::peer::outbox`]).
#![deny(unsafe_code)]

mod arguments;
mod audit;
mod child;
mod closer;
mod deposit_record;
mod fd;
mod helper;
mod log;
mod look;
mod lookup;
mod memory;
mod opening_cost;
mod payer;
mod process_identity;
mod process_number;
mod program;
pub mod sandbox;
mod spell;
mod supervisor;
mod sys;
mod transmit;
mod worker;

use arguments::Role;

pub use arguments::Arguments;
#[cfg(fuzzing)]
#[doc(hidden)]
pub use helper::fuzzing as server_fuzzing;
pub use log::Format;
#[cfg(fuzzing)]
#[doc(hidden)]
pub use worker::fuzzing;

use std::process::ExitCode;

use clap::{CommandFactory, Parser};

/// The definition of the command line, for manual pages and completions.
pub fn definition() -> clap::Command {
    Arguments::command()
}

/// Runs the daemon as its command line says; returns the exit status.
pub fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match arguments.role() {
        Role::Supervisor => supervisor::main(&arguments),
        Role::Worker => worker::main(&arguments),
        Role::Closer => closer::main(),
        Role::Helper => helper::main(),
        Role::Program => program::main(),
        Role::Lookup => lookup::main(),
    }
}
