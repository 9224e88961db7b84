//! What the fuzz targets reach of this crate; there only when it is built for them.

use fdbroker_wire::claim::Event;

use crate::core::{Core, Ticket};
use crate::upgrader::payload::Found;

/// A conversation with a broker, without I/O.
#[derive(Debug)]
pub struct Conversation<F>(Core<F>);

/// An answer to the request of this number: the bytes of the message with its descriptors; `None`
/// if a descriptor found no room.
pub type Answered<F> = (u64, Option<fdbroker_wire::Message<F>>);

impl<F> Default for Conversation<F> {
    fn default() -> Self {
        Self(Core::new())
    }
}

impl<F> Conversation<F> {
    /// Sends a request; returns its number, counted from 0.
    pub fn ask(&mut self) -> u64 {
        self.0.ask().number()
    }

    /// Nobody waits for this answer any more.
    pub fn give_up(&mut self, request: u64) {
        self.0.give_up(Ticket::numbered(request));
    }

    /// How many requests have not been answered.
    pub fn waiting(&self) -> u64 {
        self.0.waiting()
    }

    /// Takes the bytes and descriptors of one recvmsg(2).
    pub fn feed(&mut self, bytes: &[u8], descriptors: Vec<F>, truncated: bool) {
        self.0.feed(bytes, descriptors, truncated);
    }

    /// Returns the next answer that somebody waits for.
    ///
    /// # Errors
    /// What is wrong with the answer.
    pub fn answer(&mut self) -> Result<Option<Answered<F>>, &'static str> {
        let answered = self.0.answer()?;
        Ok(answered.map(|(ticket, answer)| (ticket.number(), answer.ok())))
    }

    /// The oldest event that has not been taken.
    pub fn event(&mut self) -> Option<Event> {
        self.0.event()
    }
}

/// Reads the payload of an upgrader's deposit, and returns it as it would be written. `None` if it
/// is not such a payload, or cannot be understood.
pub fn payload(bytes: &[u8]) -> Option<Vec<u8>> {
    match Found::read(bytes) {
        Found::Record(record) => Some(record.to_bytes()),
        Found::Unreadable(_) | Found::Foreign => None,
    }
}
