//! The supervisor's life: start a worker, start another when it dies, stop when told.

use std::io;
use std::rc::Rc;
use std::time::Duration;

use super::StartError;
use super::attend::End;
use super::deposits::counted_slots::CountedSlots;
use super::deposits::mirror::Mirror;
use super::deposits::mirror::resume::Stored;
use super::hand_over::{HandOver, to_hand_over};
use super::leases::returned::Accounts;
use super::notify;
use super::policy::reload_notes::ReloadNotes;
use super::replace::visitor::Successor;
use super::signals::Signals;
use super::state::Supervisor;
use super::workers::restarts::Death;
use super::workers::spawn;

/// Threads for opening; each resource may take a part of them only.
const MAX_OPENERS: usize = 256;

/// How a broker has ended.
enum Ended {
    Stopped,
    /// Another one has everything.
    Replaced,
}

impl Supervisor {
    /// Runs until the broker is told to stop.
    ///
    /// # Errors
    /// If the first worker is not ready in time.
    pub(crate) fn run(&mut self) -> Result<(), StartError> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .max_blocking_threads(MAX_OPENERS)
            .build()
            .map_err(StartError::Runtime)?;
        let log = Rc::clone(&self.log);
        let leases = self.leases.clone();
        let result = runtime.block_on(async {
            let stored = std::mem::take(&mut self.stored);
            let mirror = self.resume(stored).map_err(StartError::Mirror)?;
            self.tell_of_strict_tags();
            self.take_over_if_asked().await?;
            let result = tokio::select! {
                result = self.serve() => result,
                Err(error) = leases.keep() => Err(StartError::Runtime(error)),
                never = notify::keep_watch(&log) => match never {},
                never = mirror.keep_up() => match never {},
            };
            mirror.catch_up().await;
            if matches!(result, Ok(Ended::Stopped)) {
                self.tell_what_is_lost();
                leases.leave();
            }
            result
        });
        // An open that hangs must not keep the process.
        runtime.shutdown_background();
        self.records.audit.settle();
        // What another broker has is not ours to remove.
        let is_ours = !matches!(result, Ok(Ended::Replaced) | Err(StartError::Replace { .. }));
        if is_ours && !self.is_to_take_over() {
            self.remove_files();
        }
        result.map(drop)
    }

    fn remove_files(&mut self) {
        self.door.remove();
        ReloadNotes::forget(self.listener.path());
        self.listener.let_all_in();
        if let Err(error) = self.listener.remove() {
            self.log.warn(&format!("the socket file could not be removed: {error}"));
        }
    }

    /// Whether another broker still has everything.
    fn is_to_take_over(&self) -> bool {
        self.predecessor.is_some() || self.succession.is_some()
    }

    /// Goes on from what an earlier supervisor left with the service manager.
    fn resume(&mut self, stored: Stored) -> io::Result<Mirror> {
        let payers = &self.source.payers;
        let (leases, has_losses) =
            self.deposits.resume(stored, &self.close_queue, payers, &self.log)?;
        let accounts = Accounts {
            payers,
            unclosed: &self.unclosed,
            place: &|resource, number, payer| self.opener.hold(resource, number, payer),
        };
        let mirror = self.deposits.mirror.clone();
        self.leases.resume(mirror.clone(), leases, &accounts);
        mirror.resumed(has_losses);
        Ok(mirror)
    }

    async fn serve(&mut self) -> Result<Ended, StartError> {
        let mut signals = Signals::heed().map_err(StartError::Runtime)?;
        self.opener.keep_ready(&self.told);
        self.begin_under_older();
        self.tell_names();
        self.watch_devices();
        loop {
            if !self.is_to_take_over() {
                self.listener.repair(&self.log);
            }
            let end = match spawn::worker(&self.spawner, &self.log, self.close_queue.clone()) {
                Ok((process, link)) => self.attend(process, link, &mut signals).await,
                Err(error) => {
                    End::Died { status: format!("not started: {error}"), death: Death::UNBORN }
                }
            };
            match end {
                End::Stopped => return Ok(Ended::Stopped),
                End::Asked(successor) => {
                    if let Some(ended) = self.be_replaced(successor, &mut signals).await {
                        return Ok(ended);
                    }
                }
                End::Died { status, .. } if !self.readiness.is_told() => {
                    return Err(self.not_started(status));
                }
                End::Died { status, death } => {
                    let pause = self.pause_after(death);
                    self.tell_death(&status, pause);
                    let asked = tokio::select! {
                        () = tokio::time::sleep(pause) => None,
                        () = signals.stop() => return Ok(Ended::Stopped),
                        successor = self.door.asked(&self.close_queue, &self.records, || to_hand_over(&self.deposits, &self.leases)) => Some(successor),
                    };
                    if let Some(successor) = asked
                        && let Some(ended) = self.be_replaced(successor, &mut signals).await
                    {
                        return Ok(ended);
                    }
                }
            }
        }
    }

    /// Has another broker take over, unless that fails: then this one goes on.
    async fn be_replaced(&mut self, successor: Successor, signals: &mut Signals) -> Option<Ended> {
        match self.hand_over(successor, signals).await {
            HandOver::Done => Some(Ended::Replaced),
            HandOver::Stopped => Some(Ended::Stopped),
            HandOver::Failed(why) => {
                self.log.error(&format!("{why}; this broker goes on"));
                None
            }
        }
    }

    /// Sees to it that what kills each worker is set aside; returns how long to wait then.
    fn pause_after(&mut self, death: Death) -> Duration {
        if let Some(slot) = self.quarantine.after_death() {
            if self.deposits.set_aside(slot) {
                self.log.error(&format!(
                    "three workers have died on the deposit in slot {slot}: it is set aside, and \
                     the slot is empty; `fdbroker reload` restores it; please report this bug"
                ));
                self.restarts.forget();
            } else {
                self.log.error(&format!(
                    "three workers have died on requests for slot {slot}: the audit trail names \
                     the users who made them; please report this bug"
                ));
            }
        }
        self.restarts.pause_after(death, self.left_behind.len())
    }

    fn tell_death(&self, status: &str, pause: Duration) {
        let held = self.deposits.all().len();
        self.log.error(&format!(
            "the worker has died ({status}); another one starts in {} ms; deposits that it is \
             given: {held}; log lines that the dead worker had not written are lost",
            pause.as_millis()
        ));
    }

    /// Says which deposits the next broker does not have.
    fn tell_what_is_lost(&self) {
        let all = self.deposits.all().map(|kept| kept.slot);
        let lost = self.deposits.mirror.left_out().unwrap_or_else(|| all.collect());
        let left = self.deposits.all().len().saturating_sub(lost.len());
        self.log.info(&format!(
            "deposits left with the service manager, which keeps them if this is a restart: {left}; \
             lost: {}",
            CountedSlots(&lost)
        ));
    }
}
