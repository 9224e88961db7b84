//! The loop of one session: request by request, answers in their order; and how it ends.

use std::io::ErrorKind;
use std::os::fd::{AsFd, OwnedFd};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use super::identity::Identity;
use super::limits::loop_time::Turn;
use super::limits::quota::ConnectionCharge;
use super::owner_changes;
use super::ownership::claim::End;
use super::peer::inbox::Inbox;
use super::peer::outbox::Outbox;
use super::peer::session::Session;
use super::request;
use super::request::commit;
use super::state::Worker;
use super::store::pending_closes::PendingCloses;
use super::supervisor_link::closer::EndedConnection;
use crate::fd::Depositor;
use crate::log::{Kind, Record, Verdict};
use crate::payer::Payer;
use crate::sys::socket::carries_descriptors;
use crate::sys::watch::Watched;
use crate::transmit::too_many_in_flight;

/// Serves a peer until it leaves or has to.
pub(crate) async fn serve(
    worker: Rc<Worker>,
    stream: Watched,
    (identity, payer): (Rc<Identity>, Payer),
    charge: ConnectionCharge,
    turn: Rc<Turn>,
) {
    let stream = Rc::new(stream);
    let charge = Arc::new(charge);
    let entry = worker.connections.enter(payer, &stream, &charge);
    let participant = worker.ownership.participant(&identity);
    let connection = worker.sessions.add((payer, &participant), &stream, &turn, charge);
    let patience = worker.policy.now().policy.settings().frame_timeout;
    let ledger = worker.in_flight.ledger(payer, &stream);
    let reader = worker.quotas.reader(payer);
    let (own, who) = (Rc::clone(&stream), Rc::clone(&identity));
    let mut session = Session {
        participant,
        inbox: Inbox::new(own, Rc::clone(&turn), (who, payer), reader.clone(), patience),
        identity,
        touched: Vec::new(),
        outbox: Outbox::new(Rc::clone(&stream), ledger, reader, patience),
        turn,
        connection: Rc::clone(&connection),
        closes: PendingCloses::default(),
        greeted: None,
        has_asked: false,
    };
    if let Some(reason) = run(&mut session, &worker).await {
        // It ends in any case.
        let _ = worker.audit.record(&Record {
            kind: Kind::CutOff,
            right: "connect",
            verdict: Verdict::Refused,
            reason: &reason,
            ..session.identity.record()
        });
    }
    if !session.has_asked {
        worker.arrivals.came_to_nothing(session.identity.uid, payer, Instant::now());
    }
    let Session { touched, participant, outbox, inbox, connection: own, .. } = session;
    // Both hold the socket, which is not to be closed here.
    drop((inbox, own));
    connection.set_ending();
    for tag in touched {
        owner_changes::leave(&worker, tag, &participant, End::Left).await;
    }
    outbox.end().await;
    worker.freed.count();
    let charge = connection.into_charge();
    drop(entry);
    if let Some(socket) = Rc::into_inner(stream) {
        put_away(&worker, payer, socket.into_inner(), charge);
    }
}

/// Closes a connection that has been shut, and returns its `charge`. If its peer left descriptors
/// unread in it, the closer closes it. Until a closer has it, the charge stays; if no closer takes
/// it, the charge stays until it is closed here.
///
/// Not even an empty one is closed on the loop: before Linux 6.9 the kernel collects others'
/// garbage in close(2) of a Unix socket.
pub(crate) fn put_away(
    worker: &Worker,
    payer: Payer,
    socket: OwnedFd,
    charge: impl Send + Sync + 'static,
) {
    if !carries_descriptors(socket.as_fd()) {
        return put_away_empty(worker, socket);
    }
    // As long as it has no closer, it keeps others from being accepted.
    let charge = Box::new((charge, worker.quotas.ended()));
    worker.closers.close(EndedConnection { payer, socket, charge });
}

/// Closes a connection that has ended, and in which no descriptor lies unread. Until that is done it counts
/// on the broker's account: peers can make them faster than they are closed.
pub(crate) fn put_away_empty(worker: &Worker, socket: OwnedFd) {
    worker.close_queue.hold(Depositor::Broker, socket).keep_until_closed(worker.quotas.ended());
}

/// Serves the session; returns a reason if the peer was cut off.
async fn run(session: &mut Session, worker: &Worker) -> Option<String> {
    loop {
        let incoming = match session.incoming(worker).await {
            Ok(incoming) => incoming,
            Err(gone) => return gone.reason().map(str::to_owned),
        };
        session.connection.set_at_work(true);
        session.has_asked |= incoming.message.is_ok();
        let ends = incoming.message.as_ref().is_err_and(|fault| fault.fatal);
        let Ok(answer) = request::serve(worker, session, incoming).await else {
            return session.inbox.cut_off().map(str::to_owned);
        };
        let sent = answer.send(&mut session.outbox).await;
        if let Some(takes) = answer.into_takes() {
            if sent.is_ok() && !ends {
                commit::commit(takes, worker, &session.turn).await.ok()?;
            } else {
                commit::call_off(takes, worker).await;
            }
        }
        match sent {
            Ok(()) if ends => return Some("it broke the protocol".to_owned()),
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::TimedOut => {
                return Some("it does not read its answers".to_owned());
            }
            Err(error) if too_many_in_flight(&error) => {
                return Some("too many descriptors are in flight".to_owned());
            }
            Err(_) => return None,
        }
        session.connection.set_at_work(false);
        // Also before what has been read already.
        session.turn.take().await;
    }
}
