//! The opening of a resource for a request. The supervisor opens it; a caller waits for room first.

use std::os::fd::AsFd;

use fdbroker_policy::{Resource, ResourceIndex};
use fdbroker_wire::{Errno, Opened};

use super::context::RequestContext;
use super::error::Failure;
use crate::fd::PeerFd;
use crate::log::{Kind, Verdict};
use crate::opening_cost::OpeningCost;
use crate::payer::Payer;
use crate::worker::limits::quota::{Exceeded, OpeningCharge};
use crate::worker::limits::room_wait::RoomWait;
use crate::worker::state::Worker;
use crate::worker::supervisor_link::write::{Asker, ToBeOpened};

/// Has a resource opened. Not to be dropped.
///
/// # Errors
/// Why nobody could be asked.
pub(crate) async fn ask<'a>(
    context: &RequestContext<'a>,
    (index, resource): (ResourceIndex, &Resource),
) -> Result<ToBeOpened<'a>, Failure> {
    let (worker, payer) = (context.worker, context.requester.payer());
    let charge =
        room_to_open(worker, payer, OpeningCost::of(resource)).await.inspect_err(|failure| {
            let _ = context.record(Kind::Open, Verdict::Failed, &failure.reason);
        })?;
    let generation = context.rules.generation;
    let by = context.requester.asking();
    let process = by.process.as_ref().map(|process| process.as_fd());
    let asker = Asker { uid: by.uid, payer, pid: by.pid, process };
    let asked = worker.link.ask_to_open(generation, index, resource, asker, charge).await;
    asked.map_err(|failure| failed(context, failure))
}

/// Waits for a resource, and records what became of it. Returns `None` if the supervisor has another policy than the
/// one that the request was decided by: then the next one is in force, and it has to be decided again. Can be dropped.
///
/// # Errors
/// Why it is not open.
pub(crate) async fn opened(
    context: &RequestContext<'_>,
    asked: ToBeOpened<'_>,
) -> Result<Option<Box<Opened<PeerFd>>>, Failure> {
    let generation = context.rules.generation;
    match asked.outcome().await {
        Ok(opened) => {
            // The record of the decision, which follows, is the one that counts.
            let _ = context.record(Kind::Open, Verdict::Granted, "opened");
            Ok(Some(Box::new(opened)))
        }
        Err((Errno::STALE, _)) => next_policy(context.worker, generation).await.map(|()| None),
        Err(failure) => Err(failed(context, failure)),
    }
}

fn failed(context: &RequestContext<'_>, (errno, reason): (Errno, String)) -> Failure {
    let _ = context.record(Kind::Open, Verdict::Failed, &reason);
    Failure::not_opened(errno, &reason)
}

async fn next_policy(worker: &Worker, generation: u32) -> Result<(), Failure> {
    match worker.policy.is_reached(generation + 1).await {
        true => Ok(()),
        false => Err(Failure::not_opened(Errno::AGAIN, "the policy is being replaced")),
    }
}

/// Charges the opening of a resource, where its user has room for it: that is waited for, but not for
/// long, since what was sent before it may still have to be closed.
async fn room_to_open(
    worker: &Worker,
    payer: Payer,
    cost: OpeningCost,
) -> Result<OpeningCharge, Failure> {
    let mut wait = RoomWait::default();
    loop {
        let charge = worker.quotas.opening(payer, cost);
        let is_full = matches!(charge, Err(Exceeded::Opened | Exceeded::Table));
        if !is_full || !wait.pause().await {
            return charge.map_err(|exceeded| Failure::no_room_to_open(&exceeded));
        }
    }
}
