//! Starting a worker: a fresh exec of this same binary, with the socket pair as its standard
//! input, an empty environment, and standard error for the log.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream as StdStream;
use std::process::Stdio;

use clap::ValueEnum;
use tokio::net::UnixStream;
use tokio::process::Command;

use super::link::Link;
use super::worker_process::WorkerProcess;
use crate::fd::CloseQueue;
use crate::log::{Format, Log};
use crate::sys::socket::read_urgent_inline;

/// This binary, even if its file has been replaced by a newer one meanwhile.
const THIS_BINARY: &str = "/proc/self/exe";

/// A worker, and the link to it.
pub(super) fn worker(
    format: Format,
    log: &Log,
    close_queue: CloseQueue,
) -> io::Result<(WorkerProcess, Link)> {
    let (ours, theirs) = StdStream::pair()?;
    read_urgent_inline(ours.as_fd())?;
    let name = format.to_possible_value().map(|value| value.get_name().to_owned());
    let child = Command::new(THIS_BINARY)
        .arg0("fdbrokerd")
        .args(["--worker", "--log-format"])
        .args(name)
        .env_clear()
        .current_dir("/")
        .stdin(OwnedFd::from(theirs))
        .stdout(Stdio::null())
        .stderr(log.for_worker()?)
        // A terminal's ^C is for the supervisor, which ends its worker itself.
        .process_group(0)
        .kill_on_drop(true)
        .spawn()?;
    ours.set_nonblocking(true)?;
    Ok((WorkerProcess::new(child), Link::new(UnixStream::from_std(ours)?, close_queue)?))
}
