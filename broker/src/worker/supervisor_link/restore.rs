//! A worker's first steps: ask the supervisor for everything, and give up privilege as soon as
//! it has said whom to become.
//!
//! Blocking and single-threaded, before the event loop exists.

use std::io::IoSlice;
use std::os::fd::{AsFd, OwnedFd};

use fdbroker_wire::{Add, Control, Decoder, Index, Limits, Message, Slot, Tag, Tally};
use rustix::event::PollFlags;
use zeroize::Zeroize;

use crate::fd::{CloseQueue, Depositor, PeerFd};
use crate::look::wait_for;
use crate::sandbox::credentials;
use crate::sys::receive::receive;
use crate::transmit::transmit;
use crate::worker::policy::active::Rules;

/// All that a worker begins with.
pub(crate) struct Restored {
    pub(crate) link: OwnedFd,
    pub(crate) instance: i64,
    pub(crate) sees_units: bool,
    pub(crate) rules: Rules,
    pub(crate) listener: OwnedFd,
    /// Nobody is accepted until the listening socket comes once more.
    pub(crate) is_held: bool,
    /// The audit file, where there is one.
    pub(crate) trail: Option<OwnedFd>,
    pub(crate) deposits: Vec<Add<PeerFd>>,
    pub(crate) notes: Vec<Note>,
    pub(crate) takes: Vec<Take>,
    /// What users had, and the supervisor has still to close.
    pub(crate) waiting: Vec<Tally>,
}

/// What was being taken when the last worker died, and by whom.
pub(crate) struct Take<F = PeerFd> {
    pub(crate) slots: Vec<Slot>,
    pub(crate) pid: i32,
    pub(crate) process: F,
}

fn slots(tag: Tag, indices: Vec<Index>) -> impl Iterator<Item = Slot> {
    indices.into_iter().map(move |index| Slot { tag, index })
}

/// Who owned a serial tag when the last worker died.
pub(crate) struct Note<F = PeerFd> {
    pub(crate) tag: Tag,
    pub(crate) pid: i32,
    pub(crate) process: F,
}

/// What has arrived so far.
pub(crate) struct Arrived<F> {
    instance: i64,
    sees_units: bool,
    rules: Option<Rules>,
    listener: Option<OwnedFd>,
    is_held: bool,
    trail: Option<OwnedFd>,
    pub(crate) deposits: Vec<Add<F>>,
    notes: Vec<Note<F>>,
    takes: Vec<Take<F>>,
    waiting: Vec<Tally>,
    complete: bool,
}

/// Restores a worker from the supervisor at the other end of `link`.
pub(crate) fn from(link: OwnedFd, close_queue: &CloseQueue) -> Result<Restored, String> {
    let question = Control::<OwnedFd>::Restore.into_extended();
    transmit(link.as_fd(), &[IoSlice::new(&question.head())], &[])
        .map_err(|error| format!("the supervisor cannot be asked: {error}"))?;
    let mut arrived = Arrived::default();
    let mut decoder = Decoder::new(Limits::CONTROL);
    let mut chunk = vec![0; 64 * 1024];
    while !arrived.complete {
        read(&link, &mut chunk, &mut decoder, close_queue)?;
        while let Some(message) = decoder.message() {
            arrived.take(message.map_err(|fault| fault.reason.to_owned())?)?;
        }
    }
    Ok(Restored {
        link,
        instance: arrived.instance,
        sees_units: arrived.sees_units,
        rules: arrived.rules.ok_or("the supervisor sent no policy")?,
        listener: arrived.listener.ok_or("the supervisor sent no listening socket")?,
        is_held: arrived.is_held,
        trail: arrived.trail,
        deposits: arrived.deposits,
        notes: arrived.notes,
        takes: arrived.takes,
        waiting: arrived.waiting,
    })
}

fn read(
    link: &OwnedFd,
    chunk: &mut [u8],
    decoder: &mut Decoder<PeerFd>,
    close_queue: &CloseQueue,
) -> Result<(), String> {
    let failed = |error: std::io::Error| format!("the supervisor cannot be read: {error}");
    wait_for(link, PollFlags::IN).map_err(failed)?;
    let hold = |descriptor| close_queue.hold(Depositor::Nobody, descriptor);
    let received = receive(link.as_fd(), chunk, hold).map_err(failed)?;
    if received.length == 0 {
        return Err("the supervisor has gone".to_owned());
    }
    let bytes = &mut chunk[..received.length];
    decoder.feed(bytes, received.descriptors, false);
    bytes.zeroize();
    if received.truncated {
        return Err("the limit of open descriptors is too low for the deposits".to_owned());
    }
    Ok(())
}

impl<F> Default for Arrived<F> {
    fn default() -> Self {
        Self {
            instance: 0,
            sees_units: false,
            rules: None,
            listener: None,
            is_held: false,
            trail: None,
            deposits: Vec::new(),
            notes: Vec::new(),
            takes: Vec::new(),
            waiting: Vec::new(),
            complete: false,
        }
    }
}

impl<F: Into<Option<OwnedFd>>> Arrived<F> {
    pub(crate) fn take(&mut self, message: Message<F>) -> Result<(), String> {
        match message {
            Message::Add(add) => self.deposits.push(add),
            Message::Extended(message) => {
                let control = Control::from_extended(message).map_err(|error| error.to_string())?;
                self.take_control(control)?;
            }
            _ => return Err("the supervisor sent a message that only peers send".to_owned()),
        }
        Ok(())
    }

    pub(crate) fn take_control(&mut self, control: Control<F>) -> Result<(), String> {
        match control {
            Control::Setup(setup) => {
                credentials::give_up(setup.account)
                    .map_err(|error| format!("cannot give up privileges: {error}"))?;
                self.instance = setup.instance;
                self.sees_units = setup.sees_units;
                self.rules = Some(Rules::read(setup)?);
            }
            // These two are the broker's own.
            Control::Trail(file) => self.trail = file.into(),
            Control::Listener(listener) => self.listener = listener.into(),
            Control::Note { tag, pid, process: Some(process) } => {
                self.notes.push(Note { tag, pid, process });
            }
            Control::Taking { tag, indices, pid, process: Some(process) } => {
                self.takes.push(Take { slots: slots(tag, indices).collect(), pid, process });
            }
            Control::Taking { tag, indices, process: None, .. } => {
                let last = self.takes.last_mut().ok_or(
                    "the supervisor did not name the process that \
                        takes",
                )?;
                last.slots.extend(slots(tag, indices));
            }
            Control::Waiting(tally) => self.waiting.push(tally),
            Control::Hold => self.is_held = true,
            Control::Restored => self.complete = true,
            _ => return Err("the supervisor sent a message that only workers send".to_owned()),
        }
        Ok(())
    }
}
