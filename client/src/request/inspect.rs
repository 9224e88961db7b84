//! INSPECT, as often as there are more.

use std::os::fd::OwnedFd;

use fdbroker_wire::Message;
use fdbroker_wire::version2::{Answer, Inspected, Request as WireRequest};

use super::version2::encoded;
use crate::core::outgoing::Outgoing;
use crate::request::{AnswerContext, Encoded, Request};
use crate::{Error, Feature, Operation};

/// Its outcome is a line of JSON for each.
#[derive(Debug)]
pub(crate) struct Inspect {
    what: Inspected,
    /// The number of the last one that was told.
    last: u64,
    message: Encoded,
    told: String,
}

impl Inspect {
    pub(crate) fn new(what: Inspected) -> Self {
        Self { what, last: 0, message: after(what, 0), told: String::new() }
    }

    fn take_page(&mut self, page: &str, context: &AnswerContext<'_>) -> Result<(), Error> {
        for line in page.lines() {
            self.last = number(line)
                .filter(|number| *number > self.last)
                .ok_or_else(|| context.protocol(self.operation(), "the lines are out of order"))?;
        }
        self.told.push_str(page);
        self.message = after(self.what, self.last);
        Ok(())
    }
}

impl Request for Inspect {
    type Outcome = String;

    fn operation(&self) -> Operation {
        Operation::Inspect(self.what)
    }

    fn feature(&self) -> Option<Feature> {
        Some(Feature::Inspect)
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
        if page.is_empty() {
            return Ok(Some(std::mem::take(&mut self.told)));
        }
        self.take_page(&page, context).map(|()| None)
    }
}

fn after(what: Inspected, after: u64) -> Encoded {
    encoded(WireRequest::Inspect { what, after })
}

/// The number of what a line is about.
fn number(line: &str) -> Option<u64> {
    line.strip_prefix("{\"at\":")?.split([',', '}']).next()?.parse().ok()
}
