//! The side of the broker that runs: it hands over what it has, or goes on.
//!
//! Its worker has ended. So nobody is answered, and new connections wait in the queue of the listening socket.

use std::io;
use std::rc::Rc;
use std::time::Duration;

use fdbroker_wire::{Control, Handover, Message};
use tokio::time::timeout;

use super::deposits::Deposits;
use super::leases::{Leases, pass_on};
use super::listener::pass_on::PassedOn;
use super::replace::end::end;
use super::replace::message::{Said, read};
use super::replace::process::BrokerProcess;
use super::replace::visitor::Successor;
use super::signals::Signals;
use super::state::Supervisor;
use super::workers::link::Link;
use crate::fd::PeerFd;
use crate::log::Verdict;

/// How long a successor may take until it has everything and serves, and how much longer for each deposit.
const PATIENCE: Duration = Duration::from_secs(10);
const PATIENCE_PER_DEPOSIT: Duration = Duration::from_millis(1);
/// How long what it sent at the last moment is awaited.
const LAST_WORDS: Duration = Duration::from_secs(1);

const TOLD_TO_STOP: &str = "this broker was told to stop";

/// What has come of it.
pub(crate) enum HandOver {
    /// Everything is the successor's.
    Done,
    /// The broker was told to stop.
    Stopped,
    /// The broker goes on, and why.
    Failed(String),
}

impl Supervisor {
    /// Hands everything over to a successor. To be called while there is no worker.
    pub(crate) async fn hand_over(
        &mut self,
        successor: Successor,
        signals: &mut Signals,
    ) -> HandOver {
        let Successor { mut link, process } = successor;
        let outcome = self.transfer(&mut link, signals).await;
        if let Err(why) = &outcome {
            // If this broker dies from now on, the other one must not go on in its place. One that hears it no more ends.
            let why = why.clone().unwrap_or_else(|| TOLD_TO_STOP.to_owned());
            let _ = link.send_now(Handover::Refused(why));
        }
        // It sees that there is nothing more.
        drop(link);
        match outcome {
            Ok(deposits) => {
                self.is_replaced(&process, deposits);
                HandOver::Done
            }
            Err(why) => self.is_not_replaced(&process, why).await,
        }
    }

    /// Sends everything, and waits until it is the successor's; returns how many deposits that are. An error says
    /// why it is not, but for being told to stop.
    async fn transfer(
        &mut self,
        link: &mut Link,
        signals: &mut Signals,
    ) -> Result<u32, Option<String>> {
        let deposits = self.send_everything(link);
        let deposits =
            deposits.map_err(|error| Some(format!("not everything can be sent: {error}")))?;
        let patience = PATIENCE.saturating_add(PATIENCE_PER_DEPOSIT.saturating_mul(deposits));
        let awaited = tokio::select! {
            biased;
            () = signals.stop() => Err(None),
            outcome = timeout(patience, committed(link)) => outcome.unwrap_or_else(|_| {
                Err(format!("it did not serve within {} s", patience.as_secs()))
            }).map_err(Some),
        };
        // If it commits now, that fails. What it sent before counts.
        link.stop_taking();
        match awaited {
            Err(why) => {
                let late = timeout(LAST_WORDS, committed(link)).await;
                if matches!(late, Ok(Ok(()))) { Ok(deposits) } else { Err(why) }
            }
            Ok(()) => Ok(deposits),
        }
    }

    /// Everything is another broker's.
    fn is_replaced(&mut self, process: &BrokerProcess, deposits: u32) {
        let pid = process.pid();
        self.log.info(&format!(
            "broker {pid} has taken over, with deposits: {deposits}; this one ends"
        ));
        let leases = self.leases.len();
        let told =
            format!("{} took over, with deposits: {deposits}, leases: {leases}", process.program());
        // It is done in any case.
        let _ = self.records.audit.record(&process.record(Verdict::Granted, &told));
        self.listener.leave();
        self.door.leave();
    }

    /// The other broker does not go on: it would keep duplicates of everything.
    async fn is_not_replaced(&mut self, process: &BrokerProcess, why: Option<String>) -> HandOver {
        let (pid, program) = (process.pid(), process.program());
        let ended = end(process).await.unwrap_or_else(|problem| {
            self.log.error(&format!(
                "broker {pid} cannot be ended: {problem}; it may keep duplicates of all deposits; end it with kill -9 {pid}"
            ));
            "it cannot be ended"
        });
        let reason = why.as_deref().unwrap_or(TOLD_TO_STOP);
        let told = format!("{program} did not take over: {reason}; {ended}");
        // This broker goes on in any case.
        let _ = self.records.audit.record(&process.record(Verdict::Failed, &told));
        match why {
            None => HandOver::Stopped,
            Some(why) => {
                HandOver::Failed(format!("broker {pid} did not take over: {why}; {ended}"))
            }
        }
    }

    /// Queues everything for a successor; returns how many deposits that are.
    ///
    /// # Errors
    /// As dup(2).
    fn send_everything(&mut self, link: &mut Link) -> io::Result<u32> {
        let leases = self.leases.to_pass_on(|uid| self.source.payers.of(uid))?;
        self.deposits.takers.forget_ended();
        link.handover(Handover::State {
            instance: self.source.instance(),
            descriptors: to_hand_over(&self.deposits, &self.leases),
            last_lease: self.opener.last_lease().0,
        });
        self.send_place(link)?;
        for (kept, is_readmitted) in self.deposits.aside.all() {
            link.handover(Handover::Aside { is_readmitted });
            link.deposit(kept);
        }
        self.deposits.all().for_each(|kept| link.deposit(kept));
        for note in self.deposits.notes() {
            let process = Some(&*note.process);
            link.note(Control::Note { tag: note.tag, pid: note.pid, process }, &note.process);
        }
        for taker in self.deposits.takers.all() {
            for (tag, indices) in taker.by_tag() {
                let (pid, process) = (taker.pid, Some(&*taker.process));
                let message = Control::Taking { tag, indices, pid, process };
                link.note(message, &Rc::clone(&taker.process));
            }
        }
        for pass_on::PassedOn { lease, socket, process } in leases {
            process.into_iter().for_each(|process| link.handover(Handover::Holder(process)));
            link.handover_of(Handover::Lease(lease, &*socket), &socket);
        }
        let deposits = number(self.deposits.all().len() + self.deposits.aside.all().count());
        link.handover(Handover::Complete { deposits });
        Ok(deposits)
    }

    /// Shares what decides who listens at the path: nobody accepts from the socket any more.
    fn send_place(&self, link: &mut Link) -> io::Result<()> {
        let not_ours = || Err(io::ErrorKind::Unsupported.into());
        let PassedOn { socket, file: (device, inode), lock } =
            self.listener.to_pass_on().unwrap_or_else(not_ours)?;
        let door =
            self.door.to_pass_on().unwrap_or_else(|| Err(io::ErrorKind::Unsupported.into()))?;
        link.handover(Handover::Listener { socket, device, inode });
        link.handover(Handover::Lock(lock));
        link.handover(Handover::Door(door));
        Ok(())
    }
}

/// How many descriptors there are to be handed over.
pub(crate) fn to_hand_over(deposits: &Deposits, leases: &Leases) -> u32 {
    let aside = deposits.aside.all().count();
    number(deposits.descriptors() + aside + deposits.takers.all().count() + leases.len() * 2)
}

fn number(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

/// Sends what is queued, and waits until everything is the successor's. Can be dropped and called again.
async fn committed(link: &mut Link) -> Result<(), String> {
    let message: Message<PeerFd> = link.message().await.map_err(|error| match error.kind() {
        std::io::ErrorKind::UnexpectedEof => {
            "it has ended, or given up: its own log says why".to_owned()
        }
        _ => error.to_string(),
    })?;
    match read(message)? {
        Said::Handover(Handover::Commit) => Ok(()),
        _ => Err("it sent something else".to_owned()),
    }
}
