//! Requests of which the answers have still to be understood, of every kind.

use std::os::fd::OwnedFd;

use fdbroker_wire::{Message, Slot};

use super::outcome::Outcome;
use crate::channel::Parcel;
use crate::question::claim::{Claim, OfClaimed};
use crate::question::many::{DelMany, GetMany};
use crate::question::slot::{Del, Get, HowMuch};
use crate::question::version2::{Find, List, Operate};
use crate::question::{Bond, Place, Question};
use crate::{Error, Operation};

/// A request that has been sent, or waits to be.
#[derive(Debug)]
pub(super) enum Asked {
    /// What it deposits belongs to who asked, and went with the parcel.
    Add(Slot),
    Get(Get),
    Del(Del),
    HowMuch(HowMuch),
    Find(Find),
    List(List),
    Operate(Operate),
    GetMany(GetMany),
    DelMany(DelMany),
    Claim(Claim),
    OfClaimed(OfClaimed),
}

/// Does the same to whatever question it is, but to a deposit.
macro_rules! whichever {
    ($asked:expr, $question:ident => $does:expr, $slot:ident => $adds:expr) => {
        match $asked {
            Asked::Add($slot) => $adds,
            Asked::Get($question) => $does,
            Asked::Del($question) => $does,
            Asked::HowMuch($question) => $does,
            Asked::Find($question) => $does,
            Asked::List($question) => $does,
            Asked::Operate($question) => $does,
            Asked::GetMany($question) => $does,
            Asked::DelMany($question) => $does,
            Asked::Claim($question) => $does,
            Asked::OfClaimed($question) => $does,
        }
    };
}

impl Asked {
    pub(super) fn operation(&self) -> Operation {
        whichever!(self, question => question.operation(), slot => Operation::Add(*slot))
    }

    pub(super) fn bond(&self) -> Bond {
        whichever!(self, question => question.bond(), _slot => Bond::Free)
    }

    /// What is to be sent next. A deposit takes one message, which has been sent.
    pub(super) fn parcel(&self) -> std::io::Result<Option<Parcel>> {
        whichever!(
            self,
            question => Parcel::of(question.request(), question.feature()).map(Some),
            _slot => Ok(None)
        )
    }

    pub(super) fn hear(
        &mut self,
        answer: Message<OwnedFd>,
        place: &Place<'_>,
    ) -> Result<Option<Outcome>, Error> {
        whichever!(
            self,
            question => question.hear(answer, place).map(|outcome| outcome.map(Outcome::from)),
            slot => place.done(Operation::Add(*slot), answer).map(|()| Some(Outcome::Done))
        )
    }
}
