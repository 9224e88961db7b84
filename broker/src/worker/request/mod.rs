//! One request: who wrote it, which kind it is, and where it is served. GET and GET_MANY are
//! in [`self::get`], what else can be asked of slots in [`self::slots`], of many at once in [`self::many`]; who owns a tag in
//! [`self::handover`]; names and listings in [`self::discover`]; what operators ask of the broker in [`self::admin`].

pub(crate) mod admin;
pub(crate) mod admission;
pub(crate) mod answer;
pub(crate) mod batch;
pub(crate) mod commit;
pub(crate) mod context;
pub(crate) mod decision;
pub(crate) mod discover;
pub(crate) mod error;
pub(crate) mod get;
pub(crate) mod handover;
pub(crate) mod here_only;
pub(crate) mod inspect;
pub(crate) mod leases;
mod many;
pub(crate) mod open;
pub(crate) mod orphans;
pub(crate) mod place;
pub(crate) mod runs;
pub(crate) mod slots;
pub(crate) mod takers;

use fdbroker_wire::claim::ClaimRequest;
use fdbroker_wire::many::ManyRequest;
use fdbroker_wire::version2::{Features, Request as Version2};
use fdbroker_wire::{Errno, Extended, Fault, Hello, Message, Slot};

use self::answer::Answer;
use self::decision::Requester;
use self::error::Denial;
use self::slots::SlotRequest;
use crate::fd::PeerFd;
use crate::log::{Record, Verdict};
use crate::worker::disconnected::Disconnected;
use crate::worker::peer::inbox::Incoming;
use crate::worker::peer::session::Session;
use crate::worker::state::Worker;

/// What is served.
enum Request {
    Hello(Hello),
    Get(Slot),
    Slot(SlotRequest),
    Version2(Version2),
    Many(ManyRequest<PeerFd>),
    Claim(ClaimRequest),
}

/// Serves a request.
///
/// # Errors
/// If the peer has left while it waited, or the supervisor has gone.
pub(crate) async fn serve(
    worker: &Worker,
    session: &mut Session,
    incoming: Incoming,
) -> Result<Answer, Disconnected> {
    let Incoming { message, writer } = incoming;
    let request = match Request::of(message, session.greeted.map(|greeted| greeted.features)) {
        Ok(request) => request,
        Err(fault) => return Ok(malformed(worker, session, fault)),
    };
    // A request for many slots counts as that many requests.
    session.keep_rate(worker, request.size()).await?;
    let requester =
        Requester::new(worker, &session.identity, session.connection.payer, writer).await;
    let answer = match request {
        Request::Get(slot) => get::one(worker, session, &requester, slot).await,
        Request::Slot(request) => slots::serve(worker, session, &requester, request).await,
        Request::Hello(hello) => Ok(discover::greet(worker, session, &requester, hello)),
        Request::Many(request) => return many::serve(worker, session, requester, request).await,
        Request::Claim(request) => Ok(handover::serve(worker, session, &requester, request).await),
        Request::Version2(Version2::Find(name)) => Ok(discover::find(worker, &requester, &name)),
        Request::Version2(Version2::List { tag, after }) => {
            Ok(discover::list(worker, &requester, &session.turn, tag, after).await)
        }
        Request::Version2(Version2::Reload) => admin::reload(worker, &requester).await,
        Request::Version2(Version2::Purge(slot)) => {
            admin::purge(worker, &requester, session, slot).await
        }
        Request::Version2(Version2::Leases { after }) => {
            leases::list(worker, &requester, after).await
        }
        Request::Version2(Version2::EndLease(number)) => {
            leases::end(worker, &requester, number).await
        }
        Request::Version2(Version2::Inspect { what, after }) => {
            Ok(inspect::inspect(worker, &requester, &session.turn, (what, after)).await)
        }
        Request::Version2(Version2::Status) => Ok(admin::status(worker, &requester)),
    };
    session.closes.closed().await;
    session.pause(worker, requester.take_pause()).await?;
    answer
}

impl Request {
    fn of(
        message: Result<Message<PeerFd>, Fault>,
        granted: Option<Features>,
    ) -> Result<Self, Fault> {
        Ok(match message? {
            Message::Get(slot) => Self::Get(slot),
            Message::Add(add) => Self::Slot(SlotRequest::Add(add)),
            Message::Del(slot) => Self::Slot(SlotRequest::Del(slot)),
            Message::Tag(tag) => Self::Slot(SlotRequest::Count(tag)),
            Message::Hello(hello) => Self::Hello(hello),
            Message::Extended(message) => {
                let granted = granted.ok_or(NOT_GREETED)?;
                let request = Self::of_version2(message)?;
                if !granted.contains(request.feature()) {
                    return Err(NOT_GRANTED);
                }
                request
            }
            Message::Reply(_) | Message::Info(_) => return Err(NOT_SERVED),
        })
    }

    fn of_version2(message: Extended<PeerFd>) -> Result<Self, Fault> {
        match message.op {
            op if ManyRequest::<PeerFd>::is(op) => {
                ManyRequest::from_extended(message).map(Self::Many)
            }
            op if ClaimRequest::is(op) => ClaimRequest::from_extended(message).map(Self::Claim),
            _ => Version2::from_extended(message).map(Self::Version2),
        }
    }

    /// How many requests it counts as.
    fn size(&self) -> usize {
        match self {
            Self::Many(ManyRequest::Get { indices, .. } | ManyRequest::Del { indices, .. }) => {
                indices.len()
            }
            Self::Many(ManyRequest::Add { deposits, .. }) => deposits.len(),
            _ => 1,
        }
    }

    /// The feature that a request of version 2 is of.
    fn feature(&self) -> Features {
        match self {
            Self::Version2(Version2::Find(_) | Version2::List { .. }) => Features::LISTING,
            Self::Version2(Version2::Inspect { .. }) => Features::INSPECT,
            Self::Version2(_) => Features::OPERATE,
            Self::Many(_) => Features::MANY,
            Self::Claim(_) => Features::CLAIM,
            Self::Hello(_) | Self::Get(_) | Self::Slot(_) => Features::default(),
        }
    }
}

const NOT_SERVED: Fault =
    Fault { errno: Errno::PROTO, reason: "the opcode is not served", fatal: false };
const NOT_GREETED: Fault =
    Fault { errno: Errno::PROTO, reason: "version 2 begins with HEL", fatal: false };
const NOT_GRANTED: Fault =
    Fault { errno: Errno::PROTO, reason: "not granted by HEL", fatal: false };

/// Records and answers what was no request.
fn malformed(worker: &Worker, session: &Session, fault: Fault) -> Answer {
    // What is not done need not be recorded first.
    let _ = worker.audit.record(&Record {
        right: "none",
        verdict: Verdict::Refused,
        reason: fault.reason,
        ..session.identity.record()
    });
    Answer::Failed(Denial { errno: fault.errno, text: fault.reason.into() })
}
