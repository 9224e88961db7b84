//! A reload that is asked for by SIGHUP, which needs no rule of the policy, and how its outcome is awaited: the broker notes
//! it beside its socket.

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

use fdbroker_host::{ReloadNote, is_alive, name_of};
use fdbroker_types::quoted;
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use crate::failure::Failure;

/// How long to wait: the broker abandons a reload after a minute.
const PATIENCE: Duration = Duration::from_secs(75);
const LOOKS: Duration = Duration::from_millis(20);
/// How the name of the broker's program begins, also of one with a version at the end.
const BROKER: &str = "fdbrokerd";

/// Has the broker with this process id and socket read its policy again. Returns what it reports.
pub(crate) fn reload(pid: i32, socket: &Path, limit: Option<Duration>) -> Result<String, Failure> {
    let (path, began) = (ReloadNote::beside(socket), ReloadNote::now());
    let broker = send_to(pid)?;
    let limit = limit.unwrap_or(PATIENCE);
    let until = Instant::now() + limit;
    loop {
        // Before the note is read: it may be written, and the broker end then.
        let has_ended = !is_alive(broker.as_fd());
        if let Some(note) = outcome(&path, pid, began)? {
            return note.outcome.map_err(Failure::NotLoaded);
        }
        if has_ended {
            let text =
                format!("reload: process {pid} has ended; if it was the broker, its log says why");
            return Err(Failure::Unanswered(text));
        }
        if Instant::now() >= until {
            let limit = limit.as_secs_f64();
            return Err(Failure::Unanswered(format!(
                "reload: process {pid} has not said in {limit} s what became of it, in {}; its log does; \
                 if its --socket is another one, name it",
                path.display()
            )));
        }
        sleep(LOOKS);
    }
}

/// Sends SIGHUP to a process, if it is a broker: most others would end by it. Returns what stays of this process, also
/// where another one has its number later.
fn send_to(pid: i32) -> Result<OwnedFd, Failure> {
    let number =
        Pid::from_raw(pid).ok_or_else(|| Failure::Usage(format!("{pid} is no process")))?;
    let failed = |error: Errno| Failure::local(format_args!("cannot send SIGHUP to {pid}"), error);
    // Before its name is read: if it ends between, the signal goes to nobody.
    let process = pidfd_open(number, PidfdFlags::empty()).map_err(failed)?;
    match name_of(number) {
        Some(name) if name.starts_with(BROKER) => {
            pidfd_send_signal(&process, Signal::HUP).map_err(failed)?;
            Ok(process)
        }
        Some(name) => Err(Failure::Local(format!(
            "reload: process {pid} is {}, and no broker: it got no signal; name the process id of {BROKER}",
            quoted(&name)
        ))),
        None => Err(Failure::Local(format!(
            "reload: /proc does not say what process {pid} is: it got no signal; it has ended, or is hidden \
             (ProtectProc= of a unit, hidepid= of /proc)"
        ))),
    }
}

/// The note, if it is of this broker, and of a reload that began after that.
fn outcome(path: &Path, pid: i32, asked: u64) -> Result<Option<ReloadNote>, Failure> {
    let note = ReloadNote::read(path);
    let note = note.map_err(|error| Failure::local(path.display(), error))?;
    Ok(note.filter(|note| note.broker == pid && note.began >= asked))
}
