//! What the fuzz targets reach of the worker; there only when it is built for them.

use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::rc::Rc;
use std::time::Duration;

use fdbroker_wire::claim::{Event, Mode, State};
use fdbroker_wire::{Control, Decoder, Limits, Message, Tag};
use tokio::sync::oneshot::Receiver;

use super::identity::Identity;
use super::ownership::claim::{Claim, End};
use super::ownership::participant::Participant;
use super::ownership::tag::{Acquisition, OwnerId, TagOwnership};
use super::policy::active::Rules;
use super::supervisor_link::restore::Arrived;

/// How long every claim may take: longer than a run of a target.
const TIME: Duration = Duration::from_secs(3600);

/// One tag and a few sessions, each called by its number. A session that waits for its turn asks
/// nothing else, as in the worker; one that leaves is followed by another of the same number.
pub struct Ownership {
    tag: Tag,
    ownership: TagOwnership,
    identity: Rc<Identity>,
    sessions: Vec<Session>,
    next_session: u64,
    next_claim: i32,
}

struct Session {
    participant: Rc<Participant>,
    waits: Option<Receiver<bool>>,
}

impl Ownership {
    /// A tag that nobody owns.
    ///
    /// # Panics
    /// When this process has no socket left.
    pub fn new(sessions: usize) -> Self {
        let (ours, _theirs) = UnixStream::pair().expect("a socket pair");
        let identity = Rc::new(Identity::of(&ours, true).expect("its identity"));
        let tag = Tag::new(1).expect("it is a tag");
        let ownership = TagOwnership::free(tag);
        let mut this =
            Self { tag, ownership, identity, sessions: Vec::new(), next_session: 0, next_claim: 0 };
        for _ in 0..sessions {
            let session = this.session();
            this.sessions.push(session);
        }
        this
    }

    fn session(&mut self) -> Session {
        self.next_session += 1;
        let participant = Rc::new(Participant::new(self.next_session, Rc::clone(&self.identity)));
        Session { participant, waits: None }
    }

    fn participant(&self, session: usize) -> Rc<Participant> {
        Rc::clone(&self.sessions[session].participant)
    }

    /// A request that changes nothing takes its turn. Returns whether the turn has come, or `None`
    /// if the request is refused before it waits.
    pub fn turn(&mut self, session: usize) -> Option<bool> {
        let participant = self.participant(session);
        self.ownership.check_ownership(&participant, false, true).ok()?;
        Some(match self.ownership.turn(&participant) {
            Acquisition::Mine { .. } => true,
            Acquisition::Wait(turn) => {
                self.sessions[session].waits = Some(turn);
                false
            }
        })
    }

    /// Whether a session waits for its turn.
    pub fn waits(&self, session: usize) -> bool {
        self.sessions[session].waits.is_some()
    }

    /// Whether the turn of a session that waits has come, which then waits no more.
    pub fn has_turn(&mut self, session: usize) -> bool {
        let come =
            self.sessions[session].waits.as_mut().is_some_and(|turn| turn.try_recv().is_ok());
        if come {
            self.sessions[session].waits = None;
        }
        come
    }

    /// CLAIM; returns the claim's number and state, or `None` if it is refused.
    pub fn claim(&mut self, session: usize, mode: Mode, settle: bool) -> Option<(i32, State)> {
        let participant = self.participant(session);
        self.ownership.may_claim(&participant, mode).ok()?;
        self.next_claim += 1;
        let number = self.next_claim;
        let state = self.ownership.claim(Claim::new(number, &participant, mode, TIME, settle));
        Some((number, state))
    }

    /// RELEASE; whether it was not refused.
    pub fn release(&mut self, session: usize, to: Option<i32>) -> bool {
        let may = self.ownership.may_release(&self.participant(session), to).is_ok();
        if may {
            self.ownership.release();
        }
        may
    }

    /// READY; whether it was not refused.
    pub fn ready(&mut self, session: usize) -> bool {
        let participant = self.participant(session);
        let may = self.ownership.may_be_ready(&participant).is_ok();
        if may {
            self.ownership.ready(&participant);
        }
        may
    }

    /// WITHDRAW; whether it was not refused. `may` says which sessions the policy still lets claim.
    pub fn withdraw(&mut self, session: usize, may: impl Fn(usize) -> bool) -> bool {
        let allowed = self.ownership.may_withdraw(&self.participant(session)).is_ok();
        if allowed {
            self.leave(session, End::Withdrawn, may);
        }
        allowed
    }

    /// The session ends, and another comes in its place.
    pub fn end(&mut self, session: usize, may: impl Fn(usize) -> bool) {
        if self.sessions[session].waits.take().is_some() {
            let participant = self.participant(session);
            self.ownership.waits_no_more(&participant);
        }
        if self.ownership.may_withdraw(&self.participant(session)).is_ok() {
            self.leave(session, End::Left, may);
        }
        self.sessions[session] = self.session();
    }

    fn leave(&mut self, session: usize, end: End, may: impl Fn(usize) -> bool) {
        let participant = self.participant(session);
        let ids: Vec<u64> = self.sessions.iter().map(|session| session.participant.id).collect();
        let number = |participant: &Participant| ids.iter().position(|id| *id == participant.id);
        self.ownership.leave(&participant, end, |other| number(other).is_some_and(&may));
    }

    /// Lets the time pass until the next deadline. Returns which one it is: a claim's number, or 0
    /// if the owner had to settle. `None` if there is no deadline.
    pub fn expire(&mut self) -> Option<i32> {
        let (due, number) = self.ownership.due()?;
        self.ownership.expire(due);
        Some(number)
    }

    /// Which session owns the tag.
    ///
    /// # Panics
    /// When a session owns it that has ended.
    pub fn owner(&self) -> Option<usize> {
        let OwnerId::Session(owner) = self.ownership.owner_id() else { return None };
        let owns = |session: &Session| session.participant.id == owner;
        Some(self.sessions.iter().position(owns).expect("the owner is there"))
    }

    /// Whether a session's claim is granted.
    pub fn is_granted(&self, session: usize) -> bool {
        self.ownership.is_granted_to(&self.sessions[session].participant)
    }

    /// Whether a granted claim keeps a session from changing anything.
    pub fn is_fenced(&self, session: usize) -> bool {
        self.ownership.is_fenced_for(&self.sessions[session].participant)
    }

    /// Whether another has taken the tag over from a session.
    pub fn is_overtaken(&self, session: usize) -> bool {
        self.sessions[session].participant.is_overtaken(self.tag)
    }

    /// What a session is told, which then waits no more.
    ///
    /// # Panics
    /// When that cannot be read.
    pub fn events(&self, session: usize) -> Vec<Event> {
        let bytes = self.sessions[session].participant.events.take();
        let mut decoder = Decoder::<OwnedFd>::new(Limits::PEER);
        decoder.feed(&bytes, [], false);
        let messages = std::iter::from_fn(|| decoder.message());
        let events = messages.map(|message| match message.expect("it is well formed") {
            Message::Extended(message) => Event::from_extended(message).ok().flatten(),
            _ => None,
        });
        events.map(|event| event.expect("it is an event")).collect()
    }
}

/// Restores what a supervisor sends to a new worker, without giving up any privilege. Returns how
/// many descriptors the worker holds in the end, and of how many deposits.
///
/// # Errors
/// Why the worker would end.
pub fn restore(messages: impl IntoIterator<Item = Message<OwnedFd>>) -> Result<usize, String> {
    let mut arrived = Arrived::default();
    for message in messages {
        match message {
            Message::Extended(message) => {
                let control = Control::from_extended(message).map_err(|error| error.to_string())?;
                take(&mut arrived, control)?;
            }
            message => arrived.take(message)?,
        }
    }
    Ok(arrived.deposits.len())
}

fn take(arrived: &mut Arrived<OwnedFd>, control: Control<OwnedFd>) -> Result<(), String> {
    match control {
        Control::Setup(setup) => Rules::read(setup).map(drop),
        control => arrived.take_control(control),
    }
}
