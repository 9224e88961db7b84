//! The worker's process, from outside: how it is ended, and what is left of one that cannot be.
//!
//! A thread that sleeps in the kernel in state D does not die of SIGKILL. As long as it lives, its
//! process cannot be reaped. So every wait here has a bound, and processes that are left behind are
//! looked at now and then.

use std::io;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, ExitStatus};
use std::time::Duration;

use fdbroker_host::has_exited;
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};
use tokio::time::{Instant, sleep, timeout};

use crate::log::Log;

/// How long a worker may take until it serves, and how much longer for each deposit that it has
/// to be given.
const PATIENCE: Duration = Duration::from_secs(30);
const PATIENCE_PER_DEPOSIT: Duration = Duration::from_millis(1);
/// How long a worker may take to end by itself.
pub(crate) const GRACE: Duration = Duration::from_secs(2);
/// How long a worker may take to be gone after SIGKILL.
const AFTER_KILL: Duration = Duration::from_secs(2);
/// How long the other threads may take to end after the main thread has. The process does nothing
/// more: waiting longer is in vain if one of them sleeps.
const AFTER_EXIT: Duration = Duration::from_millis(200);
/// The pause between two looks at a process that is about to end.
const STEP: Duration = Duration::from_millis(2);

/// A worker's process.
pub(crate) struct WorkerProcess {
    child: Child,
    pid: Option<Pid>,
    began: Instant,
}

/// Workers that could not be reaped.
#[derive(Default)]
pub(crate) struct LeftBehind(Vec<WorkerProcess>);

impl WorkerProcess {
    pub(crate) fn new(child: Child) -> Self {
        let pid = Some(Pid::from_child(&child));
        Self { child, pid, began: Instant::now() }
    }

    /// How long it has been there.
    pub(crate) fn age(&self) -> Duration {
        self.began.elapsed()
    }

    /// Whether its main thread has ended: it is a zombie, or about to be reaped. False where /proc
    /// does not tell.
    pub(crate) fn has_ended(&self) -> bool {
        self.pid.is_some_and(has_exited)
    }

    /// Kills it, and whatever it has started: that is in its process group. To be called before it
    /// is reaped, while nobody else can have its number.
    pub(crate) fn kill(&mut self) {
        // It may have ended just now; then there is nothing to kill.
        let _ = self.pid.map(|pid| kill_process_group(pid, Signal::KILL));
        let _ = self.child.kill();
    }

    /// Waits `grace` for the process to end by itself, ends it otherwise, and reaps it. The status
    /// is `None` if its main thread has ended.
    ///
    /// # Errors
    /// The process, if it cannot be reaped within a bound.
    pub(crate) async fn end(mut self, grace: Duration) -> Result<Ended, Self> {
        // It does not matter which: it is killed now.
        let _ = timeout(grace, self.exits()).await;
        self.kill();
        let reaped = tokio::select! {
            biased;
            reaped = reaped(&mut self.child) => reaped,
            () = cannot_be_reaped(self.pid) => return Err(self),
        };
        Ok(match reaped {
            Ok(status) => Ended::with(status),
            Err(error) => Ended { text: error.to_string(), killed: false },
        })
    }

    /// Waits until it has ended, and forgets its number, so that nothing else can be told of it.
    #[cfg(test)]
    pub(crate) async fn exits_unseen(&mut self) {
        self.exits().await;
        self.pid = None;
    }

    /// Waits until it has ended, or its main thread has, and leaves it to be reaped.
    async fn exits(&self) {
        let Some(pid) = self.pid else { return };
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT | WaitIdOptions::NOHANG;
        // Anything but "not yet" ends this: also that it cannot be waited for.
        while matches!(waitid(WaitId::Pid(pid), options), Ok(None)) && !has_exited(pid) {
            sleep(STEP).await;
        }
    }
}

/// Waits until a process has been reaped.
async fn reaped(child: &mut Child) -> io::Result<ExitStatus> {
    loop {
        match child.try_wait()? {
            Some(status) => return Ok(status),
            None => sleep(STEP).await,
        }
    }
}

/// Waits until a process that was killed ought to be gone.
async fn cannot_be_reaped(pid: Option<Pid>) {
    let exits = async {
        while !pid.is_some_and(has_exited) {
            sleep(STEP).await;
        }
        sleep(AFTER_EXIT).await;
    };
    // Either is too long.
    let _ = timeout(AFTER_KILL, exits).await;
}

impl Drop for WorkerProcess {
    fn drop(&mut self) {
        // One that has been reaped is left alone.
        let _ = self.child.kill();
    }
}

/// How a process ended.
pub(crate) struct Ended {
    pub(crate) text: String,
    /// By SIGKILL, of any sender.
    pub(crate) killed: bool,
}

impl Ended {
    fn with(status: ExitStatus) -> Self {
        let killed = status.signal() == Some(Signal::KILL.as_raw());
        Self { text: status.to_string(), killed }
    }
}

impl LeftBehind {
    /// Keeps a process to be reaped later, and says so.
    pub(crate) fn add(&mut self, process: WorkerProcess, log: &Log) {
        let pid = process.pid.map_or(0, Pid::as_raw_pid);
        self.0.push(process);
        log.error(&format!(
            "worker {pid} cannot be killed: one of its threads is blocked in the kernel (state \
             D), probably in close(2) of a peer's descriptor; another worker serves; see where it \
             is blocked: cat /proc/{pid}/task/*/stack; workers that could not be killed so far: {}",
            self.0.len()
        ));
    }

    /// Reaps those that have ended at last.
    pub(crate) fn reap(&mut self, log: &Log) {
        self.0.retain_mut(|process| {
            let ended = !matches!(process.child.try_wait(), Ok(None));
            if ended {
                let pid = process.pid.map_or(0, Pid::as_raw_pid);
                log.info(&format!("worker {pid}, which could not be killed, has ended"));
            }
            !ended
        });
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }
}

/// Returns how long a worker that is given so many deposits may take until it serves.
pub(crate) fn patience(deposits: usize) -> Duration {
    let deposits = u32::try_from(deposits).unwrap_or(u32::MAX);
    PATIENCE.saturating_add(PATIENCE_PER_DEPOSIT.saturating_mul(deposits))
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn one_whose_main_thread_has_ended_gets_no_grace() {
        let mut child = Command::new("true").spawn().unwrap();
        let pid = Pid::from_child(&child);
        waitid(WaitId::Pid(pid), WaitIdOptions::EXITED | WaitIdOptions::NOWAIT).unwrap();
        let began = Instant::now();
        // Nobody reaps it.
        cannot_be_reaped(Some(pid)).await;
        assert_eq!(began.elapsed(), AFTER_EXIT);
        child.wait().unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_runs_on_after_it_was_killed_is_waited_for() {
        let began = Instant::now();
        cannot_be_reaped(Some(rustix::process::getpid())).await;
        assert_eq!(began.elapsed(), AFTER_KILL);
    }

    #[test]
    fn many_deposits_take_longer_to_be_given_back() {
        assert_eq!(patience(0), PATIENCE);
        assert_eq!(patience(60_000), PATIENCE + Duration::from_secs(60));
        assert!(patience(usize::MAX) > patience(60_000));
    }
}
