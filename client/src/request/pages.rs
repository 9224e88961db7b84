//! LEASES and INSPECT, as often as there are more.

use std::os::fd::OwnedFd;

use fdbroker_wire::Message;
use fdbroker_wire::version2::{Inspected, Request as WireRequest};

use super::version2::encoded;
use crate::core::outgoing::Outgoing;
use crate::request::{AnswerContext, Encoded, Request};
use crate::{Error, Feature, Operation};

/// What a line begins with that is no lease. Behind it is nothing.
const NOTE: char = '#';

/// Its outcome is a line for each; among leases also a note, where only the user's own are told.
#[derive(Debug)]
pub(crate) struct Pages {
    asked: Asked,
    /// The number of the last one that was told.
    last: u64,
    message: Encoded,
    told: String,
}

#[derive(Clone, Copy, Debug)]
enum Asked {
    Leases,
    Inspect(Inspected),
}

impl Pages {
    pub(crate) fn leases() -> Self {
        Self::of(Asked::Leases)
    }

    pub(crate) fn inspect(what: Inspected) -> Self {
        Self::of(Asked::Inspect(what))
    }

    fn of(asked: Asked) -> Self {
        Self { asked, last: 0, message: asked.after(0), told: String::new() }
    }

    fn take_page(&mut self, page: &str, context: &AnswerContext<'_>) -> Result<(), Error> {
        for line in page.lines().filter(|line| !self.asked.is_note(line)) {
            self.last =
                self.asked.number(line).filter(|number| *number > self.last).ok_or_else(|| {
                    context.protocol(self.operation(), "its lines are out of order")
                })?;
        }
        self.told.push_str(page);
        self.message = self.asked.after(self.last);
        Ok(())
    }
}

impl Asked {
    /// The question for those behind the one with this number.
    fn after(self, after: u64) -> Encoded {
        encoded(match self {
            Self::Leases => WireRequest::Leases { after },
            Self::Inspect(what) => WireRequest::Inspect { what, after },
        })
    }

    /// The number of what a line is about.
    fn number(self, line: &str) -> Option<u64> {
        let (before, behind) = match self {
            Self::Leases => ("lease=", &[' '][..]),
            Self::Inspect(_) => ("{\"at\":", &[',', '}'][..]),
        };
        line.strip_prefix(before)?.split(behind).next()?.parse().ok()
    }

    fn is_note(self, line: &str) -> bool {
        matches!(self, Self::Leases) && line.starts_with(NOTE)
    }
}

impl Request for Pages {
    type Outcome = String;

    fn operation(&self) -> Operation {
        match self.asked {
            Asked::Leases => Operation::Leases,
            Asked::Inspect(what) => Operation::Inspect(what),
        }
    }

    fn feature(&self) -> Option<Feature> {
        Some(match self.asked {
            Asked::Leases => Feature::Operate,
            Asked::Inspect(_) => Feature::Inspect,
        })
    }

    fn message(&self) -> Outgoing<'_> {
        self.message.outgoing()
    }

    fn take_answer(
        &mut self,
        answer: Message<OwnedFd>,
        context: &AnswerContext<'_>,
    ) -> Result<Option<String>, Error> {
        let page = context.told(self.operation(), answer)?;
        self.take_page(&page, context)?;
        let is_last = page.is_empty() || page.lines().any(|line| self.asked.is_note(line));
        Ok(is_last.then(|| std::mem::take(&mut self.told)))
    }
}
