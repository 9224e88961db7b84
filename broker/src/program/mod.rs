//! A process that becomes a program of the operator's, which logs in to a server.
//!
//! It drops every privilege as a helper does, is confined, and executes the program with the socket and the password as
//! descriptors. It says something to its supervisor only if that fails; else its link closes with the execve(2).
//! What comes of the program is the supervisor's to see.

pub(crate) mod order;

use std::ffi::OsString;
use std::io::{self, IoSlice};
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode, Stdio};

use fdbroker_types::quoted;
use rustix::fs::{CWD, Mode, OFlags, SeekFrom, openat, seek};
use rustix::io::{FdFlags, fcntl_dupfd_cloexec, fcntl_setfd};
use rustix::process::{Signal, set_parent_process_death_signal};

use crate::child::{self, cannot_go_on};
use crate::helper::answer::{Answer, Failure, Step};
use crate::sandbox::{self, credentials, memory};
use crate::sys::signal;
use crate::transmit::transmit;
use order::{MAX_ORDER, ProgramOrder};

/// The descriptor of the connection. That of the password, if there is one, is the next.
const SOCKET: RawFd = 3;
/// Above those of a program.
const ASIDE: RawFd = 10;

/// What the program gets.
struct Descriptors {
    socket: OwnedFd,
    output: OwnedFd,
    errors: OwnedFd,
    password: Option<OwnedFd>,
}

/// Becomes the program. Returns only if there is no program, and never that it succeeded.
pub(crate) fn main() -> ExitCode {
    let _ = child::report("program", run());
    ExitCode::FAILURE
}

/// Returns only if there is no program.
fn run() -> Result<(), String> {
    let inherited = child::begin(c"fdbroker-program")?;
    let (bytes, descriptors) = child::first_message(&inherited, MAX_ORDER)?;
    let order = ProgramOrder::from_bytes(&bytes).ok_or("it was told no program")?;
    let descriptors = Descriptors::of(descriptors).ok_or("it was not handed a connection")?;
    // The program has another standard input.
    let link =
        fcntl_dupfd_cloexec(&inherited, ASIDE).map_err(|error| cannot_go_on(&error.into()))?;
    drop(inherited);
    let text = become_program(&order, descriptors);
    let bytes = Answer::Failed(Failure::new(Step::LogIn, text)).to_bytes();
    transmit(link.as_fd(), &[IoSlice::new(&bytes)], &[]).map_err(|error| cannot_go_on(&error))?;
    Ok(())
}

/// Returns why it cannot be.
fn become_program(order: &ProgramOrder, descriptors: Descriptors) -> String {
    confine(order)
        .and_then(|()| execute(order, descriptors).map_err(|error| error.to_string()))
        .map_or_else(|text| text, |never| match never {})
}

/// Drops every privilege, as a helper does.
fn confine(order: &ProgramOrder) -> Result<(), String> {
    credentials::give_up(order.account).map_err(|error| error.to_string())?;
    // It is forgotten with every change of credentials. Without it, only the supervisor ends the program.
    let _ = set_parent_process_death_signal(Some(Signal::KILL));
    if order.account.is_some() {
        memory::start_no_crowd().map_err(|error| error.to_string())?;
    }
    sandbox::confine_program().map_err(|error| error.to_string())
}

enum Never {}

fn execute(order: &ProgramOrder, descriptors: Descriptors) -> io::Result<Never> {
    let (path, arguments) = order.command.split_first().ok_or(io::ErrorKind::InvalidInput)?;
    let Descriptors { socket, output, errors, password } = descriptors;
    let nothing = openat(CWD, "/dev/null", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    if let Some(password) = &password {
        seek(password, SeekFrom::Start(0))?;
    }
    let mut environment = vec![("FDBROKER_SOCKET_FD", OsString::from(SOCKET.to_string()))];
    if password.is_some() {
        environment.push(("FDBROKER_PASSWORD_FD", (SOCKET + 1).to_string().into()));
    }
    environment.extend(order.user.iter().map(|user| ("FDBROKER_USER", user.into())));
    let [output, errors, nothing] = aside([output, errors, nothing])?;
    let _passed = pass_on([socket].into_iter().chain(password).collect())?;
    let mut command = Command::new(path);
    command.args(arguments).env_clear().envs(environment).current_dir("/");
    command.stdin(Stdio::from(nothing)).stdout(output).stderr(errors);
    signal::heed_all();
    let (error, path) = (command.exec(), quoted(path).to_string());
    Err(io::Error::other(format!(
        "{path} cannot be started: {error}; the user that the broker's worker runs as has to be able \
         to execute it, and to enter each of its directories"
    )))
}

/// Moves descriptors out of the way.
fn aside<const N: usize>(descriptors: [OwnedFd; N]) -> io::Result<[OwnedFd; N]> {
    let moved: Result<Vec<_>, _> =
        descriptors.iter().map(|one| fcntl_dupfd_cloexec(one, ASIDE)).collect();
    moved?.try_into().map_err(|_| io::ErrorKind::InvalidInput.into())
}

/// Moves them to the numbers from [`SOCKET`] on, and lets them survive an execve(2).
fn pass_on(descriptors: Vec<OwnedFd>) -> io::Result<Vec<OwnedFd>> {
    let aside: Result<Vec<_>, _> =
        descriptors.iter().map(|one| fcntl_dupfd_cloexec(one, ASIDE)).collect();
    drop(descriptors);
    (SOCKET..).zip(aside?).map(|(number, one)| pass_one(&one, number)).collect()
}

fn pass_one(descriptor: &OwnedFd, number: RawFd) -> io::Result<OwnedFd> {
    let passed = fcntl_dupfd_cloexec(descriptor, number)?;
    if passed.as_raw_fd() != number {
        return Err(io::Error::other(format!("descriptor {number} is taken")));
    }
    fcntl_setfd(&passed, FdFlags::empty())?;
    Ok(passed)
}

impl Descriptors {
    /// Those of the message, in their order.
    fn of(descriptors: Vec<OwnedFd>) -> Option<Self> {
        let mut descriptors = descriptors.into_iter();
        Some(Self {
            socket: descriptors.next()?,
            output: descriptors.next()?,
            errors: descriptors.next()?,
            password: descriptors.next(),
        })
    }
}
