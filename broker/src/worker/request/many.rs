//! Many slots of a tag in one request. GET_MANY goes to [`super::get`]. In ADD_MANY and DEL_MANY each slot
//! is a request of its own: each is a message to the supervisor in any case.

use fdbroker_wire::many::{Deposit as ManyDeposit, ManyRequest};
use fdbroker_wire::{Add, Errno, Slot};

use super::answer::Answer;
use super::decision::Requester;
use super::get::{self, Range};
use super::slots::{self, SlotRequest};
use crate::fd::PeerFd;
use crate::worker::disconnected::Disconnected;
use crate::worker::peer::session::Session;
use crate::worker::state::Worker;

/// Serves a request.
///
/// # Errors
/// If the peer has left while it waited, or the supervisor has gone.
pub(crate) async fn serve(
    worker: &Worker,
    session: &mut Session,
    requester: Requester,
    request: ManyRequest<PeerFd>,
) -> Result<Answer, Disconnected> {
    match request {
        ManyRequest::Get { tag, indices, take } => {
            let range = Range { tag, indices: &indices, take };
            Ok(Answer::Got(Box::new(get::many(worker, session, requester, range).await?)))
        }
        ManyRequest::Add { tag, deposits } => {
            let mut outcomes = Vec::with_capacity(deposits.len());
            for ManyDeposit { index, ufd, payload, descriptor } in deposits {
                session.turn.take().await;
                let add = Add { slot: Slot { tag, index }, ufd, payload, descriptor };
                let answer =
                    slots::serve(worker, session, &requester, SlotRequest::Add(add)).await?;
                outcomes.push(done(&answer));
            }
            session.closes.closed().await;
            session.pause(worker, requester.take_pause()).await?;
            Ok(Answer::DoneMany(tag, outcomes))
        }
        ManyRequest::Del { tag, indices } => {
            let mut outcomes = Vec::with_capacity(indices.len());
            for index in indices {
                session.turn.take().await;
                let del = SlotRequest::Del(Slot { tag, index });
                outcomes.push(done(&slots::serve(worker, session, &requester, del).await?));
            }
            session.closes.closed().await;
            session.pause(worker, requester.take_pause()).await?;
            Ok(Answer::DoneMany(tag, outcomes))
        }
    }
}

fn done(answer: &Answer) -> Result<(), Errno> {
    match answer {
        Answer::Failed(denial) => Err(denial.errno),
        _ => Ok(()),
    }
}
