//! LEASES, as often as there are more.

use std::os::fd::OwnedFd;

use fdbroker_wire::Message;
use fdbroker_wire::version2::{Answer, Request as WireRequest};

use super::version2::encoded;
use crate::core::outgoing::Outgoing;
use crate::request::{AnswerContext, Encoded, Request};
use crate::{Error, Feature, Operation};

/// What a line begins with that is no lease. Behind it is nothing.
const NOTE: char = '#';

/// Its outcome is a line for each lease, and maybe a note.
#[derive(Debug)]
pub(crate) struct Leases {
    /// The number of the last one that was told.
    last: u64,
    message: Encoded,
    told: String,
}

impl Leases {
    pub(crate) fn new() -> Self {
        Self { last: 0, message: after(0), told: String::new() }
    }

    fn take_page(&mut self, page: &str, context: &AnswerContext<'_>) -> Result<(), Error> {
        for line in page.lines().filter(|line| !line.starts_with(NOTE)) {
            self.last = number(line)
                .filter(|number| *number > self.last)
                .ok_or_else(|| context.protocol(self.operation(), "the leases are out of order"))?;
        }
        self.told.push_str(page);
        self.message = after(self.last);
        Ok(())
    }
}

impl Request for Leases {
    type Outcome = String;

    fn operation(&self) -> Operation {
        Operation::Leases
    }

    fn feature(&self) -> Option<Feature> {
        Some(Feature::Operate)
    }

    fn message(&self) -> Outgoing<'_> {
        self.message.outgoing()
    }

    fn take_answer(
        &mut self,
        answer: Message<OwnedFd>,
        context: &AnswerContext<'_>,
    ) -> Result<Option<String>, Error> {
        let page = match context.read(self.operation(), answer)? {
            Answer::Report(report) => context.told(self.operation(), report)?,
            _ => return Err(context.nonsense(self.operation())),
        };
        self.take_page(&page, context)?;
        let is_last = page.is_empty() || page.lines().any(|line| line.starts_with(NOTE));
        Ok(is_last.then(|| std::mem::take(&mut self.told)))
    }
}

fn after(after: u64) -> Encoded {
    encoded(WireRequest::Leases { after })
}

/// The number of the lease that a line is about.
fn number(line: &str) -> Option<u64> {
    line.strip_prefix("lease=")?.split(' ').next()?.parse().ok()
}
