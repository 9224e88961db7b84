//! Closing descriptors on threads, never on an event loop.
//!
//! The last close(2) of a descriptor can sleep for as long as a peer likes, whatever kind it is.
//! That can be a pipe whose mutex is held by splice(2), a file that an epoll instance watches, or a
//! socket locked across a page fault. SO_LINGER does it too, and a FUSE file. Such a sleep is in
//! state D, which not even SIGKILL ends. So each descriptor of a peer is a [`DeferredClose`]: when
//! it is dropped, a thread of the [`CloseQueue`] closes it.
//!
//! Rules:
//! - Each depositor (a uid) has at most one thread at work. Its descriptors are closed in order. If
//!   one blocks, only this depositor's wait.
//! - Descriptors wait a few milliseconds, or until many are together, so that one wake-up serves
//!   them all. While a thread keeps the time, dropping one costs a lock and a push. A descriptor
//!   whose close somebody waits for does not wait for others.
//! - A socket of the broker's own may hold unread messages, an old listening socket for example. A
//!   thread that closes nothing else closes it, as long as there are few of them.
//! - Threads are shared by all depositors, and bounded. The last ones are for system users only.
//! - If no thread can be started, the descriptors wait. The caller never closes them.
//! - Nothing waits for these threads: the process can exit while they sleep.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::mem;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use fdbroker_policy::Uid;
use rustix::net::sockopt::{set_socket_linger, socket_linger};
use tokio::sync::Notify;

/// How long the first descriptor of a batch waits for others.
const DELAY: Duration = Duration::from_millis(3);
/// How many descriptors of one depositor are closed without waiting for more.
const BATCH: usize = 256;
/// How long a thread waits for work before it ends.
const IDLE: Duration = Duration::from_secs(10);
/// How many threads there may be, and how many of them are for system users only. A thread that
/// only closes takes about 30 KiB of memory.
const THREADS: Threads = Threads { all: 256, for_system_users: 32 };
/// The user ids below this one are system users' (SYS_UID_MAX in login.defs(5)). Unlike others,
/// nobody gets many of them by /etc/subuid.
const FIRST_ORDINARY_USER: u32 = 1000;
/// How many sockets with something unread in them are closed side by side.
const UNREAD: u8 = 16;
/// What a thread that only closes needs of a stack, in bytes.
const STACK: usize = 64 * 1024;

/// On whose account a descriptor is closed.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Depositor {
    User(Uid),
    /// Nobody knows whose it is, or it was opened for nobody in particular.
    Nobody,
    /// The broker's own, with nothing of a peer's in it.
    Broker,
    /// The broker's own, with what others sent and nobody has read: one of a few such accounts.
    Unread(u8),
}

/// The way to the threads that close.
#[derive(Clone)]
pub(crate) struct CloseQueue(Arc<Shared>);

/// A descriptor that is closed by a thread of the queue after it is dropped.
pub(crate) struct DeferredClose {
    /// Only taken out when dropped.
    descriptor: Option<OwnedFd>,
    depositor: Depositor,
    queue: CloseQueue,
    /// Somebody waits for it.
    soon: AtomicBool,
    /// Dropped when the descriptor has been closed.
    after: Option<Box<dyn Send + Sync>>,
}

/// What is to be closed, and what is dropped afterwards.
struct CloseJob {
    descriptor: OwnedFd,
    soon: bool,
    after: Option<Box<dyn Send + Sync>>,
}

/// A bound on threads.
#[derive(Clone, Copy)]
struct Threads {
    all: usize,
    for_system_users: usize,
}

struct Shared {
    state: Mutex<State>,
    /// Told when there is something to do for one more thread.
    work: Condvar,
    /// Told when a batch has been closed.
    batch_closed: Notify,
    limit: Threads,
}

#[derive(Default)]
struct State {
    /// What has to be closed, by depositor.
    waiting: BTreeMap<Depositor, Vec<CloseJob>>,
    /// Depositors that have something waiting and no thread at work, and when their turn is.
    turns: VecDeque<(Instant, Depositor)>,
    /// Depositors with a thread at work.
    busy: BTreeSet<Depositor>,
    threads: usize,
    idle: usize,
    /// One idle thread waits for the next turn's time.
    timed: bool,
    /// A thread has been called and has not come yet.
    called: bool,
    /// The account that the next socket with something unread in it gets, if that has nothing to close.
    next_unread: u8,
}

impl CloseQueue {
    /// Returns a queue without threads; they start when they are needed.
    pub(crate) fn new() -> Self {
        Self::with(THREADS)
    }

    fn with(limit: Threads) -> Self {
        let (state, work, batch_closed) = (Mutex::default(), Condvar::new(), Notify::new());
        Self(Arc::new(Shared { state, work, batch_closed, limit }))
    }

    /// Takes over a descriptor, to be closed on account of `depositor`.
    pub(crate) fn hold(
        &self,
        depositor: impl Into<Depositor>,
        descriptor: OwnedFd,
    ) -> DeferredClose {
        let (queue, depositor) = (self.clone(), depositor.into());
        let soon = AtomicBool::new(false);
        DeferredClose { descriptor: Some(descriptor), depositor, queue, soon, after: None }
    }

    /// Returns an account for a socket of the broker's own, and for what is read from it. Two share one
    /// only if all accounts have something to close.
    pub(crate) fn unread(&self) -> Depositor {
        let mut state = self.0.lock();
        let account = |number| Depositor::Unread(number % UNREAD);
        let next = state.next_unread;
        let mut accounts = (0..UNREAD).map(|more| account(next.wrapping_add(more)));
        let free = accounts.find(|account| !state.has_work_for(*account));
        state.next_unread = next.wrapping_add(1);
        free.unwrap_or(account(next))
    }

    /// Has what waits on an account closed without waiting for more.
    pub(crate) fn hurry(&self, depositor: Depositor) {
        let mut state = self.0.lock();
        state.bring_forward(depositor);
        drop(state);
        // One that waits for the time of the next turn looks again.
        self.0.work.notify_one();
    }

    /// Waits until a batch has been closed, since this was last called. Can be dropped and called again.
    pub(crate) async fn batch_closed(&self) {
        self.0.batch_closed.notified().await;
    }

    fn push(&self, depositor: Depositor, job: CloseJob) {
        let soon = job.soon;
        let mut state = self.0.lock();
        let jobs = state.waiting.entry(depositor).or_default();
        jobs.push(job);
        let waiting = jobs.len();
        if waiting == 1 && !state.busy.contains(&depositor) {
            state.turns.push_back((Instant::now() + DELAY, depositor));
        }
        let soon = soon || waiting == BATCH;
        if soon {
            state.bring_forward(depositor);
        }
        let called = self.call(&mut state);
        // A thread that is told while the state is locked would wake only to wait for that.
        drop(state);
        if soon || called {
            self.0.work.notify_one();
        }
    }

    /// Sees to it that a thread comes for the next turn; returns whether one that is idle is to be told.
    fn call(&self, state: &mut State) -> bool {
        if state.turns.is_empty() || state.timed || state.called {
            return false;
        }
        if state.idle > 0 {
            state.called = true;
            return true;
        }
        if state.threads < self.0.limit.all {
            state.called = self.start_thread();
            state.threads += usize::from(state.called);
        }
        false
    }

    /// Starts a thread. Where that fails, everything waits until another attempt succeeds.
    fn start_thread(&self) -> bool {
        let queue = self.clone();
        let thread = std::thread::Builder::new().name("close".to_owned()).stack_size(STACK);
        thread.spawn(move || queue.work()).is_ok()
    }

    /// What a thread does: closes, one depositor's batch after the other.
    fn work(&self) {
        let mut state = self.0.lock();
        state.called = false;
        loop {
            let (depositor, jobs);
            let call = |state: &mut State| {
                if self.call(state) {
                    self.0.work.notify_one();
                }
            };
            (state, depositor, jobs) = match self.0.next(state, call) {
                (state, Some((depositor, jobs))) => (state, depositor, jobs),
                (mut state, None) => {
                    state.threads -= 1;
                    return;
                }
            };
            drop(state);
            jobs.into_iter().for_each(CloseJob::run);
            self.0.batch_closed.notify_one();
            state = self.0.lock();
            state.end_turn(depositor);
        }
    }
}

impl Shared {
    /// A panic while the state is locked leaves it whole: nothing is changed halfway.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for a turn and takes it, after `call` has found another thread for the rest; returns
    /// no turn if there was nothing to do for a long time.
    fn next<'a>(
        &'a self,
        mut state: MutexGuard<'a, State>,
        call: impl Fn(&mut State),
    ) -> (MutexGuard<'a, State>, Option<CloseBatch>) {
        loop {
            let now = Instant::now();
            if let Some(turn) = state.take_turn(now, self.limit) {
                // This thread may be away for long.
                call(&mut state);
                return (state, Some(turn));
            }
            let next = state.next_due(now).filter(|_| !state.timed);
            let timed_out;
            state.timed |= next.is_some();
            (state, timed_out) = self.wait(state, next.unwrap_or(IDLE));
            state.timed &= next.is_none();
            if timed_out && next.is_none() && (state.turns.is_empty() || state.timed) {
                return (state, None);
            }
        }
    }

    /// Waits to be called, up to a time; returns also whether that time was up.
    fn wait<'a>(
        &'a self,
        mut state: MutexGuard<'a, State>,
        time: Duration,
    ) -> (MutexGuard<'a, State>, bool) {
        state.idle += 1;
        let woken = self.work.wait_timeout(state, time);
        let (mut state, timeout) = woken.unwrap_or_else(PoisonError::into_inner);
        state.idle -= 1;
        state.called = false;
        (state, timeout.timed_out())
    }
}

/// A depositor whose turn has come, and what is to be closed for it.
type CloseBatch = (Depositor, Vec<CloseJob>);

impl State {
    /// Lets a depositor's turn come now, and those of all before it.
    fn bring_forward(&mut self, depositor: Depositor) {
        let Some(last) = self.turns.iter().position(|(_, other)| *other == depositor) else {
            return;
        };
        let now = Instant::now();
        self.turns.iter_mut().take(last + 1).for_each(|(due, _)| *due = now.min(*due));
    }

    /// Takes the first turn that has come. The last threads are left to system users.
    fn take_turn(&mut self, now: Instant, limit: Threads) -> Option<CloseBatch> {
        let for_all = self.busy.len() < limit.all.saturating_sub(limit.for_system_users);
        let may = |depositor: Depositor| for_all || depositor.is_of_the_system();
        let first = self.turns.iter().position(|(due, other)| *due <= now && may(*other))?;
        let (_, depositor) = self.turns.remove(first)?;
        self.busy.insert(depositor);
        Some((depositor, self.waiting.remove(&depositor)?))
    }

    fn end_turn(&mut self, depositor: Depositor) {
        self.busy.remove(&depositor);
        let Some(jobs) = self.waiting.get(&depositor) else { return };
        // The rest waits for others too: else batches would be of two or three.
        let soon = jobs.len() >= BATCH || jobs.iter().any(|job| job.soon);
        let delay = if soon { Duration::ZERO } else { DELAY };
        self.turns.push_back((Instant::now() + delay, depositor));
    }

    fn has_work_for(&self, depositor: Depositor) -> bool {
        self.busy.contains(&depositor) || self.waiting.contains_key(&depositor)
    }

    /// How long it is until the next turn that has not come yet.
    fn next_due(&self, now: Instant) -> Option<Duration> {
        let waits = self.turns.iter().map(|(due, _)| due.saturating_duration_since(now));
        waits.filter(|wait| !wait.is_zero()).min()
    }
}

impl Depositor {
    /// Whether the last threads may work for it.
    fn is_of_the_system(self) -> bool {
        match self {
            Self::User(uid) => uid.0 < FIRST_ORDINARY_USER,
            Self::Nobody | Self::Broker => true,
            // Peers decide whether these can be closed.
            Self::Unread(_) => false,
        }
    }
}

impl From<Uid> for Depositor {
    fn from(uid: Uid) -> Self {
        Self::User(uid)
    }
}

impl Drop for State {
    /// Without threads the descriptors stay open until the process has ended.
    fn drop(&mut self) {
        for job in mem::take(&mut self.waiting).into_values().flatten() {
            mem::forget(job.descriptor);
        }
    }
}

impl CloseJob {
    fn run(self) {
        // The data of a socket that lingers still goes out, but nobody waits for that: neither do the
        // closes behind it. An error means that it is no socket.
        if !matches!(socket_linger(&self.descriptor), Ok(None) | Err(_)) {
            let _ = set_socket_linger(&self.descriptor, None);
        }
        drop(self.descriptor);
        drop(self.after);
    }
}

impl DeferredClose {
    /// Returns the descriptor, which is there until this is dropped.
    pub(crate) fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        self.descriptor.as_ref().map(AsFd::as_fd)
    }

    /// Returns the descriptor's number, or -1 when it has been taken out.
    pub(crate) fn number(&self) -> i32 {
        self.descriptor.as_ref().map_or(-1, AsRawFd::as_raw_fd)
    }

    /// Returns the descriptor itself. The caller closes it.
    pub(crate) fn into_inner(mut self) -> Option<OwnedFd> {
        self.descriptor.take()
    }

    /// Has it closed without waiting for others, once it is dropped: somebody waits for that.
    pub(crate) fn close_soon(&self) {
        self.soon.store(true, Ordering::Relaxed);
    }

    /// Has it closed on account of another depositor than at first.
    pub(crate) fn move_to(&mut self, depositor: impl Into<Depositor>) {
        self.depositor = depositor.into();
    }

    /// Keeps `after` until the descriptor has been closed. It is a charge, or a channel whose
    /// receiver waits for the close.
    pub(crate) fn keep_until_closed(&mut self, after: impl Send + Sync + 'static) {
        self.after = Some(Box::new(after));
    }
}

impl From<DeferredClose> for Option<OwnedFd> {
    fn from(deferred: DeferredClose) -> Self {
        deferred.into_inner()
    }
}

impl Drop for DeferredClose {
    fn drop(&mut self) {
        if let Some(descriptor) = self.descriptor.take() {
            let soon = *self.soon.get_mut();
            let job = CloseJob { descriptor, soon, after: self.after.take() };
            self.queue.push(self.depositor, job);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
    use std::sync::{Mutex, PoisonError};
    use std::thread::ThreadId;
    use std::time::Duration;

    use fdbroker_policy::Uid;

    use super::{BATCH, CloseQueue, DeferredClose, Depositor, Threads, UNREAD};

    /// Far beyond what anything here takes.
    const PATIENCE: Duration = Duration::from_secs(30);

    /// Blocks the thread that drops it until the other end is dropped.
    struct Block(Mutex<Receiver<()>>);

    impl Drop for Block {
        fn drop(&mut self) {
            let _ = self.0.get_mut().unwrap_or_else(PoisonError::into_inner).recv();
        }
    }

    /// Tells which thread dropped it.
    struct Told(Sender<ThreadId>);

    impl Drop for Told {
        fn drop(&mut self) {
            let _ = self.0.send(std::thread::current().id());
        }
    }

    fn held(queue: &CloseQueue, uid: u32) -> DeferredClose {
        held_for(queue, Uid(uid).into())
    }

    fn held_for(queue: &CloseQueue, depositor: Depositor) -> DeferredClose {
        queue.hold(depositor, std::io::pipe().unwrap().0.into())
    }

    /// Blocks the thread of a user; returns what ends that.
    fn block(queue: &CloseQueue, uid: u32) -> Sender<()> {
        block_for(queue, Uid(uid).into())
    }

    fn block_for(queue: &CloseQueue, depositor: Depositor) -> Sender<()> {
        let (release, blocked) = channel();
        let (begun, begins) = channel();
        let mut first = held_for(queue, depositor);
        first.keep_until_closed(Told(begun));
        drop(first);
        let mut second = held_for(queue, depositor);
        second.keep_until_closed(Block(Mutex::new(blocked)));
        drop(second);
        begins.recv_timeout(PATIENCE).expect("it has a thread");
        release
    }

    fn is_closed(queue: &CloseQueue, uid: u32, within: Duration) -> bool {
        let (closed, is_closed) = channel();
        let mut descriptor = held(queue, uid);
        descriptor.keep_until_closed(Told(closed));
        drop(descriptor);
        match is_closed.recv_timeout(within) {
            Ok(thread) => {
                assert_ne!(thread, std::thread::current().id());
                true
            }
            Err(RecvTimeoutError::Timeout) => false,
            Err(RecvTimeoutError::Disconnected) => panic!("it was dropped untold"),
        }
    }

    #[test]
    fn no_descriptor_is_closed_by_the_thread_that_drops_it() {
        let queue = CloseQueue::new();
        let (mut reader, writer) = std::io::pipe().unwrap();
        drop(queue.hold(Uid(1), writer.into()));
        assert!(is_closed(&queue, 1, PATIENCE));
        // In order: the pipe, which was before it, has been closed too.
        assert_eq!(reader.read(&mut [0]).unwrap(), 0);
    }

    #[test]
    fn a_close_that_blocks_delays_only_its_depositor() {
        let queue = CloseQueue::new();
        let _release = block(&queue, 2000);
        for uid in [2001, 2002, 0] {
            assert!(is_closed(&queue, uid, PATIENCE), "uid {uid}");
        }
        assert!(!is_closed(&queue, 2000, Duration::from_millis(100)));
    }

    #[test]
    fn sockets_with_something_unread_do_not_wait_for_each_other() {
        let queue = CloseQueue::new();
        let blocked: Vec<_> = (0..UNREAD - 1).map(|_| block_for(&queue, queue.unread())).collect();
        // However often it is asked for.
        let free = queue.unread();
        assert_eq!(queue.unread(), free, "the only one that has nothing to close");
        drop(block_for(&queue, free));
        assert!(is_closed(&queue, 2000, PATIENCE));
        drop(blocked);
    }

    #[test]
    fn sockets_with_something_unread_have_few_threads() {
        let queue = CloseQueue::new();
        let _blocked: Vec<_> = (0..UNREAD).map(|_| block_for(&queue, queue.unread())).collect();
        (0..100).for_each(|_| drop(held_for(&queue, queue.unread())));
        assert!(is_closed(&queue, 2000, PATIENCE));
        assert!(queue.0.lock().threads <= usize::from(UNREAD) + 2);
    }

    #[test]
    fn a_depositor_has_one_thread_however_much_it_brings() {
        let queue = CloseQueue::new();
        let release = block(&queue, 2000);
        for _ in 0..10 * BATCH {
            drop(held(&queue, 2000));
        }
        assert!(queue.0.lock().threads <= 2, "one at work, and one that waited");
        drop(release);
        assert!(is_closed(&queue, 2000, PATIENCE));
    }

    #[test]
    fn what_is_dropped_while_a_thread_is_at_work_waits_together() {
        let queue = CloseQueue::new();
        let release = block(&queue, 2000);
        (0..BATCH / 2).for_each(|_| drop(held(&queue, 2000)));
        assert_eq!(queue.0.lock().waiting.get(&Uid(2000).into()).map_or(0, Vec::len), BATCH / 2);
        drop(release);
        assert!(is_closed(&queue, 2000, PATIENCE));
    }

    #[test]
    fn the_last_threads_are_for_system_users() {
        let queue = CloseQueue::with(Threads { all: 4, for_system_users: 2 });
        let _blocked: Vec<_> = [2000, 2001].map(|uid| block(&queue, uid)).into();
        assert!(!is_closed(&queue, 2002, Duration::from_millis(100)));
        let _more = block(&queue, 7);
        assert!(is_closed(&queue, 8, PATIENCE));
        assert!(!is_closed(&queue, 2003, Duration::from_millis(100)));
    }

    #[test]
    fn without_a_thread_everything_waits_and_nothing_blocks() {
        let queue = CloseQueue::with(Threads { all: 0, for_system_users: 0 });
        let (mut reader, writer) = std::io::pipe().unwrap();
        rustix::io::ioctl_fionbio(&reader, true).unwrap();
        drop(queue.hold(Uid(1), writer.into()));
        assert!(!is_closed(&queue, 1, Duration::from_millis(50)));
        drop(queue);
        let error = reader.read(&mut [0]).unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::WouldBlock, "it is still open");
    }
}
