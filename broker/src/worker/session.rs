//! One peer's session: request by request, answers in their order.

use std::io::ErrorKind;
use std::os::fd::{AsFd, OwnedFd};
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use fdbroker_policy::Uid;
use fdbroker_wire::Tag;
use fdbroker_wire::version2::Features;

use super::claim::End;
use super::holder::Holder;
use super::identity::Identity;
use super::inbox::{Gone, Inbox, Incoming};
use super::limits::loop_time::Turn;
use super::limits::quota::ConnectionCharge;
use super::listing::Greeted;
use super::outbox::Outbox;
use super::ownership;
use super::request;
use super::sessions::Connection;
use super::state::Worker;
use crate::fd::Depositor;
use crate::log::{Kind, Record, Verdict};
use crate::sys::socket::carries_descriptors;
use crate::sys::watch::Watched;
use crate::transmit::too_many_in_flight;

/// What a session is, beside its two directions.
pub(super) struct Session {
    pub(super) identity: Rc<Identity>,
    pub(super) holder: Rc<Holder>,
    /// The serial tags that it has touched, and those that it has claimed.
    pub(super) touched: Vec<Tag>,
    pub(super) inbox: Inbox,
    pub(super) outbox: Outbox,
    /// Its share in its user's time on the event loop.
    pub(super) turn: Rc<Turn>,
    connection: Rc<Connection>,
    /// The answer to the last HEL, once there was one: what it was granted, and how many tags it may see.
    pub(super) greeted: Option<Greeted>,
}

/// Serves a peer until it leaves or has to.
pub(super) async fn serve(
    worker: Rc<Worker>,
    stream: Watched,
    identity: Rc<Identity>,
    charge: ConnectionCharge,
    turn: Rc<Turn>,
) {
    let stream = Rc::new(stream);
    let charge = Arc::new(charge);
    let entry = worker.connections.enter(identity.uid, &stream, &charge);
    let connection = worker.sessions.add(identity.uid, &stream, &turn, charge);
    let patience = worker.in_force.now().policy.settings().frame_timeout;
    let ledger = worker.in_flight.ledger(identity.uid, &stream);
    let mut session = Session {
        holder: worker.turns.holder(&identity),
        inbox: Inbox::new(Rc::clone(&stream), Rc::clone(&turn), Rc::clone(&identity), patience),
        identity,
        touched: Vec::new(),
        outbox: Outbox::new(Rc::clone(&stream), ledger, patience),
        turn,
        connection: Rc::clone(&connection),
        greeted: None,
    };
    if let Some(reason) = session.run(&worker).await {
        // It ends in any case.
        let _ = worker.audit.record(&Record {
            kind: Kind::CutOff,
            right: "connect",
            verdict: Verdict::Refused,
            reason: &reason,
            ..session.identity.record()
        });
    }
    let uid = session.identity.uid;
    let Session { touched, holder, outbox, inbox, connection: own, .. } = session;
    // Both hold the socket, which is not to be closed here.
    drop((inbox, own));
    for tag in touched {
        ownership::leave(&worker, tag, &holder, End::Left).await;
    }
    outbox.end().await;
    let charge = connection.into_charge();
    drop(entry);
    if let Some(socket) = Rc::into_inner(stream) {
        put_away(&worker, uid, socket.into_inner(), charge);
    }
}

/// Closes a connection that has been shut, and gives back its `charge`. Descriptors that its peer sent
/// and nobody read are closed with it: that is left to the closer. Without one the charge stays until that
/// is done, and they count as brought. Not even an empty one is closed on the loop: before Linux 6.9 the kernel collects others' garbage in
/// close(2) of a Unix socket.
pub(super) fn put_away(
    worker: &Worker,
    uid: Uid,
    socket: OwnedFd,
    charge: impl Send + Sync + 'static,
) {
    if !carries_descriptors(socket.as_fd()) {
        return drop(worker.close_queue.hold(Depositor::Broker, socket));
    }
    let Err(socket) = worker.closer.take(uid, socket) else { return };
    // There is no closer yet, or it is behind.
    let brought = worker.quotas.shut_unread(uid);
    worker.close_queue.hold(uid, socket).keep_until_closed((charge, brought));
}

impl Session {
    /// Serves; gives a reason when the peer was cut off.
    async fn run(&mut self, worker: &Worker) -> Option<String> {
        loop {
            let incoming = match self.incoming(worker).await {
                Ok(incoming) => incoming,
                Err(Gone::Left) => return None,
                Err(Gone::TooMuch) => {
                    return Some("too many descriptors of its user wait to be closed".to_owned());
                }
                Err(Gone::TooSlow) => {
                    return Some("it began a message and did not end it".to_owned());
                }
            };
            self.connection.set_at_work(true);
            let ends = incoming.message.as_ref().is_err_and(|fault| fault.fatal);
            let answer = request::serve(worker, self, incoming).await?;
            let sent = answer.send(&mut self.outbox).await;
            if sent.is_ok() && !ends {
                answer.sent(worker, &self.turn).await?;
            } else {
                answer.not_sent(worker).await;
            }
            match sent {
                Ok(()) if ends => return Some("it broke the protocol".to_owned()),
                Ok(()) => {}
                Err(error) if error.kind() == ErrorKind::TimedOut => {
                    return Some("it does not read its answers".to_owned());
                }
                Err(error) if too_many_in_flight(&error) => {
                    return Some("others let too many descriptors lie unread".to_owned());
                }
                Err(_) => return None,
            }
            self.connection.set_at_work(false);
            // Also before what has been read already.
            self.turn.take().await;
        }
    }

    /// The next request. What is to be told goes out while there is none.
    async fn incoming(&mut self, worker: &Worker) -> Result<Incoming, Gone> {
        while self.listens() {
            if self.has_news() {
                self.tell().await?;
            }
            tokio::select! {
                biased;
                incoming = self.inbox.request(worker) => return incoming,
                () = may_tell(&self.holder, &self.outbox) => {}
            }
        }
        self.inbox.request(worker).await
    }

    /// Whether anything may happen that it is to be told: never to whoever claimed nothing.
    fn listens(&self) -> bool {
        let granted = |greeted: Greeted| greeted.features.contains(Features::CLAIM);
        self.holder.listens() && self.greeted.is_some_and(granted)
    }

    fn has_news(&self) -> bool {
        !self.holder.mailbox.is_empty() && self.outbox.has_room_for_events()
    }

    /// Sends what is to be told.
    async fn tell(&mut self) -> Result<(), Gone> {
        let events = self.holder.mailbox.take();
        self.outbox.send(&events, &[], &[]).await.map_err(|_| Gone::Left)
    }

    /// Waits, where the user makes more than so many requests a second of the broker; none when the peer
    /// has left meanwhile.
    pub(super) async fn keep_rate(&mut self, worker: &Worker, number: usize) -> Option<()> {
        let rate = worker.in_force.now().policy.settings().requests_per_second;
        let Some(rate) = rate else { return Some(()) };
        let (uid, now) = (self.identity.uid, Instant::now());
        let pause = worker.rates.reserve(uid, None, rate, number, now);
        self.pause(worker, pause).await
    }

    /// Waits so long; none when the peer has left meanwhile.
    pub(super) async fn pause(&mut self, worker: &Worker, pause: Duration) -> Option<()> {
        if pause.is_zero() {
            return Some(());
        }
        tokio::select! {
            biased;
            () = tokio::time::sleep(pause) => Some(()),
            () = self.inbox.departed(worker) => None,
        }
    }

    /// Remembers that something of a tag may have to be given up in the end.
    pub(super) fn touch(&mut self, tag: Tag) {
        if !self.touched.contains(&tag) {
            self.touched.push(tag);
        }
    }

    /// Waits until a serial tag is this session's; gives whether it was not before, or none when
    /// the peer has left meanwhile.
    pub(super) async fn take_turn(&mut self, worker: &Worker, tag: Tag) -> Option<bool> {
        self.touch(tag);
        let (holder, listens) = (Rc::clone(&self.holder), self.listens());
        let mut turn = pin!(worker.turns.wait(tag, &holder));
        let newly = loop {
            tokio::select! {
                biased;
                newly = &mut turn => break newly,
                () = self.inbox.departed(worker) => return None,
                () = may_tell(&self.holder, &self.outbox), if listens => {}
            }
            self.tell().await.ok()?;
        };
        if newly {
            ownership::note(worker, tag).await;
        }
        Some(newly)
    }

    /// Gives a serial tag up, for whoever is next.
    pub(super) async fn give_up_turn(&mut self, worker: &Worker, tag: Tag) {
        self.touched.retain(|touched| *touched != tag);
        ownership::leave(worker, tag, &self.holder, End::Withdrawn).await;
    }
}

/// Waits until there is something to be told, and room for it. Can be dropped.
async fn may_tell(holder: &Holder, outbox: &Outbox) {
    holder.mailbox.filled().await;
    outbox.room_for_events().await;
}
