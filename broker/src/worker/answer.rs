//! What a peer is told, and what the administrator is told beyond it.

use std::io;
use std::rc::Rc;

use fdbroker_wire::claim::Claimed;
use fdbroker_wire::many::ManyAnswer;
use fdbroker_wire::version2::{Answer as Version2, Found, Listing, Report};
use fdbroker_wire::{Errno, Extended, Hello, Info, Slot, Tag, add_head, hello, info, reply};

use super::decision::Decision;
use super::deposit::Deposit;
use super::limits::loop_time::Turn;
use super::many::Got;
use super::outbox::Outbox;
use super::state::Worker;
use crate::fd::PeerFd;
use crate::log::Verdict;

/// The answer to one request.
pub(super) enum Answer {
    Done,
    Failed(Errno, String),
    Info(Info),
    Deposit(Rc<Deposit>),
    Resource(Slot, PeerFd),
    Hello(Hello),
    Found(Found),
    Listing(Listing),
    Report(Report),
    Claimed(Claimed),
    Got(Got),
    DoneMany(Tag, Vec<Result<(), Errno>>),
}

/// An answer that says no.
#[derive(PartialEq)]
pub(super) struct Failure {
    pub(super) verdict: Verdict,
    pub(super) errno: Errno,
    /// What the peer is told.
    pub(super) text: String,
    /// What the administrator is told.
    pub(super) reason: String,
}

/// The one sentence for every refusal by the policy: it tells nothing about the slot.
const REFUSED: &str = "refused";

impl Answer {
    /// Sends it.
    ///
    /// # Errors
    /// As [`Outbox::send`].
    pub(super) async fn send(&self, outbox: &mut Outbox) -> io::Result<()> {
        match self {
            Self::Done => outbox.send(&reply(0, "ok"), &[], &[]).await,
            Self::Failed(errno, text) => outbox.send(&reply(-errno.get(), text), &[], &[]).await,
            Self::Info(found) => outbox.send(&info(*found), &[], &[]).await,
            Self::Deposit(deposit) => {
                let head = add_head(deposit.slot, deposit.ufd, deposit.payload.len());
                let descriptor = deposit.descriptor.as_ref().and_then(PeerFd::descriptor);
                outbox.send(&head, &deposit.payload, descriptor.as_slice()).await
            }
            Self::Resource(slot, descriptor) => {
                // No process deposited it: 0 stands for the number it had.
                let head = add_head(*slot, 0, 0);
                outbox.send(&head, &[], descriptor.descriptor().as_slice()).await
            }
            Self::Hello(greeting) => outbox.send(&hello(*greeting), &[], &[]).await,
            Self::Found(found) => version2(outbox, Version2::Found(*found)).await,
            Self::Listing(listing) => version2(outbox, Version2::Listing(listing.clone())).await,
            Self::Report(report) => version2(outbox, Version2::Report(report.clone())).await,
            Self::Claimed(claimed) => {
                let message: Extended<PeerFd> = claimed.into_extended();
                outbox.send(&message.head(), &message.body, &[]).await
            }
            Self::Got(got) => got.send(outbox).await,
            Self::DoneMany(tag, outcomes) => {
                let outcomes = outcomes.clone();
                let answer = ManyAnswer::<PeerFd>::Done { tag: *tag, outcomes };
                let message = answer.into_extended();
                outbox.send(&message.head(), &message.body, &[]).await
            }
        }
    }
}

impl Answer {
    /// Undoes what was prepared for when it has been sent.
    pub(super) async fn not_sent(self, worker: &Worker) {
        if let Self::Got(got) = self {
            // Without a supervisor there is nothing to be undone.
            let _ = got.not_sent(worker).await;
        }
    }

    /// Does what was to be done once it has been sent; none when the supervisor has gone.
    pub(super) async fn sent(self, worker: &Worker, turn: &Turn) -> Option<()> {
        match self {
            Self::Got(got) => got.sent(worker, turn).await,
            _ => Some(()),
        }
    }
}

async fn version2(outbox: &mut Outbox, answer: Version2) -> io::Result<()> {
    let message: Extended<PeerFd> = answer.into_extended();
    outbox.send(&message.head(), &message.body, &[]).await
}

impl Failure {
    /// Refused by the policy.
    pub(super) fn refused(decision: &Decision<'_>) -> Self {
        Self::denied(&decision.reason)
    }

    /// Refused like by the policy, for this reason.
    pub(super) fn denied(reason: &str) -> Self {
        Self::new(Verdict::Refused, Errno::ACCES, REFUSED, reason)
    }

    /// Refused for a reason that the peer may know.
    pub(super) fn plain(errno: Errno, reason: &str) -> Self {
        Self::new(Verdict::Refused, errno, reason, reason)
    }

    /// Allowed, and nothing there.
    pub(super) fn absent() -> Self {
        Self::new(Verdict::Failed, Errno::NOENT, "the slot is empty", "the slot is empty")
    }

    /// Allowed, and cannot be done as things are.
    pub(super) fn in_vain(errno: Errno, reason: &str) -> Self {
        Self::new(Verdict::Failed, errno, reason, reason)
    }

    /// Allowed, and not opened.
    pub(super) fn not_opened(errno: Errno, reason: &str) -> Self {
        Self::new(Verdict::Failed, errno, "the resource cannot be opened", reason)
    }

    fn new(verdict: Verdict, errno: Errno, text: &str, reason: &str) -> Self {
        Self { verdict, errno, text: text.to_owned(), reason: reason.to_owned() }
    }
}
