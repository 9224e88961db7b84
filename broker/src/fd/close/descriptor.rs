//! A descriptor that a thread of the queue closes after it is dropped.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};

use super::depositor::Depositor;
use super::queue::CloseQueue;
use super::turn::CloseJob;

/// A descriptor that is closed by a thread of the queue after it is dropped.
pub(crate) struct DeferredClose {
    /// Only taken out when dropped.
    descriptor: Option<OwnedFd>,
    depositor: Depositor,
    queue: CloseQueue,
    /// Somebody waits for it.
    soon: AtomicBool,
    /// Whether the connection is shut down first.
    shut: AtomicBool,
    /// Dropped when the descriptor has been closed.
    after: Option<Box<dyn Send + Sync>>,
}

impl CloseQueue {
    /// Takes over a descriptor, to be closed on account of `depositor`.
    pub(crate) fn hold(
        &self,
        depositor: impl Into<Depositor>,
        descriptor: OwnedFd,
    ) -> DeferredClose {
        let (queue, depositor) = (self.clone(), depositor.into());
        let (soon, shut) = (AtomicBool::new(false), AtomicBool::new(false));
        DeferredClose { descriptor: Some(descriptor), depositor, queue, soon, shut, after: None }
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

    /// Has it shut down before it is closed, if it is a socket: then it ends also where others have it. With
    /// `false`, it is only closed.
    pub(crate) fn shut_when_closed(&self, shut: bool) {
        self.shut.store(shut, Ordering::Relaxed);
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
            let (soon, shut) = (*self.soon.get_mut(), *self.shut.get_mut());
            let job = CloseJob { descriptor, soon, shut, after: self.after.take() };
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

    use crate::payer::Payer;

    use super::super::crews::Threads;
    use super::super::queue::UNREAD;
    use super::super::waiting::BATCH;
    use super::{CloseQueue, DeferredClose, Depositor};

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

    /// Threads for a few accounts, and no spares.
    fn few(accounts: usize) -> Threads {
        let few = accounts.min(2);
        Threads { accounts, for_system_users: few, without_right: few, spares: 0 }
    }

    fn held(queue: &CloseQueue, uid: u32) -> DeferredClose {
        held_for(queue, Payer::named(uid).into())
    }

    fn held_for(queue: &CloseQueue, depositor: Depositor) -> DeferredClose {
        queue.hold(depositor, std::io::pipe().unwrap().0.into())
    }

    /// Blocks the thread of a user; returns what ends that.
    fn block(queue: &CloseQueue, uid: u32) -> Sender<()> {
        block_for(queue, Payer::named(uid).into())
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
        drop(queue.hold(Payer::named(1), writer.into()));
        assert!(is_closed(&queue, 1, PATIENCE));
        // In order: the pipe, which was before it, has been closed too.
        assert_eq!(reader.read(&mut [0]).unwrap(), 0);
    }

    #[test]
    fn a_connection_is_shut_down_before_it_is_closed_only_if_that_is_said_last() {
        let queue = CloseQueue::new();
        for (said, ends) in [(&[true][..], true), (&[true, false], false), (&[], false)] {
            let (ours, mut theirs) = std::os::unix::net::UnixStream::pair().unwrap();
            theirs.set_nonblocking(true).unwrap();
            let _other = ours.try_clone().unwrap();
            let held = queue.hold(Payer::named(1), ours.into());
            said.iter().for_each(|shut| held.shut_when_closed(*shut));
            drop(held);
            assert!(is_closed(&queue, 1, PATIENCE));
            assert_eq!(theirs.read(&mut [0]).is_ok_and(|length| length == 0), ends, "{said:?}");
        }
    }

    #[test]
    fn a_close_that_blocks_delays_only_its_depositor() {
        let queue = CloseQueue::with(few(8));
        let _release = block(&queue, 2000);
        for uid in [2001, 2002, 0] {
            assert!(is_closed(&queue, uid, PATIENCE), "uid {uid}");
        }
        assert!(!is_closed(&queue, 2000, Duration::from_millis(100)));
    }

    #[test]
    fn what_comes_after_closes_that_block_is_closed_by_another_thread() {
        let queue = CloseQueue::new();
        let blocked: Vec<_> = (0..20).map(|_| block(&queue, 2000)).collect();
        assert!(is_closed(&queue, 2000, PATIENCE));
        drop(blocked);
        assert!(is_closed(&queue, 2000, PATIENCE));
    }

    #[test]
    fn what_lies_in_the_same_batch_as_a_close_that_blocks_is_closed_too() {
        let queue = CloseQueue::new();
        let (release, blocked) = channel();
        let mut first = held(&queue, 2000);
        first.keep_until_closed(Block(Mutex::new(blocked)));
        let (closed, is_closed) = channel();
        let mut second = held(&queue, 2000);
        second.keep_until_closed(Told(closed));
        drop((first, second));
        is_closed.recv_timeout(PATIENCE).expect("nothing comes after it, and yet it is closed");
        drop(release);
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
    fn a_depositor_has_one_thread_at_work_however_much_it_brings() {
        let queue = CloseQueue::new();
        let release = block(&queue, 2000);
        for _ in 0..10 * BATCH {
            drop(held(&queue, 2000));
        }
        assert!(queue.0.lock().threads <= 3, "one asleep, one at work, one that waits");
        drop(release);
        assert!(is_closed(&queue, 2000, PATIENCE));
    }

    #[test]
    fn what_is_dropped_while_a_thread_is_at_work_waits_together() {
        let queue = CloseQueue::with(few(8));
        let release = block(&queue, 2000);
        (0..BATCH / 2).for_each(|_| drop(held(&queue, 2000)));
        let waiting =
            queue.0.lock().waiting.get(&Payer::named(2000).into()).map_or(0, |jobs| jobs.len());
        assert_eq!(waiting, BATCH / 2);
        drop(release);
        assert!(is_closed(&queue, 2000, PATIENCE));
    }

    #[test]
    fn the_last_threads_are_for_system_users() {
        let queue = CloseQueue::with(few(4));
        let _blocked: Vec<_> = [2000, 2001].map(|uid| block(&queue, uid)).into();
        assert!(!is_closed(&queue, 2002, Duration::from_millis(100)));
        let _more = block(&queue, 7);
        assert!(is_closed(&queue, 8, PATIENCE));
        assert!(!is_closed(&queue, 2003, Duration::from_millis(100)));
    }

    #[test]
    fn what_takes_no_right_to_bring_leaves_threads_for_deposits() {
        let queue = CloseQueue::with(few(8));
        let brought = |uid| Depositor::Brought(Payer::named(uid));
        let _blocked: Vec<_> = [2000, 2001].map(|uid| block_for(&queue, brought(uid))).into();
        drop(held_for(&queue, brought(2002)));
        for uid in [2000, 2001, 2002] {
            assert!(is_closed(&queue, uid, PATIENCE), "a deposit of uid {uid}");
        }
        assert!(queue.0.lock().waiting.contains_key(&brought(2002)), "it has no thread");
    }

    #[test]
    fn without_a_thread_everything_waits_and_nothing_blocks() {
        let queue = CloseQueue::with(few(0));
        let (mut reader, writer) = std::io::pipe().unwrap();
        rustix::io::ioctl_fionbio(&reader, true).unwrap();
        drop(queue.hold(Payer::named(1), writer.into()));
        assert!(!is_closed(&queue, 1, Duration::from_millis(50)));
        drop(queue);
        let error = reader.read(&mut [0]).unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::WouldBlock, "it is still open");
    }
}
