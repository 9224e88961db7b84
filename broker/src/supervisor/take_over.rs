//! The side of the new broker: it takes what the other one has, and commits when its own worker is ready.

use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream as StdStream;
use std::path::Path;
use std::time::Duration;

use fdbroker_policy::Uid;
use fdbroker_wire::{Control, Handover, Lease};
use tokio::net::UnixStream;
use tokio::time::timeout;

use super::error::StartError;
use super::leases::LeaseNumber;
use super::listener::Listener;
use super::replace::door::{Door, beside};
use super::replace::message::{Said, read};
use super::replace::predecessor::Predecessor;
use super::replace::process::BrokerProcess;
use super::replace::room::has_room_for;
use super::replace::succession::{Committed, Shared, Succession};
use super::state::Supervisor;
use super::workers::link::Link;
use crate::fd::{Depositor, PeerFd, table};
use crate::log::Verdict;
use crate::opening_cost::OF_A_LEASE;

/// How long the other one may take until its next message.
const PATIENCE: Duration = Duration::from_secs(10);

impl Supervisor {
    /// Takes what a predecessor has, if there is one.
    ///
    /// # Errors
    /// Why not; then that broker goes on, if it lives.
    pub(crate) async fn take_over_if_asked(&mut self) -> Result<(), StartError> {
        let Some(Predecessor { stream, process, path, name, standing }) = self.predecessor.take()
        else {
            return Ok(());
        };
        match self.succeed(stream, name).await {
            Ok((link, shared)) => {
                self.succession = Some(Succession { link, process, path, shared, standing });
                Ok(())
            }
            Err(why) => Err(self.not_taken(&process, &path, why)),
        }
    }

    /// Why the broker has not started, whose first worker has ended.
    pub(crate) fn not_started(&self, status: String) -> StartError {
        match &self.succession {
            Some(Succession { process, path, .. }) => self.not_taken(process, path, status),
            None => StartError::Worker(status),
        }
    }

    fn not_taken(&self, process: &BrokerProcess, path: &Path, why: String) -> StartError {
        let told = format!("did not take over from broker {}: {why}", process.pid());
        self.records.took_over(Verdict::Failed, &told);
        StartError::Replace { path: path.to_owned(), why, has_ended: process.is_ending() }
    }

    /// Takes what a predecessor has, which has ended its worker for that.
    ///
    /// # Errors
    /// Why not; then it goes on.
    async fn succeed(&mut self, stream: OwnedFd, name: String) -> Result<(Link, Shared), String> {
        let stream = UnixStream::from_std(StdStream::from(stream));
        let link = stream.and_then(|stream| Link::new(stream, self.close_queue.clone()));
        let mut link = link.map_err(|error| error.to_string())?;
        link.handover(Handover::Begin { room: table::size(), name });
        let shared = self.take_everything(&mut link).await?;
        // That broker reloads nothing any more.
        if self.source.has_changed() {
            return Err("the policy's files have changed in the meantime; try again".to_owned());
        }
        Ok((link, shared))
    }

    async fn take_everything(&mut self, link: &mut Link) -> Result<Shared, String> {
        let (mut taken, mut aside, mut holder) = (0, None, None);
        let mut place = Place::default();
        loop {
            let message = timeout(PATIENCE, link.message()).await;
            let message = message.map_err(|_| "it sends nothing any more".to_owned())?;
            match read(message.map_err(|error| format!("it ended in between: {error}"))?)? {
                Said::Handover(Handover::Refused(why)) => return Err(why),
                Said::Handover(Handover::State { instance, descriptors, last_lease }) => {
                    has_room_for(descriptors, table::size())?;
                    self.source.go_on_as(instance);
                    self.opener.skip_leases(LeaseNumber(last_lease));
                }
                Said::Handover(Handover::Listener { socket, device, inode }) => {
                    place.file = socket.into_inner().map(|socket| (socket, (device, inode)));
                }
                Said::Handover(Handover::Lock(file)) => place.lock = file.into_inner(),
                Said::Handover(Handover::Door(socket)) => place.door = socket.into_inner(),
                Said::Handover(Handover::Aside { is_readmitted }) => aside = Some(is_readmitted),
                Said::Deposit(add) => {
                    let slot = add.slot;
                    taken += u32::from(self.deposits.keep(add, &self.source.payers, false));
                    if let Some(is_readmitted) = aside.take() {
                        self.deposits.set_aside_as(slot, is_readmitted);
                    }
                }
                Said::Control(control) => self.take_process(control)?,
                Said::Handover(Handover::Holder(process)) => holder = Some(process),
                Said::Handover(Handover::Lease(lease, socket)) => {
                    self.take_lease(lease, socket, holder.take())?;
                }
                Said::Handover(Handover::Complete { deposits }) if deposits == taken => break,
                Said::Handover(Handover::Complete { deposits }) => {
                    return Err(format!("of its {deposits} deposits, {taken} arrived"));
                }
                Said::Handover(_) => return Err("it sent something else".to_owned()),
            }
            tokio::task::consume_budget().await;
        }
        self.take_place(place)
    }

    /// Has the worker that comes accept from the socket that was shared.
    fn take_place(&mut self, place: Place) -> Result<Shared, String> {
        let Place { file: Some((socket, file)), lock: Some(lock), door: Some(door) } = place else {
            return Err("it does not share its listening socket".to_owned());
        };
        self.listener = Listener::shared(socket, self.close_queue.clone());
        Ok(Shared { file, lock, door })
    }

    /// Notes the owner of a tag, or who takes what.
    fn take_process(&mut self, control: Control<PeerFd>) -> Result<(), String> {
        match control {
            Control::Note { tag, pid, process: Some(mut process) } => {
                process.move_to(Depositor::Nobody);
                self.deposits.note(tag, pid, Some(process));
            }
            Control::Taking { tag, indices, pid, process: Some(process) } => {
                let slots = indices.into_iter().map(|index| fdbroker_wire::Slot { tag, index });
                let problem = self.deposits.note_taker(slots, pid, Some(process));
                problem.into_iter().for_each(|problem| self.log.error(problem));
            }
            _ => return Err("it sent something else".to_owned()),
        }
        Ok(())
    }

    /// Goes on with a lease: its place among the holders is taken, and its user is charged.
    fn take_lease(
        &self,
        lease: Lease,
        socket: PeerFd,
        process: Option<PeerFd>,
    ) -> Result<(), String> {
        let (number, uid) = (LeaseNumber(lease.number), Uid(lease.uid));
        let notice = self.unclosed.opening(uid, self.unclosed.worker(), OF_A_LEASE);
        let payer = self.source.payers.of(uid);
        let place = self.opener.hold(&lease.resource, number, payer);
        let taken = self.leases.take_over(lease, socket, process, payer, (notice, place));
        taken.map_err(|error| format!("lease {number} cannot be watched: {error}"))
    }

    /// The worker is ready: everything is ours from now on. Returns whether there is something to be accepted from.
    ///
    /// # Errors
    /// If the other broker goes on: then nothing must be served here.
    pub(crate) fn commit(&mut self) -> Result<bool, String> {
        let Some(succession) = &mut self.succession else { return Ok(false) };
        let committed = succession.commit()?;
        let Some(Succession { process, path, shared, standing, .. }) = self.succession.take()
        else {
            return Ok(false);
        };
        let (Shared { file, lock, door }, beside) = (shared, beside(&path));
        if let Err(error) = self.listener.take_place(path, file, lock) {
            self.log.warn(&format!("the socket that was taken over: {error}"));
        }
        self.door = Door::with(door, beside, standing);
        let pid = process.pid();
        let deposits = self.deposits.all().len();
        let leases = self.leases.len();
        self.log.info(&format!("took over from broker {pid}, with deposits: {deposits}"));
        let died = match committed {
            Committed::Told => "",
            Committed::Alone => {
                self.log.warn(&format!(
                    "broker {pid} died before it knew that this one had everything; nothing is lost by that"
                ));
                ", which has died"
            }
        };
        let told = format!(
            "took over from broker {pid}{died}, with deposits: {deposits}, leases: {leases}"
        );
        self.records.took_over(Verdict::Granted, &told);
        Ok(true)
    }
}

/// What was shared so far of what decides who listens at a path.
#[derive(Default)]
struct Place {
    /// The listening socket, and what its file is.
    file: Option<(OwnedFd, (u64, u64))>,
    lock: Option<OwnedFd>,
    door: Option<OwnedFd>,
}
