//! One peer's session: what it is, what it waits for, and what it is told unasked.

use std::pin::pin;
use std::rc::Rc;
use std::time::{Duration, Instant};

use fdbroker_wire::Tag;
use fdbroker_wire::version2::Features;

use super::inbox::{Gone, Inbox, Incoming, Shared};
use super::outbox::Outbox;
use crate::worker::disconnected::Disconnected;
use crate::worker::identity::Identity;
use crate::worker::limits::loop_time::Turn;
use crate::worker::owner_changes;
use crate::worker::ownership::claim::End;
use crate::worker::ownership::participant::Participant;
use crate::worker::sessions::Connection;
use crate::worker::state::Worker;
use crate::worker::store::pending_closes::PendingCloses;

/// What a session is, beside its two directions.
pub(crate) struct Session {
    pub(crate) identity: Rc<Identity>,
    pub(crate) participant: Rc<Participant>,
    /// The serial tags that it has touched, and those that it has claimed.
    pub(crate) touched: Vec<Tag>,
    pub(crate) inbox: Inbox,
    pub(crate) outbox: Outbox,
    /// Its share in its user's time on the event loop.
    pub(crate) turn: Rc<Turn>,
    pub(crate) connection: Rc<Connection>,
    /// What its request has removed.
    pub(crate) closes: PendingCloses,
    /// The answer to the last HEL, once there was one: what it was granted, and how many tags it may see.
    pub(crate) greeted: Option<Greeted>,
    /// Whether it has made a request.
    pub(crate) has_asked: bool,
}

/// What a peer was told when it said HEL.
#[derive(Clone, Copy)]
pub(crate) struct Greeted {
    /// What it was granted.
    pub(crate) features: Features,
    pub(crate) generation: u32,
    pub(crate) tags: i16,
}

impl Session {
    /// The next request. What is to be told goes out while there is none.
    pub(crate) async fn incoming(&mut self, worker: &Worker) -> Result<Incoming, Gone> {
        while self.listens() {
            if self.has_news() {
                self.tell().await?;
            }
            tokio::select! {
                biased;
                incoming = self.inbox.request(shared(worker)) => return incoming,
                () = may_tell(&self.participant, &self.outbox) => {}
            }
        }
        self.inbox.request(shared(worker)).await
    }

    /// Whether any event can happen that the session is to be told: never if it claimed nothing.
    fn listens(&self) -> bool {
        let granted = |greeted: Greeted| greeted.features.contains(Features::CLAIM);
        self.participant.listens() && self.greeted.is_some_and(granted)
    }

    fn has_news(&self) -> bool {
        !self.participant.events.is_empty() && self.outbox.has_room_for_events()
    }

    /// Sends what is to be told.
    async fn tell(&mut self) -> Result<(), Gone> {
        let events = self.participant.events.take();
        self.outbox.send(&events, &[], &[]).await.map_err(|_| Gone::Left)
    }

    /// Waits, where the user makes more than so many requests a second of the broker.
    ///
    /// # Errors
    /// If the peer leaves before that.
    pub(crate) async fn keep_rate(
        &mut self,
        worker: &Worker,
        number: usize,
    ) -> Result<(), Disconnected> {
        let rate = worker.policy.now().policy.settings().requests_per_second;
        let Some(rate) = rate else { return Ok(()) };
        let (payer, now) = (self.connection.payer, Instant::now());
        let pause = worker.rates.reserve(payer, None, rate, number, now);
        self.pause(worker, pause).await
    }

    /// Waits so long.
    ///
    /// # Errors
    /// If the peer leaves before that.
    pub(crate) async fn pause(
        &mut self,
        worker: &Worker,
        pause: Duration,
    ) -> Result<(), Disconnected> {
        if pause.is_zero() {
            return Ok(());
        }
        self.during(worker, tokio::time::sleep(pause)).await
    }

    /// Waits for something that can be dropped.
    ///
    /// # Errors
    /// If the peer leaves before that.
    pub(crate) async fn during<T>(
        &mut self,
        worker: &Worker,
        awaited: impl Future<Output = T>,
    ) -> Result<T, Disconnected> {
        tokio::select! {
            biased;
            done = awaited => Ok(done),
            () = self.inbox.departed(shared(worker)) => Err(Disconnected),
        }
    }

    /// Remembers that something of a tag may have to be given up in the end.
    pub(crate) fn touch(&mut self, tag: Tag) {
        if !self.touched.contains(&tag) {
            self.touched.push(tag);
        }
    }

    /// Waits until a serial tag is this session's. Returns whether it was not before.
    ///
    /// # Errors
    /// If the peer leaves before that.
    pub(crate) async fn take_turn(
        &mut self,
        worker: &Worker,
        tag: Tag,
    ) -> Result<bool, Disconnected> {
        self.touch(tag);
        let (participant, listens) = (Rc::clone(&self.participant), self.listens());
        let mut turn = pin!(worker.ownership.wait(tag, &participant));
        let newly = loop {
            tokio::select! {
                biased;
                newly = &mut turn => break newly,
                () = self.inbox.departed(shared(worker)) => return Err(Disconnected),
                () = may_tell(&self.participant, &self.outbox), if listens => {}
            }
            self.tell().await.map_err(|_| Disconnected)?;
        };
        if newly {
            owner_changes::note(worker, tag).await;
        }
        Ok(newly)
    }

    /// Releases a serial tag to the next session.
    pub(crate) async fn give_up_turn(&mut self, worker: &Worker, tag: Tag) {
        self.touched.retain(|touched| *touched != tag);
        owner_changes::leave(worker, tag, &self.participant, End::Withdrawn).await;
    }
}

/// What every inbox uses of the worker.
fn shared(worker: &Worker) -> Shared<'_> {
    Shared { close_queue: &worker.close_queue, quotas: &worker.quotas, chunk: &worker.chunk }
}

/// Waits until there is something to be told, and room for it. Can be dropped.
async fn may_tell(participant: &Participant, outbox: &Outbox) {
    participant.events.filled().await;
    outbox.room_for_events().await;
}
