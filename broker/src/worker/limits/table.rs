//! The worker's descriptor table: what takes entries of it, and what is left.
//!
//! Everything that takes an entry is counted here while it does, or is bounded by what is kept free for
//! the worker itself. Whose it is, is kept by [`super::quota`].

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::timeout;

/// The most descriptors that one recvmsg(2) brings. What finds no entry in the table the kernel closes
/// within that call, and it can sleep for as long as the sender likes: so nothing is read then.
const ONE_READ: u32 = 253;
/// What the worker has open for itself, and for a moment at a time.
const OWN: u32 = 64;
/// How many entries a connection takes: itself, and its process.
const PER_CONNECTION: u32 = 2;
/// The part of the table that connections may fill which have ended and wait to be closed, until no
/// others are accepted. It is reached when peers connect and leave faster than connections are closed.
const ENDED: u32 = 32;
/// The part of the table that connections may fill which wait until others of their user have ended.
const LATE: u32 = 32;
/// How long nobody is accepted for that.
const PATIENCE: Duration = Duration::from_secs(1);

/// The table, and how much of it is in use.
pub(super) struct Table {
    size: u32,
    /// Entries that are for one recvmsg(2), and for the worker itself.
    reserve: u32,
    pub(super) connections: Counter,
    pub(super) deposits: Counter,
    pub(super) brought: Counter,
    /// Processes that an earlier worker left notes of.
    pub(super) former: Counter,
    /// Connections that wait until others of their user have ended, among those that are brought.
    pub(super) late: Counter,
    ended: Arc<Ended>,
    /// No ended connection has been closed for long.
    stuck: Cell<bool>,
    /// Told when no room is left for what one read brings.
    crowded: Notify,
}

/// How many of something there are.
pub(super) type Counter = Arc<AtomicU32>;

/// One of them, until this is dropped.
pub(crate) struct Counted(Counter);

/// Connections that have ended and are not closed yet.
#[derive(Default)]
struct Ended {
    number: AtomicU32,
    /// How many have been closed, ever.
    closed: AtomicU32,
    most: u32,
    /// Told when half of the most are left.
    fewer: Notify,
}

/// An ended connection, until it has been closed.
pub(crate) struct EndedCharge(Arc<Ended>);

impl Table {
    /// A table of so many entries.
    pub(super) fn new(size: u64) -> Self {
        let size = u32::try_from(size).unwrap_or(u32::MAX);
        Self {
            size,
            // A table that small is warned of at start.
            reserve: (ONE_READ + OWN).min(size / 3),
            connections: Counter::default(),
            deposits: Counter::default(),
            brought: Counter::default(),
            former: Counter::default(),
            late: Counter::default(),
            ended: Arc::new(Ended { most: (size / ENDED).max(4), ..Ended::default() }),
            stuck: Cell::new(false),
            crowded: Notify::new(),
        }
    }

    /// How many entries it has.
    pub(super) fn size(&self) -> u32 {
        self.size
    }

    /// How many connections there may be: they take a quarter of it.
    pub(super) fn most_connections(&self) -> u32 {
        (self.size / 8).max(4)
    }

    /// How many deposits have room beside so many connections.
    pub(super) fn room_beside(&self, connections: u32) -> u32 {
        let others = connections.saturating_mul(PER_CONNECTION).saturating_add(self.reserve);
        self.size.saturating_sub(others).saturating_sub(self.ended.most)
    }

    /// Whether one more connection may wait for others: all that do may fill a thirty-second.
    pub(super) fn may_wait(&self) -> bool {
        of(&self.late) < self.size / LATE
    }

    /// Returns how many entries are left beside those for what one read brings, or `None` if there
    /// is no room even for these.
    pub(super) fn left(&self) -> Option<u32> {
        let free = self.free();
        if free.is_none() {
            self.look();
        }
        free
    }

    /// Waits until no room is left for what one read brings. That may be over by then.
    pub(super) async fn crowded(&self) {
        self.crowded.notified().await;
    }

    /// Whether nothing can be read from anybody, and what users brought or left takes more than half of
    /// what is kept free for that; or nobody can be accepted, since what has ended is never closed.
    pub(super) fn is_full(&self) -> bool {
        if self.stuck.get() {
            return true;
        }
        let unkept = of(&self.brought).saturating_add(of(&self.ended.number));
        self.free().is_none() && unkept > self.reserve / 2
    }

    /// Charges a connection that has ended, until it has been closed.
    pub(super) fn ended(&self) -> EndedCharge {
        self.ended.number.fetch_add(1, Ordering::Relaxed);
        EndedCharge(Arc::clone(&self.ended))
    }

    /// Whether too many connections that have ended are still to be closed.
    pub(super) fn has_many_unclosed(&self) -> bool {
        of(&self.ended.number) >= self.ended.most
    }

    /// Waits while too many connections that have ended are still to be closed; but not for long. When none
    /// of them has been closed by then, the table counts as full.
    pub(super) async fn has_closed_enough(&self) {
        if !self.has_many_unclosed() {
            return self.stuck.set(false);
        }
        let closed = of(&self.ended.closed);
        let fewer = async {
            while of(&self.ended.number) > self.ended.most / 2 {
                self.ended.fewer.notified().await;
            }
        };
        let in_time = timeout(PATIENCE, fewer).await.is_ok();
        self.stuck.set(!in_time && of(&self.ended.closed) == closed);
        if self.stuck.get() {
            self.look();
        }
    }

    /// Wakes the task that waits for the table to be full, to look whether it is.
    pub(super) fn look(&self) {
        self.crowded.notify_one();
    }

    fn free(&self) -> Option<u32> {
        self.size.checked_sub(self.used().saturating_add(self.reserve))
    }

    /// How many entries are in use, or soon will be.
    fn used(&self) -> u32 {
        let connections = of(&self.connections).saturating_mul(PER_CONNECTION);
        let others = [of(&self.deposits), of(&self.brought), of(&self.former)];
        let open = connections.saturating_add(of(&self.ended.number));
        others.into_iter().fold(open, u32::saturating_add)
    }
}

fn of(counter: &AtomicU32) -> u32 {
    counter.load(Ordering::Relaxed)
}

impl Counted {
    /// One more.
    pub(super) fn of(counter: &Counter) -> Self {
        counter.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(counter))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Drop for EndedCharge {
    fn drop(&mut self) {
        self.0.closed.fetch_add(1, Ordering::Relaxed);
        let left = self.0.number.fetch_sub(1, Ordering::Relaxed) - 1;
        if left == self.0.most / 2 {
            self.0.fewer.notify_one();
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn nobody_is_accepted_until_half_of_the_ended_connections_are_closed() {
        let table = Table::new(1024);
        let mut ended: Vec<_> = (0..32).map(|_| table.ended()).collect();
        let begin = Instant::now();
        let closing = async {
            while ended.len() > 16 {
                ended.pop();
                tokio::task::yield_now().await;
            }
        };
        tokio::join!(table.has_closed_enough(), closing);
        assert_eq!(begin.elapsed(), Duration::ZERO, "it was told");
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_never_closed_is_waited_for_a_second_and_then_the_table_counts_as_full() {
        let table = Table::new(1024);
        let mut ended: Vec<_> = (0..32).map(|_| table.ended()).collect();
        let begin = Instant::now();
        table.has_closed_enough().await;
        assert_eq!(begin.elapsed(), PATIENCE);
        assert!(table.is_full(), "nobody else can be accepted");
        ended.push(table.ended());
        tokio::join!(table.has_closed_enough(), async { drop(ended.pop()) });
        assert!(!table.is_full(), "slowly, but they are closed");
    }

    #[test]
    fn whatever_takes_an_entry_leaves_fewer() {
        let table = Table::new(1024);
        let all = table.left().unwrap();
        let held = [&table.deposits, &table.brought, &table.former, &table.connections];
        let held = held.map(Counted::of);
        let _ended = table.ended();
        assert_eq!(table.left().unwrap(), all - 4 - PER_CONNECTION);
        drop(held);
        assert_eq!(table.left().unwrap(), all - 1);
    }
}
