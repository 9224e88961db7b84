//! The supervisor's heartbeat: the worker answers it, and notices where there is none any more.

use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

use fdbroker_host::has_exited;
use fdbroker_wire::Control;
use rustix::process::{Pid, getppid};
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
    timerfd_settime,
};
use tokio::sync::Notify;

use super::write::SupervisorLink;
use crate::sys::watch::Watched;

/// After how long without a heartbeat it is looked whether the supervisor lives: several beats.
const SILENT: Duration = Duration::from_secs(6);
const ABANDONED: &str = "the supervisor has exited, but one of its threads is blocked in the kernel: start the broker \
     again";

/// What is known of the supervisor, from outside of the worker's confinement.
pub(crate) struct Supervisor {
    pid: Option<Pid>,
    looks: OwnedFd,
}

/// The heartbeat of one supervisor.
pub(crate) struct Heartbeat {
    supervisor: Option<Pid>,
    /// A timer descriptor: when to look whether there was any. With a timer of the event loop, the
    /// kernel would set up a timer for each wait for a request, and take it down again.
    looks: Watched,
    heard: Notify,
}

impl Supervisor {
    /// This process's parent.
    ///
    /// # Errors
    /// When there can be no timer.
    pub(crate) fn of_this_process() -> io::Result<Self> {
        let flags = TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK;
        let looks = timerfd_create(TimerfdClockId::Monotonic, flags)?;
        let every = Timespec::try_from(SILENT).map_err(io::Error::other)?;
        let times = Itimerspec { it_interval: every, it_value: every };
        timerfd_settime(&looks, TimerfdTimerFlags::empty(), &times)?;
        Ok(Self { pid: getppid(), looks })
    }
}

impl Heartbeat {
    /// # Errors
    /// When the timer cannot be watched.
    pub(crate) fn new(supervisor: Supervisor) -> io::Result<Self> {
        let Supervisor { pid, looks } = supervisor;
        Ok(Self { supervisor: pid, looks: Watched::new(looks)?, heard: Notify::new() })
    }

    /// The supervisor has asked whether the worker answers.
    pub(crate) fn hear(&self) {
        self.heard.notify_one();
    }

    /// Waits until it is time to look. Can be dropped.
    async fn time_to_look(&self) -> io::Result<()> {
        self.looks.read(|timer| Ok(rustix::io::read(timer, &mut [0; 8])?)).await?;
        Ok(())
    }
}

/// Answers each beat, for as long as the supervisor lives. Mostly its end is seen by the link; not where
/// a thread of it sleeps in the kernel and keeps that open.
///
/// # Errors
/// When it has exited: what this worker acknowledges, nobody would keep.
pub(crate) async fn answer(heartbeat: &Heartbeat, link: &SupervisorLink) -> Result<(), String> {
    let mut heard = true;
    loop {
        tokio::select! {
            () = heartbeat.heard.notified() => {
                heard = true;
                // It fails when the supervisor has gone; then this worker ends too.
                let _ = link.lock().await.control(Control::Pong).await;
            }
            looked = heartbeat.time_to_look() => {
                looked.map_err(|error| format!("no timer: {error}"))?;
                if !heard && heartbeat.supervisor.is_some_and(has_exited) {
                    return Err(ABANDONED.to_owned());
                }
                heard = false;
            }
        }
    }
}
