//! What only worker and supervisor say to each other, over their private socket pair.
//!
//! Beside these the two speak the ordinary protocol: the worker deposits with ADD and DEL, and
//! gets every deposit back as an ADD after [`Control::Restore`]. These messages use opcodes
//! from 96 up, which no peer is ever served.

mod account;
mod described;
mod handover;
mod lease;
mod malformed;
mod opened;
mod setup;
mod values;

pub use self::account::{DepositNumber, Joined, Tally};
pub use self::described::{Described, Relay};
pub use self::handover::Handover;
pub use self::lease::Lease;
pub use self::malformed::Malformed;
pub use self::opened::Opened;
pub use self::setup::{Account, KnownName, NameKind, PolicyText, Setup, Subordinates};
use crate::fields::{Body, Fields};
use crate::opcode::{CLOSER, OPENED};
use crate::{Errno, Extended, Index, Slot, Tag};

const RESTORE: i16 = 96;
const SETUP: i16 = 97;
const LISTENER: i16 = 98;
const NOTE: i16 = 99;
const RESTORED: i16 = 100;
const OPEN: i16 = 101;
const SERVING: i16 = 103;
const CLOSED: i16 = 104;
const POLICY: i16 = 105;
const RELOAD: i16 = 106;
const RELOADED: i16 = 107;
const IN_FORCE: i16 = 108;
const TRAIL: i16 = 109;
const PING: i16 = 110;
const PONG: i16 = 111;
const CONNECTIONS: i16 = 112;
const SUSPECT: i16 = 113;
const HEALTH: i16 = 114;
const TAKING: i16 = 115;
const PARTED: i16 = 116;
const WAITING: i16 = 117;
const REMOVED: i16 = 119;
const LEASES: i16 = 120;
const END_LEASE: i16 = 121;
const TOLD: i16 = 122;
const FLOOD: i16 = 123;
const HOLD: i16 = 124;
const DURABLE: i16 = 125;
const HERE_ONLY: i16 = 126;
const LEFT: i16 = 127;

/// A message between worker and supervisor.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Control<F> {
    /// Worker: send me everything, I am new.
    Restore,
    /// Supervisor: what you are to work with. The first answer to [`Control::Restore`].
    Setup(Setup),
    /// Supervisor: the socket to accept peers on.
    Listener(F),
    /// The process (a pidfd) that owns a serial tag, or that nobody does any more. The supervisor
    /// keeps the last one of each tag and sends them again on [`Control::Restore`].
    Note {
        /// The serial tag.
        tag: Tag,
        /// The owner's process id, as the worker's namespace numbers it.
        pid: i32,
        /// The owner itself; `None` if the tag is free.
        process: Option<F>,
    },
    /// Supervisor, before [`Control::Restored`]: accept nobody until the listening socket comes once more.
    Hold,
    /// Supervisor: that was everything.
    Restored,
    /// Worker: open a resource, by its position in the policy.
    Open {
        /// Of which policy: see [`Setup::generation`]. When that is not the supervisor's any more, the
        /// answer is ESTALE, and the newer policy was sent before it.
        generation: u32,
        /// Which.
        resource: u32,
        /// What the answer is to carry; chosen by the worker.
        ticket: u32,
        /// For whom, on whose account my copy is closed.
        uid: u32,
        /// The process that asked, as the worker's namespace numbers it.
        pid: i32,
        /// The process itself (a pidfd), where the kernel names it.
        process: Option<F>,
    },
    /// Worker: the caller of an [`Control::Open`] has left. It is answered at once, and a connection that is being
    /// made for it is given up.
    Left {
        /// The question's.
        ticket: u32,
    },
    /// Supervisor: the answer to an [`Control::Open`].
    Opened {
        /// The question's.
        ticket: u32,
        /// What was opened, or why nothing was.
        outcome: Result<Opened<F>, (Errno, String)>,
    },
    /// Worker: peers are being served.
    Serving,
    /// Supervisor, before [`Control::Restored`]: of a user, deposits that were replaced or deleted,
    /// connections that have ended, and resources that were opened, of which my copy has still to be
    /// closed. They were on an earlier worker's account.
    Waiting(Tally),
    /// Supervisor: my copies of so many resources that were opened for a user have been closed, and of
    /// so many deposits and connections among those in [`Control::Waiting`].
    Closed(Tally),
    /// Supervisor: the policy to go on with from now on.
    Policy(Setup),
    /// Worker: read the policy again.
    Reload {
        /// What the answer is to carry; chosen by the worker.
        ticket: u32,
    },
    /// Supervisor: the answer to a [`Control::Reload`].
    Reloaded {
        /// The question's.
        ticket: u32,
        /// The generation of the policy that the supervisor has now. When the outcome is good, the
        /// worker was sent it before this.
        generation: u32,
        /// What there is to say, or why the old policy stays in force.
        outcome: Result<String, (Errno, String)>,
    },
    /// Worker: requests are decided by this policy now.
    InForce {
        /// See [`Setup::generation`].
        generation: u32,
    },
    /// Supervisor: the audit file to append to from now on.
    Trail(F),
    /// Supervisor: answer this, so that I know that you do not hang.
    Ping,
    /// Worker: the answer to a [`Control::Ping`].
    Pong,
    /// Worker: connections that I have now, and those that have ended. When the worker is gone, the
    /// supervisor shuts them down: a thread of it that sleeps in the kernel can keep them open.
    Connections {
        /// Accepted since the last message.
        joined: Vec<Joined<F>>,
        /// The numbers of those that have ended.
        left: Vec<u32>,
    },
    /// Supervisor: my duplicates of these connections, which have ended, are closed.
    Parted(Vec<u32>),
    /// Worker: I am about to end by a fault of mine, in the middle of a request on this slot.
    Suspect(Slot),
    /// Supervisor: my copies of these deposits, which were replaced or deleted, have been closed.
    Removed(Vec<DepositNumber>),
    /// Worker: which leases are there?
    Leases {
        /// What the answer is to carry; chosen by the worker.
        ticket: u32,
        /// Only those with greater numbers.
        after: u64,
        /// Only those of this user; without, of all.
        of: Option<u32>,
    },
    /// Worker: end a lease.
    EndLease {
        /// What the answer is to carry; chosen by the worker.
        ticket: u32,
        /// Which.
        number: u64,
        /// Who says so.
        by: u32,
        /// Whether it may be another user's.
        of_anybody: bool,
    },
    /// Worker: tell me when the last change of this slot outlives both of us.
    Durable {
        /// What the answer is to carry; chosen by the worker.
        ticket: u32,
        /// Which.
        slot: Slot,
    },
    /// Worker: which deposits are lost when the broker ends, although a service manager keeps others?
    HereOnly {
        /// What the answer is to carry; chosen by the worker.
        ticket: u32,
        /// From this slot,
        first: Slot,
        /// to this one.
        last: Slot,
    },
    /// Supervisor: the answer to [`Control::Leases`], [`Control::EndLease`], [`Control::Durable`], and
    /// [`Control::HereOnly`], which is answered with slots.
    Told {
        /// The question's.
        ticket: u32,
        /// What there is to say, or why it was not done.
        outcome: Result<String, (Errno, String)>,
    },
    /// A process is about to take the deposits of some slots, or, without a process, nobody is any
    /// more. The supervisor keeps this until the slot changes or the process ends, and sends it
    /// again on [`Control::Restore`]: the process with the first of its tags only.
    Taking {
        /// The tag.
        tag: Tag,
        /// Which of its slots.
        indices: Vec<Index>,
        /// The process's id, as the worker's namespace numbers it.
        pid: i32,
        /// The process itself (a pidfd). Without: nobody takes them any more, or, from the supervisor,
        /// it is the process of the message before.
        process: Option<F>,
    },
    /// Worker: very many connections of a user come to nothing; keep it from connecting for a while.
    Flood {
        /// Which.
        uid: u32,
    },
    /// Worker: I need a closer.
    WantCloser {
        /// Who left descriptors unread in a connection.
        uid: u32,
    },
    /// Supervisor, to a [`Control::WantCloser`]: the end of a socket pair at which a closer reads. A message
    /// there is a uid, in four bytes of this machine's order, and a connection to be closed on that user's
    /// account; or a byte: I have closed my own descriptor of the last one.
    Closer(F),
    /// Supervisor: what the status is to say of it, in lines of `key=value`.
    Health(String),
}

impl<F> Control<F> {
    /// The message as it is sent.
    pub fn into_extended(self) -> Extended<F> {
        let mut out = Body::default();
        let (op, descriptor) = match self {
            Self::Connections { joined, left } => {
                let descriptors = out.connections(joined, &left);
                return Extended { op: CONNECTIONS, flags: 0, body: out.0.into(), descriptors };
            }
            Self::Opened { ticket, outcome } => {
                let descriptors = out.u32(ticket).opened(outcome);
                return Extended { op: OPENED, flags: 0, body: out.0.into(), descriptors };
            }
            Self::Restore => (RESTORE, None),
            Self::Setup(setup) => {
                out.setup(&setup);
                (SETUP, None)
            }
            Self::Listener(socket) => (LISTENER, Some(socket)),
            Self::Note { tag, pid, process } => {
                out.u32(u32::from(tag.get().unsigned_abs())).u32(pid.unsigned_abs());
                (NOTE, process)
            }
            Self::Hold => (HOLD, None),
            Self::Restored => (RESTORED, None),
            Self::Open { generation, resource, ticket, uid, pid, process } => {
                out.u32(generation).u32(resource).u32(ticket).u32(uid).u32(pid.unsigned_abs());
                (OPEN, process)
            }
            Self::Left { ticket } => {
                out.u32(ticket);
                (LEFT, None)
            }
            Self::Leases { ticket, after, of } => {
                out.u32(ticket).u64(after).u32(u32::from(of.is_some())).u32(of.unwrap_or(0));
                (LEASES, None)
            }
            Self::EndLease { ticket, number, by, of_anybody } => {
                out.u32(ticket).u64(number).u32(u32::from(of_anybody)).u32(by);
                (END_LEASE, None)
            }
            Self::Durable { ticket, slot } => {
                out.u32(ticket).slot(slot);
                (DURABLE, None)
            }
            Self::HereOnly { ticket, first, last } => {
                out.u32(ticket).slot(first);
                out.slot(last);
                (HERE_ONLY, None)
            }
            Self::Told { ticket, outcome } => {
                out.u32(ticket).told(outcome);
                (TOLD, None)
            }
            Self::Serving => (SERVING, None),
            Self::Waiting(tally) => {
                out.tally(tally);
                (WAITING, None)
            }
            Self::Closed(tally) => {
                out.tally(tally);
                (CLOSED, None)
            }
            Self::Policy(setup) => {
                out.setup(&setup);
                (POLICY, None)
            }
            Self::Reload { ticket } => {
                out.u32(ticket);
                (RELOAD, None)
            }
            Self::Reloaded { ticket, generation, outcome } => {
                out.u32(ticket).u32(generation).told(outcome);
                (RELOADED, None)
            }
            Self::InForce { generation } => {
                out.u32(generation);
                (IN_FORCE, None)
            }
            Self::Trail(file) => (TRAIL, Some(file)),
            Self::Flood { uid } => {
                out.u32(uid);
                (FLOOD, None)
            }
            Self::WantCloser { uid } => {
                out.u32(uid);
                (CLOSER, None)
            }
            Self::Closer(socket) => (CLOSER, Some(socket)),
            Self::Ping => (PING, None),
            Self::Pong => (PONG, None),
            Self::Suspect(slot) => {
                out.slot(slot);
                (SUSPECT, None)
            }
            Self::Taking { tag, indices, pid, process } => {
                out.u32(u32::from(tag.get().unsigned_abs())).u32(pid.unsigned_abs());
                for index in indices {
                    out.u32(index.get().unsigned_abs());
                }
                (TAKING, process)
            }
            Self::Health(lines) => {
                out.string(&lines);
                (HEALTH, None)
            }
            Self::Removed(numbers) => {
                for number in numbers {
                    out.u64(number.0);
                }
                (REMOVED, None)
            }
            Self::Parted(numbers) => {
                for number in numbers {
                    out.u32(number);
                }
                (PARTED, None)
            }
        };
        let descriptors = descriptor.into_iter().collect();
        Extended { op, flags: 0, body: out.0.into(), descriptors }
    }

    /// Reads a message.
    ///
    /// # Errors
    /// [`Malformed`] when it is none of this channel's.
    pub fn from_extended(message: Extended<F>) -> Result<Self, Malformed> {
        let malformed = Malformed { op: message.op };
        Self::read(message).ok_or(malformed)
    }

    fn read(message: Extended<F>) -> Option<Self> {
        let Extended { op, body, mut descriptors, .. } = message;
        let mut fields = Fields(&body);
        if op == CONNECTIONS {
            let (joined, left) = fields.connections(descriptors)?;
            return Some(Self::Connections { joined, left });
        }
        if op == OPENED {
            let (ticket, outcome) = (fields.u32()?, fields.opened(descriptors)?);
            return Some(Self::Opened { ticket, outcome });
        }
        let descriptor = descriptors.pop();
        Some(match op {
            RESTORE => Self::Restore,
            SETUP => Self::Setup(fields.setup()?),
            LISTENER => Self::Listener(descriptor?),
            NOTE => Self::Note {
                tag: fields.tag()?,
                pid: i32::try_from(fields.u32()?).ok()?,
                process: descriptor,
            },
            HOLD => Self::Hold,
            RESTORED => Self::Restored,
            OPEN => Self::Open {
                generation: fields.u32()?,
                resource: fields.u32()?,
                ticket: fields.u32()?,
                uid: fields.u32()?,
                pid: i32::try_from(fields.u32()?).ok()?,
                process: descriptor,
            },
            LEFT => Self::Left { ticket: fields.u32()? },
            LEASES => {
                let (ticket, after, of_one) = (fields.u32()?, fields.u64()?, fields.u32()? != 0);
                Self::Leases { ticket, after, of: Some(fields.u32()?).filter(|_| of_one) }
            }
            END_LEASE => Self::EndLease {
                ticket: fields.u32()?,
                number: fields.u64()?,
                of_anybody: fields.u32()? != 0,
                by: fields.u32()?,
            },
            DURABLE => Self::Durable { ticket: fields.u32()?, slot: fields.slot()? },
            HERE_ONLY => Self::HereOnly {
                ticket: fields.u32()?,
                first: fields.slot()?,
                last: fields.slot()?,
            },
            TOLD => Self::Told { ticket: fields.u32()?, outcome: fields.told()? },
            SERVING => Self::Serving,
            WAITING => Self::Waiting(fields.tally()?),
            CLOSED => Self::Closed(fields.tally()?),
            POLICY => Self::Policy(fields.setup()?),
            RELOAD => Self::Reload { ticket: fields.u32()? },
            RELOADED => Self::Reloaded {
                ticket: fields.u32()?,
                generation: fields.u32()?,
                outcome: fields.told()?,
            },
            IN_FORCE => Self::InForce { generation: fields.u32()? },
            TRAIL => Self::Trail(descriptor?),
            FLOOD => Self::Flood { uid: fields.u32()? },
            CLOSER => match descriptor {
                Some(socket) => Self::Closer(socket),
                None => Self::WantCloser { uid: fields.u32()? },
            },
            PING => Self::Ping,
            PONG => Self::Pong,
            SUSPECT => Self::Suspect(fields.slot()?),
            HEALTH => Self::Health(fields.string()?),
            REMOVED => Self::Removed(fields.deposits_to_the_end()?),
            PARTED => Self::Parted(fields.numbers_to_the_end()?),
            TAKING => Self::Taking {
                tag: fields.tag()?,
                pid: i32::try_from(fields.u32()?).ok()?,
                indices: fields.indices_to_the_end()?,
                process: descriptor,
            },
            _ => return None,
        })
    }
}
