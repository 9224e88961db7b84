//! A request that has been sent or waits to be, whichever it is.

use std::io;
use std::os::fd::OwnedFd;

use fdbroker_wire::Message;

use super::outcome::Outcome;
use crate::core::claims::ClaimEffect;
use crate::request::{AnswerContext, Request};
use crate::transport::channel::OwnedRequest;
use crate::{Error, Operation};

/// A [`Request`], with its outcome as one among all.
pub(super) trait Pending {
    fn operation(&self) -> Operation;

    fn claim_effect(&self) -> ClaimEffect;

    /// The message to send now.
    ///
    /// # Errors
    /// Those of fcntl(2): this process has no room for duplicates of its descriptors.
    fn message(&self) -> io::Result<OwnedRequest>;

    /// See [`Request::take_answer`].
    fn take_answer(
        &mut self,
        answer: Message<OwnedFd>,
        context: &AnswerContext<'_>,
    ) -> Result<Option<Outcome>, Error>;
}

impl<R: Request> Pending for R
where
    Outcome: From<R::Outcome>,
{
    fn operation(&self) -> Operation {
        Request::operation(self)
    }

    fn claim_effect(&self) -> ClaimEffect {
        Request::claim_effect(self)
    }

    fn message(&self) -> io::Result<OwnedRequest> {
        OwnedRequest::of(&Request::message(self), self.feature())
    }

    fn take_answer(
        &mut self,
        answer: Message<OwnedFd>,
        context: &AnswerContext<'_>,
    ) -> Result<Option<Outcome>, Error> {
        Request::take_answer(self, answer, context).map(|outcome| outcome.map(Outcome::from))
    }
}
