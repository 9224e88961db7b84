//! What is asked about the ownership of a tag.

use std::os::fd::OwnedFd;
use std::time::Duration;

use fdbroker_wire::claim::{ClaimRequest, Claimed, Mode};
use fdbroker_wire::{Message, Tag};

use crate::question::{Bond, Place, Question, Sealed};
use crate::transfer::Request;
use crate::{Error, Feature, Operation};

/// The shortest time of a claim that can be asked for.
const SHORTEST: Duration = Duration::from_millis(1);

/// CLAIM.
#[derive(Debug)]
pub(crate) struct Claim {
    tag: Tag,
    message: Sealed,
}

/// RELEASE, READY or WITHDRAW.
#[derive(Debug)]
pub(crate) struct OfClaimed {
    operation: Operation,
    bond: Bond,
    message: Sealed,
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
        Self { tag, message: sealed(request) }
    }
}

impl Question for Claim {
    type Outcome = Claimed;

    fn operation(&self) -> Operation {
        Operation::Claim(self.tag)
    }

    fn feature(&self) -> Option<Feature> {
        Some(Feature::Claim)
    }

    fn bond(&self) -> Bond {
        Bond::Claims(self.tag)
    }

    fn request(&self) -> Request<'_> {
        self.message.request()
    }

    fn hear(
        &mut self,
        answer: Message<OwnedFd>,
        place: &Place<'_>,
    ) -> Result<Option<Claimed>, Error> {
        let claimed = place.extended(self.operation(), answer, Claimed::from_extended)?;
        match claimed.tag == self.tag {
            true => Ok(Some(claimed)),
            false => Err(place.nonsense(self.operation())),
        }
    }
}

impl OfClaimed {
    pub(crate) fn release(tag: Tag) -> Self {
        let message = sealed(ClaimRequest::Release(tag));
        Self { operation: Operation::Release(tag), bond: Bond::Claimed(tag), message }
    }

    pub(crate) fn release_to(tag: Tag, claim: i32) -> Self {
        let message = sealed(ClaimRequest::ReleaseTo { tag, claim });
        Self { operation: Operation::Release(tag), bond: Bond::Claimed(tag), message }
    }

    pub(crate) fn ready(tag: Tag) -> Self {
        let message = sealed(ClaimRequest::Ready(tag));
        Self { operation: Operation::Ready(tag), bond: Bond::Claimed(tag), message }
    }

    pub(crate) fn withdraw(tag: Tag) -> Self {
        let message = sealed(ClaimRequest::Withdraw(tag));
        Self { operation: Operation::Withdraw(tag), bond: Bond::Withdraws(tag), message }
    }
}

impl Question for OfClaimed {
    type Outcome = ();

    fn operation(&self) -> Operation {
        self.operation.clone()
    }

    fn feature(&self) -> Option<Feature> {
        Some(Feature::Claim)
    }

    fn bond(&self) -> Bond {
        self.bond
    }

    fn request(&self) -> Request<'_> {
        self.message.request()
    }

    fn hear(&mut self, answer: Message<OwnedFd>, place: &Place<'_>) -> Result<Option<()>, Error> {
        place.done(self.operation(), answer).map(Some)
    }
}

fn sealed(request: ClaimRequest) -> Sealed {
    Sealed::new::<OwnedFd>(request.into_extended())
}
