//! What the supervisor sends to a running worker.

use std::io::{self, ErrorKind};

use fdbroker_wire::{Control, Decoder, Fault, Limits, Message, opcode};

use crate::fd::{Depositor, PeerFd};
use crate::sys::receive::receive;
use crate::sys::watch::Watched;
use crate::worker::state::Worker;
use crate::worker::supervisor_link::questions::Reloaded;

/// Reads what the supervisor sends, until it has gone.
///
/// # Errors
/// When it does not speak the protocol, or the socket fails.
pub(crate) async fn run_reader(worker: &Worker, link: &Watched) -> io::Result<()> {
    let mut decoder = Decoder::new(Limits::CONTROL);
    let mut chunk = vec![0; 16 * 1024];
    loop {
        // What comes too late for its peer is on nobody's account.
        let hold = |descriptor| worker.close_queue.hold(Depositor::Nobody, descriptor);
        let received = link.read(|link| receive(link, &mut chunk, hold)).await?;
        if received.length == 0 {
            return Ok(());
        }
        let bytes = &chunk[..received.length];
        decoder.feed(bytes, received.descriptors, received.truncated);
        while let Some(message) = decoder.message() {
            match message {
                Ok(message) => take(worker, message)?,
                Err(fault) => lose(worker, Lost::with(decoder.opcode(), fault)?),
            }
        }
    }
}

/// What can be lost with a message, since it is asked for again.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Lost {
    Opening,
    Closer,
}

impl Lost {
    /// What is lost with a message of this opcode.
    ///
    /// # Errors
    /// When nobody would ask for it again, a listening socket say: the next worker is given it.
    fn with(opcode: Option<i16>, fault: Fault) -> io::Result<Self> {
        match opcode {
            Some(opcode::OPENED) if !fault.fatal => Ok(Self::Opening),
            Some(opcode::CLOSER) if !fault.fatal => Ok(Self::Closer),
            _ => Err(invalid(&format!(
                "a message of the supervisor cannot be read: {}",
                fault.reason
            ))),
        }
    }
}

fn lose(worker: &Worker, lost: Lost) {
    match lost {
        // Whose it was, nobody knows now: all are to ask again.
        Lost::Opening => {
            worker.log().error(NO_ROOM);
            worker.link.questions.forget_opening();
        }
        // It has ended with its link.
        Lost::Closer => worker.closers.want(),
    }
}

fn take(worker: &Worker, message: Message<PeerFd>) -> io::Result<()> {
    match message {
        Message::Reply(reply) => settle(worker, reply.rc),
        Message::Extended(message) => match Control::from_extended(message) {
            Ok(Control::Opened { ticket, outcome }) => {
                worker.link.questions.opened(ticket, outcome)
            }
            Ok(Control::Reloaded { ticket, generation, outcome }) => {
                worker.link.questions.reloaded(ticket, Reloaded { generation, outcome });
            }
            Ok(Control::Told { ticket, outcome }) => worker.link.questions.told(ticket, outcome),
            // It fails when this worker ends.
            Ok(Control::Policy(setup)) => drop(worker.coming.send(setup)),
            Ok(Control::Trail(file)) => {
                file.into_inner().into_iter().for_each(|file| worker.audit.go_on_in(file));
            }
            // It fails when this worker ends.
            Ok(Control::Listener(socket)) => drop(worker.listeners.send(socket)),
            Ok(Control::Closed(tally)) => {
                worker.link.copies.closed(tally);
                worker.connections.closed(tally);
                worker.link.questions.openings.closed(tally);
            }
            Ok(Control::Removed(numbers)) => worker.link.copies.removed(&numbers),
            Ok(Control::Closer(link)) => worker.closers.keep(link),
            Ok(Control::Parted(numbers)) => worker.connections.parted(&numbers),
            Ok(Control::Ping) => {
                worker.heartbeat.hear();
                worker.freed.give_back();
            }
            Ok(Control::Health(lines)) => drop(worker.health.replace(lines)),
            Ok(_) => {
                return Err(invalid(
                    "the supervisor sent a message that only a new worker is \
                sent",
                ));
            }
            Err(error) => return Err(invalid(&error.to_string())),
        },
        _ => return Err(invalid("the supervisor sent a message that only peers send")),
    }
    Ok(())
}

/// An ADD or DEL has been answered.
fn settle(worker: &Worker, rc: i16) {
    if let Some(slot) = worker.link.copies.settle(rc, &worker.slots.borrow()) {
        worker.log().error(&format!(
            "the supervisor could not keep a copy of slot {slot} (error {}): until a retry \
             succeeds, the deposit does not outlive this worker; raise LimitNOFILE= if this persists",
            -rc
        ));
    }
}

const NO_ROOM: &str = "a resource was opened, but the worker's descriptor table is full: the \
callers that wait for it have to ask again; raise LimitNOFILE= of the broker";

fn invalid(problem: &str) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, problem.to_owned())
}

#[cfg(test)]
mod tests {
    use fdbroker_wire::Opened;

    use super::*;

    /// What is lost where the descriptor of such a message found no room.
    fn lost(control: Control<()>) -> io::Result<Lost> {
        let mut decoder = Decoder::<()>::new(Limits::CONTROL);
        decoder.feed(&Message::Extended(control.into_extended()).to_bytes(), [], true);
        let fault = decoder.message().unwrap().unwrap_err();
        assert!(!fault.fatal);
        Lost::with(decoder.opcode(), fault)
    }

    #[test]
    fn what_nobody_would_ask_for_again_ends_the_worker_when_there_is_no_room_for_it() {
        assert_eq!(
            lost(Control::Opened { ticket: 1, outcome: Ok(Opened::one(())) }).unwrap(),
            Lost::Opening
        );
        assert_eq!(lost(Control::Closer(())).unwrap(), Lost::Closer);
        for control in [Control::Listener(()), Control::Trail(())] {
            let error = lost(control).unwrap_err();
            assert!(error.to_string().ends_with("read: no room for the descriptor"), "{error}");
        }
    }
}
