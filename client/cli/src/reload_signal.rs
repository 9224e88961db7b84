//! A reload that is asked for by SIGHUP, which needs no rule of the policy, and how its outcome is awaited: the broker notes
//! it beside its socket.

use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

use fdbroker_host::ReloadNote;
use rustix::io::Errno;
use rustix::process::{Pid, Signal, kill_process, test_kill_process};

use crate::failure::Failure;

/// How long to wait: the broker abandons a reload after a minute.
const PATIENCE: Duration = Duration::from_secs(75);
const LOOKS: Duration = Duration::from_millis(20);

/// Has the broker with this process id and socket read its policy again. Returns what it reports.
pub(crate) fn reload(pid: i32, socket: &Path, limit: Option<Duration>) -> Result<String, Failure> {
    let broker =
        Pid::from_raw(pid).ok_or_else(|| Failure::Usage(format!("{pid} is no process")))?;
    let (path, began) = (ReloadNote::beside(socket), ReloadNote::now());
    let failed = |error: Errno| Failure::local(format_args!("cannot send SIGHUP to {pid}"), error);
    kill_process(broker, Signal::HUP).map_err(failed)?;
    let limit = limit.unwrap_or(PATIENCE);
    let until = Instant::now() + limit;
    loop {
        // Before the note is read: it may be written, and the broker end then.
        let has_ended = test_kill_process(broker) == Err(Errno::SRCH);
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
                 if that is no broker's process id, or its --socket is another one, name them",
                path.display()
            )));
        }
        sleep(LOOKS);
    }
}

/// The note, if it is of this broker, and of a reload that began after that.
fn outcome(path: &Path, pid: i32, asked: u64) -> Result<Option<ReloadNote>, Failure> {
    let note = ReloadNote::read(path);
    let note = note.map_err(|error| Failure::local(path.display(), error))?;
    Ok(note.filter(|note| note.broker == pid && note.began >= asked))
}
