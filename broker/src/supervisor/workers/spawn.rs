//! Starting a worker or a closer: a fresh exec of this same binary, with a socket pair as its standard
//! input, an empty environment, and standard error for the log.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream as StdStream;
use std::process::Child;

use clap::ValueEnum;
use fdbroker_wire::Account;
use rustix::net::{AddressFamily, SendFlags, SocketFlags, SocketType, send, socketpair};
use tokio::net::UnixStream;

use super::link::Link;
use super::process::WorkerProcess;
use super::spawner::Spawner;
use crate::closer::Become;
use crate::fd::CloseQueue;
use crate::log::Log;
use crate::sys::socket::read_urgent_inline;

/// A worker, and the link to it.
pub(crate) fn worker(
    spawner: &Spawner,
    log: &Log,
    close_queue: CloseQueue,
) -> io::Result<(WorkerProcess, Link)> {
    let (ours, theirs) = StdStream::pair()?;
    read_urgent_inline(ours.as_fd())?;
    let name = spawner.format.to_possible_value().map(|value| value.get_name().to_owned());
    let arguments = ["--worker", "--log-format"].map(str::to_owned).into_iter().chain(name);
    let child = spawner.spawn(arguments.collect(), theirs.into(), log.for_worker()?)?;
    ours.set_nonblocking(true)?;
    Ok((WorkerProcess::new(child), Link::new(UnixStream::from_std(ours)?, close_queue)?))
}

/// A closer that becomes `account`, and the worker's end of the way to it. It is never killed: what it
/// still has to close it closes, and then it ends.
pub(crate) fn closer(
    spawner: &Spawner,
    account: Option<Account>,
    log: &Log,
) -> io::Result<(Child, OwnedFd)> {
    let (ours, theirs) =
        socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
    send(&ours, &Become(account).to_bytes(), SendFlags::NOSIGNAL)?;
    let child = spawner.spawn(vec!["--closer".to_owned()], theirs, log.for_worker()?)?;
    Ok((child, ours))
}
