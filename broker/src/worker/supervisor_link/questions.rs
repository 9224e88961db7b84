//! What the supervisor has been asked and has not answered yet: resources to be opened, and policies to be read.
//! Each question has a ticket, which its answer carries.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;

use fdbroker_policy::{Opening, Uid};
use fdbroker_wire::{Errno, Opened};
use tokio::sync::{Notify, oneshot};

use super::openings::Openings;
use crate::fd::{Depositor, PeerFd};
use crate::payer::Payer;
use crate::worker::limits::quota::OpeningCharge;

/// The result of opening a resource.
pub(crate) type OpenOutcome = Result<Opened<PeerFd>, (Errno, String)>;

/// The result of a reload.
pub(crate) struct Reloaded {
    pub(crate) generation: u32,
    pub(crate) outcome: Result<String, (Errno, String)>,
}

/// What there is to say, or why something was not done.
pub(crate) type Told = Result<String, (Errno, String)>;

/// Who waits for an answer.
#[derive(Default)]
pub(crate) struct Questions {
    opening: RefCell<HashMap<u32, Waiter>>,
    reloading: RefCell<HashMap<u32, oneshot::Sender<Reloaded>>>,
    asking: RefCell<HashMap<u32, oneshot::Sender<Told>>>,
    next_ticket: Cell<u32>,
    /// Questions for resources whose requests have ended, of which the supervisor is to be told.
    left: RefCell<Vec<u32>>,
    has_left: Notify,
    /// What has been opened, and the supervisor has still to close.
    pub(crate) openings: Openings,
}

/// A question for a resource whose request still waits. If this is dropped before the answer, the question is withdrawn.
pub(super) struct Asked<'a> {
    questions: &'a Questions,
    ticket: u32,
}

/// A request that waits for a resource.
///
/// The charge stays until the supervisor has answered, whether or not the request still waits. An
/// opened resource has its place in the table on it until it is closed.
struct Waiter {
    answer: oneshot::Sender<OpenOutcome>,
    opening: Opening,
    uid: Uid,
    payer: Payer,
    charge: OpeningCharge,
}

impl Waiter {
    fn tell(self, outcome: OpenOutcome, openings: &Openings) {
        let Self { answer, opening, uid, payer, charge } = self;
        let is_for_one = opening == Opening::PerRequest;
        if outcome.is_ok() && is_for_one {
            openings.opened(uid, charge.kept());
        }
        // Also what nobody waits for any more is closed on this user's account.
        let outcome = outcome.map(|opened| {
            opened.map(|mut descriptor| {
                descriptor.move_to(Depositor::Opened(payer));
                descriptor.keep_until_closed(charge.opened());
                // A connection that reaches nobody ends, and so does its lease.
                descriptor.shut_when_closed(is_for_one);
                descriptor
            })
        });
        // The request may have ended.
        let _ = answer.send(outcome);
    }
}

impl Drop for Asked<'_> {
    fn drop(&mut self) {
        let Self { questions, ticket } = self;
        if questions.opening.borrow().contains_key(ticket) {
            questions.left.borrow_mut().push(*ticket);
            questions.has_left.notify_one();
        }
    }
}

impl Questions {
    /// Returns the ticket of a question for a resource, and what receives the answer.
    pub(super) fn open(
        &self,
        opening: Opening,
        (uid, payer): (Uid, Payer),
        charge: OpeningCharge,
    ) -> (u32, oneshot::Receiver<OpenOutcome>) {
        let (answer, opened) = oneshot::channel();
        let ticket = self.ticket();
        self.opening.borrow_mut().insert(ticket, Waiter { answer, opening, uid, payer, charge });
        (ticket, opened)
    }

    /// A question for a resource that can be withdrawn was sent.
    pub(super) fn asked(&self, ticket: u32) -> Asked<'_> {
        Asked { questions: self, ticket }
    }

    /// Returns the tickets of questions whose requests have ended, once there are any. Can be dropped.
    pub(super) async fn left(&self) -> Vec<u32> {
        loop {
            let left = self.left.take();
            if !left.is_empty() {
                return left;
            }
            self.has_left.notified().await;
        }
    }

    /// A question for a resource was not sent.
    pub(super) fn withdraw(&self, ticket: u32) {
        self.opening.borrow_mut().remove(&ticket);
    }

    /// Returns the ticket of a question for another policy, and what receives the answer.
    pub(super) fn reload(&self) -> (u32, oneshot::Receiver<Reloaded>) {
        let (answer, reloaded) = oneshot::channel();
        let ticket = self.ticket();
        self.reloading.borrow_mut().insert(ticket, answer);
        (ticket, reloaded)
    }

    /// Returns the ticket of another question, and what receives the answer.
    pub(super) fn ask(&self) -> (u32, oneshot::Receiver<Told>) {
        let (answer, told) = oneshot::channel();
        let ticket = self.ticket();
        self.asking.borrow_mut().insert(ticket, answer);
        (ticket, told)
    }

    fn ticket(&self) -> u32 {
        self.next_ticket.replace(self.next_ticket.get().wrapping_add(1))
    }

    /// A resource was opened, or was not. If its request has ended, it is closed here.
    pub(crate) fn opened(&self, ticket: u32, outcome: OpenOutcome) {
        let waiter = self.opening.borrow_mut().remove(&ticket);
        if let Some(waiter) = waiter {
            waiter.tell(outcome, &self.openings);
        }
    }

    /// Everybody who waits for a resource has to ask again.
    pub(crate) fn forget_opening(&self) {
        self.opening.borrow_mut().clear();
    }

    /// A question was answered. Its request may have ended.
    pub(crate) fn told(&self, ticket: u32, outcome: Told) {
        let waiter = self.asking.borrow_mut().remove(&ticket);
        let _ = waiter.map(|waiter| waiter.send(outcome));
    }

    /// The policy was read again. The request for it may have ended.
    pub(crate) fn reloaded(&self, ticket: u32, outcome: Reloaded) {
        let waiter = self.reloading.borrow_mut().remove(&ticket);
        let _ = waiter.map(|waiter| waiter.send(outcome));
    }
}

#[cfg(test)]
mod tests {
    use fdbroker_policy::Settings;

    use super::*;
    use crate::fd::CloseQueue;
    use crate::opening_cost::OpeningCost;
    use crate::worker::limits::quota::Quotas;

    const USER: Payer = Payer::named(7);

    fn opening(quotas: &Quotas) -> OpeningCharge {
        quotas.opening(USER, OpeningCost::LEAST).unwrap()
    }

    fn opened(close_queue: &CloseQueue, others: usize) -> Opened<PeerFd> {
        let descriptor = || close_queue.hold(USER, std::io::pipe().unwrap().0.into());
        let others = (0..others).map(|_| descriptor()).collect();
        Opened::new(descriptor(), others, b"what it is".as_slice().into()).unwrap()
    }

    #[tokio::test]
    async fn a_resource_reaches_its_caller_with_all_that_it_brings() {
        let (questions, close_queue) = (Questions::default(), CloseQueue::new());
        let quotas = Quotas::new(&Settings::default(), 4096);
        let (ticket, answer) =
            questions.open(Opening::PerRequest, (USER.uid(), USER), opening(&quotas));
        questions.opened(ticket, Ok(opened(&close_queue, 3)));
        let opened = answer.await.unwrap().unwrap();
        assert_eq!((&opened.payload()[..], opened.descriptors().count()), (&b"what it is"[..], 4));
    }

    #[tokio::test]
    async fn a_question_is_withdrawn_if_its_request_ends_before_the_answer() {
        let (questions, close_queue) = (Questions::default(), CloseQueue::new());
        let quotas = Quotas::new(&Settings::default(), 4096);
        let ask = || {
            let charge = opening(&quotas);
            questions.open(Opening::PerRequest, (USER.uid(), USER), charge)
        };
        let (answered, _answer) = ask();
        let asked = questions.asked(answered);
        questions.opened(answered, Ok(opened(&close_queue, 0)));
        drop(asked);
        let (leaves, _answer) = ask();
        drop(questions.asked(leaves));
        assert_eq!(questions.left().await, [leaves]);
    }

    #[test]
    fn every_descriptor_that_a_resource_brings_is_charged_to_its_user() {
        let (questions, close_queue) = (Questions::default(), CloseQueue::new());
        // So small that four are more than the share of one user.
        let quotas = Quotas::new(&Settings::default(), 64);
        let (ticket, mut answer) =
            questions.open(Opening::PerRequest, (USER.uid(), USER), opening(&quotas));
        questions.opened(ticket, Ok(opened(&close_queue, 3)));
        let held = answer.try_recv().unwrap();
        assert!(quotas.may_open(USER, OpeningCost::LEAST).is_err());
        drop(held);
    }
}
