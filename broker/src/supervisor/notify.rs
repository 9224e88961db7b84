//! Tells the starter of the broker that it serves: READY=1 to the service manager (sd_notify(3)),
//! a newline on `--ready-fd`; or there, without a newline, why it does not start.

use std::convert::Infallible;
use std::fs::File;
use std::io::Write;
use std::os::fd::OwnedFd;

use sd_notify::NotifyState;

use super::StartError;
use crate::log::Log;
use crate::sys::adopt::adopt;

/// Whether there is a service manager to be told.
pub(crate) fn is_managed() -> bool {
    std::env::var_os("NOTIFY_SOCKET").is_some()
}

/// Whom to tell.
#[derive(Default)]
pub(crate) struct Readiness {
    pipe: Option<OwnedFd>,
    told: bool,
}

impl Readiness {
    /// Takes `--ready-fd`.
    pub(crate) fn take(number: Option<i32>) -> Result<Self, StartError> {
        let pipe = match number {
            Some(0) => return Err(StartError::ReadyDescriptor(0, rustix::io::Errno::BADF.into())),
            Some(number) => {
                Some(adopt(number).map_err(|error| StartError::ReadyDescriptor(number, error))?)
            }
            None => None,
        };
        Ok(Self { pipe, told: false })
    }

    /// Whether it has been told.
    pub(crate) fn is_told(&self) -> bool {
        self.told
    }

    /// Tells why the broker does not start, on one line that does not end. Nothing is told if another
    /// broker serves or starts at the same socket.
    pub(crate) fn fail(self, error: &StartError) {
        let Some(pipe) = self.pipe.filter(|_| !error.is_for_another_broker()) else { return };
        let text = error.to_string().replace('\n', " ");
        // A starter that has gone, or reads nothing, is told nothing.
        let _ = File::from(pipe).write_all(text.as_bytes());
    }

    /// Tells it, once; with `status`, if there is something to say.
    pub(crate) fn tell(&mut self, status: Option<&str>, log: &Log) {
        if std::mem::replace(&mut self.told, true) {
            return;
        }
        if let Some(pipe) = self.pipe.take()
            && let Err(error) = File::from(pipe).write_all(b"\n")
        {
            log.warn(&format!("cannot write to --ready-fd: {error}"));
        }
        match status {
            None => notify(&[NotifyState::Ready], log),
            Some(status) => notify(&[NotifyState::Ready, NotifyState::Status(status)], log),
        }
    }
}

/// Tells the service manager that the policy is being read again.
pub(crate) fn reloading(log: &Log) {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => notify(&[NotifyState::Reloading, now], log),
        Err(error) => log.warn(&format!("the monotonic clock cannot be read: {error}")),
    }
}

/// Tells the service manager that a reload has ended, under the old policy or the new one.
pub(crate) fn reloaded(status: &str, log: &Log) {
    notify(&[NotifyState::Ready, NotifyState::Status(status)], log);
}

/// Tells the service manager that the broker stops.
pub(crate) fn stopping(log: &Log) {
    notify(&[NotifyState::Stopping], log);
}

/// Tells the service manager again and again that the broker is alive, where it wants to know
/// (WatchdogSec= in systemd.service(5)). For as long as the event loop turns: that sees to it that
/// the worker answers, or is replaced. The end of the supervisor would cost every deposit, that of
/// the worker none.
pub(crate) async fn keep_watch(log: &Log) -> Infallible {
    let Some(limit) = sd_notify::watchdog_enabled() else {
        return std::future::pending().await;
    };
    let mut beats = tokio::time::interval(limit / 3);
    loop {
        beats.tick().await;
        notify(&[NotifyState::Watchdog], log);
    }
}

fn notify(state: &[NotifyState<'_>], log: &Log) {
    if let Err(error) = sd_notify::notify(state) {
        log.warn(&format!("cannot notify the service manager ({state:?}): {error}"));
    }
}
