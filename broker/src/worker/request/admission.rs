//! Whether a request may be done now, as far as the ownership of its tag goes: only one session at a
//! time has a serial tag, and the others wait for their turn.

use fdbroker_policy::Right;
use fdbroker_wire::Tag;

use super::context::RequestContext;
use super::error::Failure;
use super::place::Place;
use crate::worker::disconnected::Disconnected;
use crate::worker::ownership::participant::Participant;
use crate::worker::ownership::tag::OwnershipRefusal;
use crate::worker::peer::session::Session;
use crate::worker::state::Worker;

/// One request on its way to its turn, maybe under several policies.
#[derive(Default)]
pub(crate) struct Admission {
    /// The tag whose turn has come by this request.
    taken: Option<Tag>,
}

impl Admission {
    /// Waits for the turn of a request that `may` be done under the policy it was decided by. Returns
    /// whether that policy is still in force: if not, the request has to be decided again.
    ///
    /// # Errors
    /// If the peer has left while it waited. The inner error says why the request is not done.
    pub(crate) async fn wait(
        &mut self,
        context: &RequestContext<'_>,
        session: &mut Session,
        may: Result<(), Failure>,
    ) -> Result<Result<bool, Failure>, Disconnected> {
        let worker = context.worker;
        if let Err(failure) = may {
            // A session that may not do it any more keeps nobody waiting for it.
            if let Some(tag) = self.taken {
                session.give_up_turn(worker, tag).await;
            }
            return Ok(Err(failure));
        }
        if let Err(failure) = check_ownership(context, &session.participant) {
            return Ok(Err(failure));
        }
        let Some(tag) = serial_tag(&context.place) else { return Ok(Ok(true)) };
        let newly = session.take_turn(worker, tag).await?;
        self.taken = self.taken.or(newly.then_some(tag));
        Ok(Ok(worker.policy.are(context.rules)))
    }
}

fn serial_tag(place: &Place<'_>) -> Option<Tag> {
    place.tag.filter(|_| place.is_serial())
}

/// Returns whether a session has to wait until it may do anything in a place.
pub(crate) fn must_wait(worker: &Worker, participant: &Participant, place: &Place<'_>) -> bool {
    serial_tag(place)
        .is_some_and(|tag| !worker.ownership.with(tag, |ownership| ownership.has_turn(participant)))
}

/// Checks whether a session's request may be done as far as the ownership of the tag goes: see
/// [`super::handover`].
///
/// # Errors
/// Why not.
pub(crate) fn check_ownership(
    context: &RequestContext<'_>,
    participant: &Participant,
) -> Result<(), Failure> {
    let Some(tag) = context.place.tag else { return Ok(()) };
    let changes = matches!(context.right(), Right::Add | Right::Del);
    Ok(context.worker.ownership.check_ownership(
        participant,
        tag,
        changes,
        context.place.is_serial(),
    )?)
}

/// Checks the same when the request is done: of a serial tag only its owner changes anything. A claimant whose
/// turn came when it was granted the tag may have lost it by now.
///
/// # Errors
/// Why not.
pub(crate) fn check_ownership_in_turn(
    context: &RequestContext<'_>,
    participant: &Participant,
) -> Result<(), Failure> {
    check_ownership(context, participant)?;
    let owns =
        |tag| context.worker.ownership.with(tag, |ownership| ownership.is_owned_by(participant));
    match serial_tag(&context.place) {
        Some(tag) if !owns(tag) => Err(OwnershipRefusal::Granted.into()),
        _ => Ok(()),
    }
}
