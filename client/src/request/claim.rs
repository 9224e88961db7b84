//! What is asked about the ownership of a tag.

use std::os::fd::OwnedFd;
use std::time::Duration;

use fdbroker_wire::claim::{ClaimRequest, Claimed, Mode};
use fdbroker_wire::{Message, Tag};

use crate::core::claims::ClaimEffect;
use crate::core::outgoing::Outgoing;
use crate::request::{AnswerContext, Encoded, Request};
use crate::{Error, Feature, Operation};

/// The shortest time of a claim that can be asked for.
const SHORTEST: Duration = Duration::from_millis(1);

/// CLAIM.
#[derive(Debug)]
pub(crate) struct Claim {
    tag: Tag,
    message: Encoded,
}

/// RELEASE, READY or WITHDRAW.
#[derive(Debug)]
pub(crate) struct OfClaimed {
    operation: Operation,
    claim_effect: ClaimEffect,
    message: Encoded,
}

impl Claim {
    pub(crate) fn new(tag: Tag, mode: Mode, time: Duration) -> Self {
        Self::with(tag, mode, time, false)
    }

    /// Of one who settles, once the tag is its own.
    pub(crate) fn settling(tag: Tag, mode: Mode, time: Duration) -> Self {
        Self::with(tag, mode, time, true)
    }

    fn with(tag: Tag, mode: Mode, time: Duration, settle: bool) -> Self {
        let request = ClaimRequest::Claim { tag, mode, time: time.max(SHORTEST), settle };
        Self { tag, message: encoded(request) }
    }
}

impl Request for Claim {
    type Outcome = Claimed;

    fn operation(&self) -> Operation {
        Operation::Claim(self.tag)
    }

    fn feature(&self) -> Option<Feature> {
        Some(Feature::Claim)
    }

    fn claim_effect(&self) -> ClaimEffect {
        ClaimEffect::Claims(self.tag)
    }

    fn message(&self) -> Outgoing<'_> {
        self.message.outgoing()
    }

    fn take_answer(
        &mut self,
        answer: Message<OwnedFd>,
        context: &AnswerContext<'_>,
    ) -> Result<Option<Claimed>, Error> {
        let claimed = context.extended(self.operation(), answer, Claimed::from_extended)?;
        match claimed.tag == self.tag {
            true => Ok(Some(claimed)),
            false => Err(context.nonsense(self.operation())),
        }
    }
}

impl OfClaimed {
    pub(crate) fn release(tag: Tag) -> Self {
        let message = encoded(ClaimRequest::Release(tag));
        Self { operation: Operation::Release(tag), claim_effect: ClaimEffect::Needs(tag), message }
    }

    pub(crate) fn release_to(tag: Tag, claim: i32) -> Self {
        let message = encoded(ClaimRequest::ReleaseTo { tag, claim });
        Self { operation: Operation::Release(tag), claim_effect: ClaimEffect::Needs(tag), message }
    }

    pub(crate) fn ready(tag: Tag) -> Self {
        let message = encoded(ClaimRequest::Ready(tag));
        Self { operation: Operation::Ready(tag), claim_effect: ClaimEffect::Needs(tag), message }
    }

    pub(crate) fn withdraw(tag: Tag) -> Self {
        let message = encoded(ClaimRequest::Withdraw(tag));
        Self {
            operation: Operation::Withdraw(tag),
            claim_effect: ClaimEffect::Withdraws(tag),
            message,
        }
    }
}

impl Request for OfClaimed {
    type Outcome = ();

    fn operation(&self) -> Operation {
        self.operation.clone()
    }

    fn feature(&self) -> Option<Feature> {
        Some(Feature::Claim)
    }

    fn claim_effect(&self) -> ClaimEffect {
        self.claim_effect
    }

    fn message(&self) -> Outgoing<'_> {
        self.message.outgoing()
    }

    fn take_answer(
        &mut self,
        answer: Message<OwnedFd>,
        context: &AnswerContext<'_>,
    ) -> Result<Option<()>, Error> {
        context.done(self.operation(), answer).map(Some)
    }
}

fn encoded(request: ClaimRequest) -> Encoded {
    Encoded::new(request.into_extended())
}
