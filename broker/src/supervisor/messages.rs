//! What a worker says, and what it is given: deposits to keep, resources to open, everything at
//! its start.

use std::io;
use std::sync::Arc;

use fdbroker_policy::{Durability, Uid};
use fdbroker_types::quoted;
use fdbroker_wire::{Control, Errno, Extended, Message, Opened, Slot};
use tokio::sync::mpsc::UnboundedSender;

use super::deposits::mirror::NO_MIRROR;
use super::deposits::takers::Taker;
use super::deposits::unclosed::{Closed, OpeningNotice};
use super::leases::{LeaseNumber, LeaseOffer};
use super::policy::reload::Asker;
use super::policy::source::Older;
use super::resources::caller::Caller;
use super::resources::entry::OpenAnswer;
use super::resources::failure::OpenFailure;
use super::resources::pool::stale;
use super::state::Supervisor;
use super::workers::link::Link;
use crate::fd::{Depositor, PeerFd, table};
use crate::payer::Payer;

/// Of how many deposits or connections the worker is told in one message.
const AT_ONCE: usize = 1024;

impl Supervisor {
    pub(crate) fn answer(
        &mut self,
        message: Message<PeerFd>,
        link: &mut Link,
        answers: &UnboundedSender<OpenAnswer>,
        served: &mut bool,
    ) -> Result<(), String> {
        match message {
            Message::Add(add) => {
                let slot = add.slot;
                let settings = self.source.policy.tag(slot.tag);
                let is_strict =
                    settings.is_some_and(|settings| settings.durability == Durability::Strict);
                let kept = self.deposits.keep(add, &self.source.payers, is_strict);
                if !kept {
                    self.log.error(&format!(
                        "the worker sent a deposit for slot {slot} without a record of its owner: \
                         refused; the worker may be compromised, look for how"
                    ));
                }
                link.reply(if kept { Ok(()) } else { Err(Errno::INVAL) });
            }
            Message::Del(slot) => {
                let found = self.deposits.forget(slot);
                link.reply(if found { Ok(()) } else { Err(Errno::NOENT) });
            }
            Message::Extended(message) => {
                return self.control(message, link, answers, served);
            }
            _ => return Err("it sent a message that only peers send".to_owned()),
        }
        Ok(())
    }

    fn control(
        &mut self,
        message: Extended<PeerFd>,
        link: &mut Link,
        answers: &UnboundedSender<OpenAnswer>,
        served: &mut bool,
    ) -> Result<(), String> {
        match Control::from_extended(message).map_err(|error| error.to_string())? {
            Control::Restore => self.restore(link).map_err(|error| error.to_string())?,
            Control::Open { generation, resource, ticket, uid, pid, process } => {
                if generation == self.source.generation {
                    let (uid, place, charge) = (Uid(uid), None, None);
                    let payer = self.source.payers.of(uid);
                    let (worker, unclosed) = (self.unclosed.worker(), self.unclosed.clone());
                    let question = self.opener.question(worker, ticket);
                    let caller = Caller {
                        ticket,
                        question,
                        uid,
                        payer,
                        pid,
                        process,
                        place,
                        charge,
                        worker,
                        unclosed,
                    };
                    self.opener.open(resource, caller, answers);
                } else {
                    // A closed channel means that the worker has gone, and its question with it.
                    let _ = answers.send(stale(ticket));
                }
            }
            Control::Left { ticket } => self.opener.withdraw(self.unclosed.worker(), ticket),
            Control::Reload { ticket } => self.reload(Asker::Session(ticket)),
            Control::InForce { generation } => self.in_force(generation),
            Control::Note { tag, pid, mut process } => {
                process.iter_mut().for_each(|process| process.move_to(Depositor::Nobody));
                self.deposits.note(tag, pid, process);
            }
            // Having come is all that it is to say.
            Control::Pong => {}
            Control::Connections { joined, left } => {
                self.connections.update(joined, &left)?;
                self.tell_closed(link);
            }
            Control::Taking { tag, indices, pid, process } => {
                let slots = indices.into_iter().map(|index| Slot { tag, index });
                let problem = self.deposits.note_taker(slots, pid, process);
                problem.into_iter().for_each(|problem| self.log.error(problem));
            }
            Control::Flood { uid } => {
                let payer = self.source.payers.of(Uid(uid));
                self.listener.shut_out(Uid(uid), payer, &self.log);
                self.tell_health(link);
            }
            Control::WantCloser { uid } => self.give_closer(Payer::named(uid), link),
            Control::Leases { ticket, after, of } => {
                let outcome = Ok(self.leases.report(LeaseNumber(after), of.map(Uid)));
                link.control(Control::Told { ticket, outcome });
            }
            Control::Durable { ticket, slot } if self.deposits.mirror.is_there() => {
                self.deposits.mirror.wait(ticket, slot);
            }
            Control::Durable { ticket, .. } => {
                let outcome = Err((Errno::OPNOTSUPP, NO_MIRROR.to_owned()));
                link.control(Control::Told { ticket, outcome });
            }
            Control::HereOnly { ticket, first, last } => {
                let slots = self.deposits.mirror.left_out_of(first..=last);
                let slots: Vec<_> = slots.iter().map(|slot| slot.to_string()).collect();
                link.control(Control::Told { ticket, outcome: Ok(slots.join(" ")) });
            }
            Control::EndLease { ticket, number, by, of_anybody } => {
                let outcome = self.leases.give_up(LeaseNumber(number), Uid(by), of_anybody);
                link.control(Control::Told { ticket, outcome });
            }
            Control::Suspect(slot) => self.quarantine.name(slot),
            // Else a broker that is told to stop would take over first, and end with everything.
            Control::Serving if self.reads_last_words => {}
            Control::Serving => {
                let is_held = self.commit()?;
                *served = true;
                if is_held {
                    link.listener(self.listener.share().map_err(|error| error.to_string())?);
                }
                if !self.readiness.is_told() {
                    self.log.info(&format!("serving {}", self.listener));
                    self.keep_first_policy();
                }
                let older = self.source.older.as_ref().map(Older::status);
                self.readiness.tell(older.as_deref(), &self.log);
                self.catch_up(link);
                self.tell_closed(link);
                self.tell_health(link);
            }
            _ => return Err("it sent a message that only the supervisor sends".to_owned()),
        }
        Ok(())
    }

    /// Keeps the policy that a worker serves under for the first time; an older one is kept already.
    fn keep_first_policy(&self) {
        if self.source.older.is_none() {
            self.keeper.keep(&self.source.texts);
        }
    }

    /// Sends a new worker everything it needs.
    fn restore(&mut self, link: &mut Link) -> io::Result<()> {
        self.deposits.give_back();
        self.deposits.mirror.forget_waiting();
        self.has_other_trail = false;
        link.control(Control::Setup(self.source.setup()));
        link.listener(self.listener.share()?);
        self.give_trail(link)?;
        for note in self.deposits.notes() {
            let process = Some(&*note.process);
            link.note(Control::Note { tag: note.tag, pid: note.pid, process }, &note.process);
        }
        for kept in self.deposits.all() {
            link.deposit(kept);
        }
        self.make_room();
        self.deposits.takers.all().for_each(|taker| give_taker(taker, link));
        for tally in self.unclosed.next_worker() {
            link.control(Control::Waiting(tally));
        }
        if self.succession.is_some() {
            link.control(Control::Hold);
        }
        link.control(Control::Restored);
        Ok(())
    }

    /// Forgets who takes something where the next worker's table has no room for that beside the deposits.
    fn make_room(&mut self) {
        let room = room_for_takers(self.deposits.descriptors());
        let takers = &mut self.deposits.takers;
        takers.forget_ended();
        let surplus = takers.forget_beyond(room);
        if surplus > 0 {
            self.log.error(&format!(
                "the limit of open descriptors is too low: deposits that were being taken can be \
                 handed out twice (processes taking them: {surplus}); raise LimitNOFILE="
            ));
        }
    }

    /// Sends the worker a closer, since `payer` left descriptors unread.
    fn give_closer(&mut self, payer: Payer, link: &mut Link) {
        if let Some(socket) =
            self.closers.start(&self.spawner, self.source.account(), payer, &self.log)
        {
            link.carry_own(Control::Closer, socket);
        }
    }

    /// Tells a worker that serves what has been closed.
    pub(crate) fn tell_closed(&self, link: &mut Link) {
        let Closed { tallies, removed, parted } = self.unclosed.take();
        tallies.into_iter().for_each(|tally| link.control(Control::Closed(tally)));
        for numbers in removed.chunks(AT_ONCE) {
            link.control(Control::Removed(numbers.to_vec()));
        }
        for numbers in parted.chunks(AT_ONCE) {
            link.control(Control::Parted(numbers.to_vec()));
        }
    }

    /// Tells the worker which changes outlive the broker, or never will.
    pub(crate) fn tell_durable(&self, link: &mut Link) {
        for (ticket, outcome) in self.deposits.mirror.answers() {
            link.control(Control::Told { ticket, outcome });
        }
    }

    fn begin_lease(&self, offer: LeaseOffer, opened: &Opened<PeerFd>) -> Result<(), OpenFailure> {
        let name = quoted(&offer.lease.resource).to_string();
        let descriptor = opened.descriptor().descriptor();
        let notice = Arc::clone(&offer.until_closed);
        let begun = descriptor.map_or(Err(io::ErrorKind::NotConnected.into()), |descriptor| {
            self.leases.begin(offer, descriptor)
        });
        begun.map_err(|error| {
            // The worker has charged nothing for it.
            notice.iter().for_each(OpeningNotice::is_refused);
            self.lease_failure(&name, &error)
        })
    }

    fn lease_failure(&self, name: &str, error: &io::Error) -> OpenFailure {
        let failed = format!("resource {name}: no lease of it can be kept");
        if error.raw_os_error() != Some(Errno::MFILE.get().into()) {
            return OpenFailure { errno: Errno::AGAIN, text: format!("{failed}: {error}") };
        }
        let text = format!(
            "{failed}: the broker's descriptor table is nearly full (leases: {}); end some (`fdbroker leases` lists \
             them), or raise LimitNOFILE=",
            self.leases.len()
        );
        OpenFailure { errno: Errno::MFILE, text }
    }

    pub(crate) fn pass_on(&self, answer: OpenAnswer, link: &mut Link) {
        let OpenAnswer { ticket, mut outcome, said, lease } = answer;
        if let (Ok(opened), Some(offer)) = (&outcome, lease)
            && let Err(failure) = self.begin_lease(offer, opened)
        {
            outcome = Err(failure);
        }
        match outcome {
            Ok(opened) => {
                said.iter().for_each(|said| self.log.info(said));
                let outcome = Ok(opened.borrowed());
                link.carry(Control::Opened { ticket, outcome }, Arc::clone(&opened));
            }
            Err(failure) => {
                said.iter().for_each(|said| self.log.error(said));
                let outcome = Err((failure.errno, failure.text));
                link.control(Control::Opened { ticket, outcome });
            }
        }
    }
}

/// Tells a new worker what a process takes. Its pidfd goes with the first tag only.
fn give_taker(taker: &Taker, link: &mut Link) {
    let pid = taker.pid;
    for (at, (tag, indices)) in taker.by_tag().into_iter().enumerate() {
        if at == 0 {
            let process = Some(&*taker.process);
            link.note(Control::Taking { tag, indices, pid, process }, &taker.process);
        } else {
            link.control(Control::Taking { tag, indices, pid, process: None });
        }
    }
}

/// How many processes a new worker can be told of, beside so many other descriptors. Half of what is left
/// stays for what it opens itself, and for its peers.
fn room_for_takers(others: usize) -> usize {
    usize::try_from(table::size()).unwrap_or(usize::MAX).saturating_sub(others) / 2
}
