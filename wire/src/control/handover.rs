//! What two supervisors say to each other when one takes over from the other, over a socket of their own.
//!
//! Beside these the predecessor sends each deposit as an ADD, and owners and takers as [`Control::Note`] and
//! [`Control::Taking`]: the latter always with the process.
//!
//! [`Control::Note`]: super::Control::Note
//! [`Control::Taking`]: super::Control::Taking

use super::Lease;
use super::malformed::Malformed;
use crate::Extended;
use crate::fields::{Body, Fields};

const ASK: i16 = 160;
const REFUSED: i16 = 161;
const LISTENER: i16 = 162;
const LOCK: i16 = 163;
const DOOR: i16 = 164;
const BEGIN: i16 = 165;
const STATE: i16 = 166;
const ASIDE: i16 = 167;
const COMPLETE: i16 = 168;
const COMMIT: i16 = 169;
const HOLDER: i16 = 170;
const LEASE: i16 = 171;
const WELCOME: i16 = 172;

/// A message between a broker that runs and one that takes over from it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Handover<F> {
    /// Successor: I am to take over, and speak this version. Its first message.
    Ask {
        /// See [`Handover::VERSION`].
        version: u32,
    },
    /// Predecessor: I go on, and why.
    Refused(String),
    /// Predecessor: you may ask. The answer to [`Handover::Ask`].
    Welcome {
        /// How many descriptors I would hand over now.
        descriptors: u32,
        /// The number of a descriptor of mine. What /proc calls it is to be told with [`Handover::Begin`]. None is
        /// negative.
        shown: i32,
    },
    /// Successor: all that I can do without your state is done.
    Begin {
        /// For how many descriptors I have room.
        room: u64,
        /// The name of the descriptor that was shown.
        name: String,
    },
    /// Predecessor: my worker has ended, and this is what I have. The first answer to [`Handover::Begin`].
    State {
        /// The number of this broker: see [`Setup::instance`](super::Setup::instance).
        instance: i64,
        /// How many descriptors follow.
        descriptors: u32,
        /// The highest number that a lease has had.
        last_lease: u64,
    },
    /// Predecessor: the socket that peers connect to, which nobody accepts from.
    Listener {
        /// The socket.
        socket: F,
        /// The device of the socket's file.
        device: u64,
        /// The inode of that file.
        inode: u64,
    },
    /// Predecessor: the locked file beside it.
    Lock(F),
    /// Predecessor: the socket at which I am asked all this.
    Door(F),
    /// Predecessor: the deposit that follows is set aside.
    Aside {
        /// Whether the next worker is to be given it.
        is_readmitted: bool,
    },
    /// Predecessor: the process (a pidfd) that has the lease that follows.
    Holder(F),
    /// Predecessor: a lease, and what was handed out on it.
    Lease(Lease, F),
    /// Predecessor: that was everything.
    Complete {
        /// How many deposits there were, those that are set aside included.
        deposits: u32,
    },
    /// Successor: all of it is mine from now on. Once this has been sent, the predecessor never serves again.
    Commit,
}

impl<F> Handover<F> {
    /// The version of all this. A predecessor refuses every other one.
    pub const VERSION: u32 = 3;

    /// The message as it is sent.
    pub fn into_extended(self) -> Extended<F> {
        let mut out = Body::default();
        let (op, descriptor) = match self {
            Self::Ask { version } => {
                out.u32(version);
                (ASK, None)
            }
            Self::Refused(why) => {
                out.string(&why);
                (REFUSED, None)
            }
            Self::Welcome { descriptors, shown } => {
                out.u32(descriptors).i32(shown);
                (WELCOME, None)
            }
            Self::Listener { socket, device, inode } => {
                out.u64(device).u64(inode);
                (LISTENER, Some(socket))
            }
            Self::Lock(file) => (LOCK, Some(file)),
            Self::Door(socket) => (DOOR, Some(socket)),
            Self::Begin { room, name } => {
                out.u64(room).string(&name);
                (BEGIN, None)
            }
            Self::State { instance, descriptors, last_lease } => {
                out.i64(instance).u32(descriptors).u64(last_lease);
                (STATE, None)
            }
            Self::Aside { is_readmitted } => {
                out.u32(u32::from(is_readmitted));
                (ASIDE, None)
            }
            Self::Holder(process) => (HOLDER, Some(process)),
            Self::Lease(lease, socket) => {
                out.lease(&lease);
                (LEASE, Some(socket))
            }
            Self::Complete { deposits } => {
                out.u32(deposits);
                (COMPLETE, None)
            }
            Self::Commit => (COMMIT, None),
        };
        let descriptors = descriptor.into_iter().collect();
        Extended { op, flags: 0, body: out.0.into(), descriptors }
    }

    /// Whether a message is of this kind.
    pub fn is(message: &Extended<F>) -> bool {
        (ASK..=WELCOME).contains(&message.op)
    }

    /// Reads a message.
    ///
    /// # Errors
    /// [`Malformed`] when it is none of these.
    pub fn from_extended(message: Extended<F>) -> Result<Self, Malformed> {
        let malformed = Malformed { op: message.op };
        Self::read(message).ok_or(malformed)
    }

    fn read(message: Extended<F>) -> Option<Self> {
        let Extended { op, body, mut descriptors, .. } = message;
        let (mut fields, descriptor) = (Fields(&body), descriptors.pop());
        Some(match op {
            ASK => Self::Ask { version: fields.u32()? },
            REFUSED => Self::Refused(fields.string()?),
            WELCOME => {
                let (descriptors, shown) = (fields.u32()?, fields.i32()?);
                Self::Welcome { descriptors, shown }
            }
            LISTENER => {
                let (device, inode) = (fields.u64()?, fields.u64()?);
                Self::Listener { socket: descriptor?, device, inode }
            }
            LOCK => Self::Lock(descriptor?),
            DOOR => Self::Door(descriptor?),
            BEGIN => Self::Begin { room: fields.u64()?, name: fields.string()? },
            STATE => Self::State {
                instance: fields.i64()?,
                descriptors: fields.u32()?,
                last_lease: fields.u64()?,
            },
            ASIDE => Self::Aside { is_readmitted: fields.u32()? != 0 },
            HOLDER => Self::Holder(descriptor?),
            LEASE => Self::Lease(fields.lease()?, descriptor?),
            COMPLETE => Self::Complete { deposits: fields.u32()? },
            COMMIT => Self::Commit,
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Described, Relay, Slot};

    fn lease(session: Option<u64>, expires: Option<u64>) -> Lease {
        let peer = "tcp:192.0.2.7:5432".to_owned();
        Lease {
            number: 1 << 40,
            resource: "orders".to_owned(),
            slot: Slot::new(1, 5).unwrap(),
            connection: Described { relay: Relay::Ktls, peer, session },
            uid: 7,
            pid: 8,
            since: 9,
            expires,
        }
    }

    #[test]
    fn each_message_is_read_as_it_was_written() {
        let all = [
            Handover::Ask { version: 7 },
            Handover::Refused("no".to_owned()),
            Handover::Welcome { descriptors: 7, shown: -1 },
            Handover::Listener { socket: 1, device: 1 << 33, inode: 1 << 40 },
            Handover::Lock(2),
            Handover::Door(3),
            Handover::Begin { room: 1 << 33, name: "memory".to_owned() },
            Handover::State { instance: -5, descriptors: 6, last_lease: 1 << 40 },
            Handover::Aside { is_readmitted: true },
            Handover::Holder(4),
            Handover::Lease(lease(None, None), 5),
            Handover::Lease(lease(Some(815), Some(10)), 5),
            Handover::Complete { deposits: 8 },
            Handover::Commit,
        ];
        for message in all {
            let sent = message.clone().into_extended();
            assert!(Handover::is(&sent));
            assert_eq!(Handover::from_extended(sent), Ok(message));
        }
    }

    #[test]
    fn what_lacks_its_descriptor_or_a_field_is_refused() {
        let sent = Handover::<()>::Listener { socket: (), device: 1, inode: 2 }.into_extended();
        let bare = Extended { descriptors: Vec::new(), ..sent };
        assert_eq!(Handover::from_extended(bare), Err(Malformed { op: LISTENER }));
        let short = Extended { op: STATE, flags: 0, body: [0; 8][..].into(), descriptors: vec![] };
        assert_eq!(Handover::<()>::from_extended(short), Err(Malformed { op: STATE }));
    }
}
