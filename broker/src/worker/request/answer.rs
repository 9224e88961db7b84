//! What a peer is told, and what the administrator is told beyond it.

use std::io;
use std::rc::Rc;

use fdbroker_wire::claim::Claimed;
use fdbroker_wire::many::ManyAnswer;
use fdbroker_wire::version2::{Answer as Version2, Found, Listing, Report};
use fdbroker_wire::{
    Errno, Extended, Hello, Info, Opened, Slot, Tag, add_head, hello, info, reply,
};

use super::batch::{BatchReply, Takes};
use super::error::Denial;
use crate::fd::PeerFd;
use crate::worker::peer::outbox::Outbox;
use crate::worker::store::deposit::Deposit;

/// The answer to one request.
pub(crate) enum Answer {
    Done,
    Failed(Denial),
    Info(Info),
    Deposit(Rc<Deposit>),
    Resource(Slot, Box<Opened<PeerFd>>),
    Hello(Hello),
    Found(Found),
    Listing(Listing),
    Report(Report),
    Claimed(Claimed),
    Got(Box<BatchReply>),
    DoneMany(Tag, Vec<Result<(), Errno>>),
}

impl Answer {
    /// Returns what is to be committed now that it has been sent, or called off if it has not.
    pub(crate) fn into_takes(self) -> Option<Takes> {
        match self {
            Self::Got(reply) => Some(reply.takes),
            _ => None,
        }
    }

    /// Sends it.
    ///
    /// # Errors
    /// As [`Outbox::send`].
    pub(crate) async fn send(&self, outbox: &mut Outbox) -> io::Result<()> {
        match self {
            Self::Done => outbox.send(&reply(0, "ok"), &[], &[]).await,
            Self::Failed(Denial { errno, text }) => {
                outbox.send(&reply(-errno.get(), text), &[], &[]).await
            }
            Self::Info(found) => outbox.send(&info(*found), &[], &[]).await,
            Self::Deposit(deposit) => {
                let head = add_head(deposit.slot, deposit.ufd, deposit.payload.len());
                let descriptor = deposit.descriptor.as_ref().and_then(PeerFd::descriptor);
                outbox.send(&head, &deposit.payload, descriptor.as_slice()).await
            }
            Self::Resource(slot, opened) => {
                // No process deposited it: 0 stands for the number it had.
                let head = add_head(*slot, 0, opened.payload().len());
                let descriptor = opened.descriptor().descriptor();
                outbox.send(&head, opened.payload(), descriptor.as_slice()).await?;
                opened.descriptor().shut_when_closed(false);
                Ok(())
            }
            Self::Hello(greeting) => outbox.send(&hello(*greeting), &[], &[]).await,
            Self::Found(found) => version2(outbox, Version2::Found(*found)).await,
            Self::Listing(listing) => version2(outbox, Version2::Listing(listing.clone())).await,
            Self::Report(report) => version2(outbox, Version2::Report(report.clone())).await,
            Self::Claimed(claimed) => {
                let message: Extended<PeerFd> = claimed.into_extended();
                outbox.send(&message.head(), &message.body, &[]).await
            }
            Self::Got(reply) => reply.send(outbox).await,
            Self::DoneMany(tag, outcomes) => {
                let outcomes = outcomes.clone();
                let answer = ManyAnswer::<PeerFd>::Done { tag: *tag, outcomes };
                let message = answer.into_extended();
                outbox.send(&message.head(), &message.body, &[]).await
            }
        }
    }
}

async fn version2(outbox: &mut Outbox, answer: Version2) -> io::Result<()> {
    let message: Extended<PeerFd> = answer.into_extended();
    outbox.send(&message.head(), &message.body, &[]).await
}
