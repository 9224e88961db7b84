//! Who wrote what comes in on a connection: the process that made it, or another.
//!
//! The kernel says the writer's pid with each message. That it is the connecting process's pid makes
//! the writer that process only if it has not ended since: afterwards another process may have got the
//! number. The process's end is an event; where that may come too late, the process is asked for.

use std::cell::OnceCell;
use std::fmt;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::rc::Rc;

use fdbroker_host::is_alive;

use super::Identity;
use crate::process_number;
use crate::sys::receive::{Received, Sender};
use crate::sys::socket::tell_writers;
use crate::sys::watch::{Ending, Watched};
use crate::worker::limits::quota::{BroughtCharge, Reader};

/// Who wrote a message.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Writer {
    /// The process that connected.
    Own,
    /// One process that is not known to be the one that connected.
    Other(Other),
    /// More than one.
    Several,
    /// The kernel did not say.
    Unknown,
}

/// A process that is not known to be the one that connected.
#[derive(Clone, Debug)]
pub(crate) struct Other {
    pub(crate) sender: Sender,
    /// The process itself, where the kernel names it.
    pub(crate) process: Option<Rc<Named>>,
}

/// A process that the kernel named, on the account of the user on whose connection it wrote: it is kept
/// until its bytes have been decoded.
pub(crate) struct Named {
    process: OwnedFd,
    _charge: BroughtCharge,
}

impl AsFd for Named {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.process.as_fd()
    }
}

impl fmt::Debug for Named {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.process.fmt(f)
    }
}

/// Tells who wrote what is read on one connection.
pub(crate) struct Writers {
    identity: Rc<Identity>,
    stream: Rc<Watched>,
    ending: Option<Ending>,
    /// The kernel names the process with each message from now on.
    named: bool,
    /// The number of the process that connected; see [`process_number`].
    number: OnceCell<Option<u64>>,
    /// Nothing was left to read after the last time. So the event loop announced what is read next.
    /// Before that it announced the end of any process that had ended before that was written.
    drained: bool,
}

impl Writers {
    pub(crate) fn new(identity: Rc<Identity>, stream: Rc<Watched>) -> Self {
        let process = identity.process.as_ref().map(Rc::clone);
        // Without, every message is another writer's.
        let ending = process.and_then(|process| Ending::new(process).ok());
        // All processes of foreign pid namespaces have the same number here.
        let named = identity.pid == 0 && tell_writers(stream.as_fd());
        Self { identity, stream, ending, named, number: OnceCell::new(), drained: false }
    }

    /// What is read next need not have been announced.
    pub(crate) fn not_drained(&mut self) {
        self.drained = false;
    }

    /// The kernel said that there was nothing to read; what comes will be announced.
    pub(crate) fn drained(&mut self) {
        self.drained = true;
    }

    /// Who wrote what has just been read. Whom the kernel names is kept on this account.
    pub(crate) fn of<F>(&mut self, received: &mut Received<F>, account: &Reader) -> Writer {
        let announced = std::mem::replace(&mut self.drained, received.was_all());
        let Some(sender) = received.sender else { return Writer::Unknown };
        let process = received.process.take();
        if self.identity.has_numbers_of(&sender) && self.is_own(process.as_ref(), announced) {
            return Writer::Own;
        }
        if !self.named {
            // This one is looked up by its number. Of those that follow none can pass for another.
            self.named = tell_writers(self.stream.as_fd());
        }
        let named = process.map(|process| Rc::new(Named { process, _charge: account.charge() }));
        Writer::Other(Other { sender, process: named })
    }

    /// Whether a writer with the numbers of the process that connected is that process.
    fn is_own(&self, process: Option<&OwnedFd>, announced: bool) -> bool {
        let (Some(own), Some(ending)) = (&self.identity.process, &self.ending) else {
            return false;
        };
        if self.named
            && let Some(number) = *self.number.get_or_init(|| process_number::number(own))
        {
            return process.and_then(process_number::number) == Some(number);
        }
        // Alive after the message was written, so it has had its number all along.
        !ending.was_told() && (announced || is_alive(own.as_fd()))
    }
}

impl PartialEq for Other {
    /// Whether nothing tells one from the other.
    fn eq(&self, other: &Self) -> bool {
        let number = |one: &Self| one.process.as_ref().and_then(process_number::number);
        self.sender == other.sender && number(self) == number(other)
    }
}

impl Eq for Other {}
