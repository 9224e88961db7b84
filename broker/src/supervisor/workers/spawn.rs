//! Starting a worker or a closer: a fresh exec of this same binary, with a socket pair as its standard
//! input, an empty environment, and standard error for the log.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream as StdStream;
use std::process::Stdio;

use clap::ValueEnum;
use fdbroker_wire::Account;
use rustix::net::{AddressFamily, SendFlags, SocketFlags, SocketType, send, socketpair};
use tokio::net::UnixStream;
use tokio::process::{Child, Command};

use super::link::Link;
use super::process::WorkerProcess;
use crate::closer::Become;
use crate::fd::CloseQueue;
use crate::log::{Format, Log};
use crate::sys::socket::read_urgent_inline;

/// This binary, even if its file has been replaced by a newer one meanwhile.
const THIS_BINARY: &str = "/proc/self/exe";

/// A worker, and the link to it.
pub(crate) fn worker(
    format: Format,
    log: &Log,
    close_queue: CloseQueue,
) -> io::Result<(WorkerProcess, Link)> {
    let (ours, theirs) = StdStream::pair()?;
    read_urgent_inline(ours.as_fd())?;
    let name = format.to_possible_value().map(|value| value.get_name().to_owned());
    let child = this_binary(theirs.into(), log)?
        .args(["--worker", "--log-format"])
        .args(name)
        .kill_on_drop(true)
        .spawn()?;
    ours.set_nonblocking(true)?;
    Ok((WorkerProcess::new(child), Link::new(UnixStream::from_std(ours)?, close_queue)?))
}

/// A closer that becomes `account`, and the worker's end of the way to it. It is never killed: what it
/// still has to close it closes, and then it ends.
pub(crate) fn closer(account: Option<Account>, log: &Log) -> io::Result<(Child, OwnedFd)> {
    let (ours, theirs) =
        socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
    send(&ours, &Become(account).to_bytes(), SendFlags::NOSIGNAL)?;
    let child = this_binary(theirs, log)?.arg("--closer").spawn()?;
    Ok((child, ours))
}

fn this_binary(link: OwnedFd, log: &Log) -> io::Result<Command> {
    let mut command = Command::new(THIS_BINARY);
    command
        .arg0("fdbrokerd")
        .env_clear()
        .current_dir("/")
        .stdin(link)
        .stdout(Stdio::null())
        .stderr(log.for_worker()?)
        // A terminal's ^C is for the supervisor, which ends its worker itself.
        .process_group(0);
    Ok(command)
}
