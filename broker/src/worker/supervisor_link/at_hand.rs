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

/// Does something on a slot, maybe within something else.
pub(crate) fn on<T>(slot: Slot, work: impl FnOnce() -> T) -> T {
    let before = AT_HAND.replace(Some(slot));
    let done = work();
    AT_HAND.set(before);
    done
}

/// The same for what waits: only while it is at work.
pub(crate) async fn during<T>(
    slot: Option<Slot>,
    mut work: Pin<&mut impl Future<Output = T>>,
) -> T {
    std::future::poll_fn(|context| -> Poll<T> {
        let before = AT_HAND.replace(slot);
        let state = work.as_mut().poll(context);
        AT_HAND.set(before);
        state
    })
    .await
}

/// Tells the supervisor on which slot this thread is at work, if on any.
pub(crate) fn confess(link: BorrowedFd<'_>) {
    let Some(slot) = AT_HAND.get() else { return };
    let message = Control::<BorrowedFd<'_>>::Suspect(slot).into_extended();
    let bytes = Message::Extended(message).to_bytes();
    // Without it, this death is one for an unknown reason.
    let _ = transmit(link.as_fd(), &[IoSlice::new(&bytes)], &[]);
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::os::fd::OwnedFd;
    use std::os::unix::net::UnixStream;
    use std::os::unix::process::ExitStatusExt;
    use std::pin::pin;
    use std::process::{Command, Stdio};

    use super::*;
    use crate::sandbox::confine_worker;
    use crate::sys::adopt::adopt;

    /// Says to a process that it is to be the worker that panics.
    const PANICS: &str = "FDBROKER_TEST_PANICS";
    const NOT_CONFINED: i32 = 77;

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

    /// Does what this process was started for, if it was: confines itself as the worker does, and panics on
    /// a slot.
    #[test]
    fn panic_in_a_process_of_its_own() {
        if std::env::var_os(PANICS).is_none() {
            return;
        }
        crate::worker::end_on_panic(adopt(0).unwrap());
        if !confine_worker(false).unwrap().missing().is_empty() {
            std::process::exit(NOT_CONFINED);
        }
        on(Slot::new(1, 5).unwrap(), || panic!("a fault of ours"));
    }

    #[test]
    fn a_confined_worker_that_panics_names_the_slot_and_ends() {
        let (mut link, end) = UnixStream::pair().unwrap();
        let mut command = Command::new(std::env::current_exe().unwrap());
        let own = module_path!().split_once("::").unwrap().1;
        command.args(["--exact", &format!("{own}::panic_in_a_process_of_its_own")]);
        // As for the worker the environment is empty but for that: to trace back takes more calls.
        command.args(["--nocapture", "--test-threads=1"]).env_clear().env(PANICS, "1");
        let output = command.stdin(Stdio::from(OwnedFd::from(end))).output().unwrap();
        drop(command);
        if output.status.code() == Some(NOT_CONFINED) {
            return eprintln!("skipped: this system does not confine the worker");
        }
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.signal(), Some(libc::SIGABRT), "{said}");
        assert!(said.contains("a fault of ours"), "{said}");
        let mut bytes = Vec::new();
        link.read_to_end(&mut bytes).unwrap();
        let slot = Slot::new(1, 5).unwrap();
        let suspect = Control::<OwnedFd>::Suspect(slot).into_extended();
        assert_eq!(bytes, Message::Extended(suspect).to_bytes());
    }

    #[test]
    fn what_is_done_within_something_else_hides_it_for_as_long() {
        let [outer, inner] = [5, 6].map(|index| Slot::new(1, index).unwrap());
        on(outer, || {
            on(inner, || assert_eq!(AT_HAND.get(), Some(inner)));
            assert_eq!(AT_HAND.get(), Some(outer));
        });
        assert_eq!(AT_HAND.get(), None);
    }
}
