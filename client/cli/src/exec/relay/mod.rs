//! A program with sockets that lead to servers: each connection to such a socket gets a session from the broker.
//!
//! One thread has the sockets, the sessions, and the program, of which this process stays the parent. What goes over an
//! open session is copied by threads of its own ([`both_ways`]). A protocol is a file, or a folder, and a variant of
//! [`Protocol`].

mod abandoned;
mod arguments;
mod both_ways;
mod contents;
mod directory;
mod listener;
mod loopback;
mod mysql;
mod no_session;
mod parent;
mod postgres;
mod program;
mod protocol;
mod proxied;
mod redis;
mod session;
mod sessions;
mod source;
mod start_up;
mod url;

use std::ffi::OsString;
use std::io;
use std::path::Path;
use std::process::ExitCode;

use tokio::runtime::Builder;

use crate::failure::Failure;
use arguments::{Paths, has, mark};
use directory::Directory;
use listener::Listener;
use program::{Environment, Program};
pub(super) use protocol::Protocol;
use sessions::Sessions;
pub(super) use source::Source;

/// A slot, and how to lead to its server.
#[derive(Debug)]
pub(super) struct Relay<'a> {
    source: Source,
    protocol: Protocol,
    prefix: &'a str,
}

impl<'a> Relay<'a> {
    pub(super) fn new(source: Source, protocol: Protocol, prefix: &'a str) -> Self {
        Self { source, protocol, prefix }
    }

    fn is_like(&self, other: &Self) -> bool {
        (self.protocol, self.prefix) == (other.protocol, other.prefix)
    }
}

/// Runs the program to its end, and returns its exit status.
pub(super) fn run(
    relays: &[Relay<'_>],
    program: &OsString,
    arguments: &[OsString],
) -> Result<ExitCode, Failure> {
    if relays.iter().enumerate().any(|(at, one)| relays.iter().take(at).any(|it| it.is_like(one))) {
        let twice =
            "exec: two relays would set the same variables; name a prefix: SLOT=PROTOCOL:PREFIX";
        return Err(Failure::Usage(twice.to_owned()));
    }
    let runtime = Builder::new_current_thread().enable_all().build().map_err(failed)?;
    // It outlives the runtime, and with it whatever uses its sockets.
    let directories: Vec<_> = relays.iter().map(|_| Directory::new()).collect::<Result<_, _>>()?;
    refuse_unled(relays, program, arguments)?;
    let arguments = paths(relays, &directories).fill(arguments)?;
    let outcome = runtime.block_on(async {
        let mut environment = Environment::default();
        for (relay, directory) in relays.iter().zip(&directories) {
            begin(relay, directory, &mut environment).await?;
        }
        Program::start(program, &arguments, &environment)?.wait().await
    });
    drop(runtime);
    drop(directories);
    outcome
}

/// Refuses a program that reads no variable of the relay and is not told the socket: it would go to its default server.
fn refuse_unled(
    relays: &[Relay<'_>],
    program: &OsString,
    arguments: &[OsString],
) -> Result<(), Failure> {
    let name = Path::new(program).file_name().unwrap_or(program).to_string_lossy();
    let is_blind = |relay: &&Relay<'_>| relay.protocol.blind_programs().contains(&&*name);
    let Some(relay) = relays.iter().find(is_blind) else { return Ok(()) };
    let marks: Vec<_> = relays.iter().map(|relay| mark(relay.prefix)).collect();
    if marks.iter().any(|mark| arguments.iter().any(|argument| has(argument, mark))) {
        return Ok(());
    }
    Err(Failure::Usage(format!(
        "exec: {name} reads no variable that names the socket, and would go to its default server; \
         write {name} -s {mark}",
        mark = mark(relay.prefix)
    )))
}

/// The sockets whose paths the program can be told by its arguments.
fn paths(relays: &[Relay<'_>], directories: &[Directory]) -> Paths {
    let mut paths = Paths::default();
    for (relay, directory) in relays.iter().zip(directories) {
        if let Some(name) = relay.protocol.argument() {
            paths.add(relay.prefix, directory.join(name));
        }
    }
    paths
}

/// Gets the first session, and listens.
async fn begin(
    relay: &Relay<'_>,
    directory: &Directory,
    environment: &mut Environment,
) -> Result<(), Failure> {
    let first = sessions::first(&relay.source, relay.protocol.spoken()).await?;
    let listener = match relay.protocol.socket_name() {
        Some(name) => Listener::at(&directory.join(name))?,
        None => Listener::on_loopback().await?,
    };
    relay.protocol.set(&first, directory, listener.address(), relay.prefix, environment)?;
    let server = relay.protocol.server(Sessions::new(relay.source.clone(), first));
    tokio::spawn(listener::serve(listener, server));
    Ok(())
}

fn failed(error: io::Error) -> Failure {
    Failure::local("exec: cannot start the relay", error)
}
