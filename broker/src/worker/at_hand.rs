//! On which slot this worker is at work: what it tells with its last breath when it panics.
//!
//! A deposit or request that brings one worker down brings the next one down too. The supervisor
//! sets a deposit aside on which several have died.

use std::cell::Cell;
use std::future::Future;
use std::io::IoSlice;
use std::os::fd::{AsFd, BorrowedFd};
use std::pin::Pin;
use std::task::Poll;

use fdbroker_wire::{Control, Message, Slot};

use crate::transmit::transmit;

thread_local! {
    static AT_HAND: Cell<Option<Slot>> = const { Cell::new(None) };
}

/// Does something on a slot.
pub(super) fn on<T>(slot: Slot, work: impl FnOnce() -> T) -> T {
    AT_HAND.set(Some(slot));
    let done = work();
    AT_HAND.set(None);
    done
}

/// The same for what waits: only while it is at work.
pub(super) async fn during<T>(
    slot: Option<Slot>,
    mut work: Pin<&mut impl Future<Output = T>>,
) -> T {
    std::future::poll_fn(|context| -> Poll<T> {
        AT_HAND.set(slot);
        let state = work.as_mut().poll(context);
        AT_HAND.set(None);
        state
    })
    .await
}

/// Tells the supervisor on which slot this thread is at work, if on any.
pub(super) fn confess(link: BorrowedFd<'_>) {
    let Some(slot) = AT_HAND.get() else { return };
    let message = Control::<BorrowedFd<'_>>::Suspect(slot).into_extended();
    let bytes = Message::Extended(message).to_bytes();
    // Without it, this death is one for an unknown reason.
    let _ = transmit(link.as_fd(), &[IoSlice::new(&bytes)], &[]);
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use super::*;

    #[tokio::test]
    async fn what_waits_is_not_at_hand() {
        let slot = Slot::new(1, 5).unwrap();
        let work = async {
            assert_eq!(AT_HAND.get(), Some(slot));
            tokio::task::yield_now().await;
            assert_eq!(AT_HAND.get(), Some(slot));
        };
        let other = async { assert_eq!(AT_HAND.get(), None) };
        let work = pin!(work);
        tokio::join!(during(Some(slot), work), other);
        assert_eq!(AT_HAND.get(), None);
    }
}
