//! Asks on threads, each of which may be left behind.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::sync_channel;
use std::time::Duration;

use super::bounded::NameService;
use super::question::{Answer, Question};
use super::system::ask_name_service;

/// How many threads may be under way. Beyond that, nothing is asked.
const MOST: usize = 16;

static UNDER_WAY: AtomicUsize = AtomicUsize::new(0);

/// The machine's name service, asked on threads.
#[derive(Clone, Copy, Debug, Default)]
pub struct OnThreads;

impl NameService for OnThreads {
    fn ask(&self, question: &Question, within: Duration) -> Option<Answer> {
        let question = question.clone();
        in_time(within, move || ask_name_service(&question))
    }
}

/// One thread. It counts until it ends.
struct Counted(&'static AtomicUsize);

impl Counted {
    fn new(under_way: &'static AtomicUsize) -> Option<Self> {
        let counted = Self(under_way);
        (under_way.fetch_add(1, Ordering::Relaxed) < MOST).then_some(counted)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Returns what `ask` does; `None` if that takes longer, if too many others are under way, or without a thread.
pub(crate) fn in_time<T: Send + 'static>(
    within: Duration,
    ask: impl FnOnce() -> T + Send + 'static,
) -> Option<T> {
    in_time_of(&UNDER_WAY, within, ask)
}

fn in_time_of<T: Send + 'static>(
    under_way: &'static AtomicUsize,
    within: Duration,
    ask: impl FnOnce() -> T + Send + 'static,
) -> Option<T> {
    let counted = Counted::new(under_way)?;
    let (sender, answer) = sync_channel(1);
    let run = move || {
        let _counted = counted;
        // Nobody listens where it took too long.
        let _ = sender.send(ask());
    };
    std::thread::Builder::new().name("names".to_owned()).spawn(run).ok()?;
    answer.recv_timeout(within).ok()
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use super::*;

    #[test]
    fn threads_that_do_not_end_are_left_and_counted() {
        static OWN: AtomicUsize = AtomicUsize::new(0);
        let mut ends = Vec::new();
        let hang = || {
            let (end, ended) = channel::<()>();
            let answer = in_time_of(&OWN, Duration::from_millis(1), move || ended.recv().is_ok());
            (end, answer)
        };
        for _ in 0..MOST {
            let (end, answer) = hang();
            assert_eq!(answer, None);
            ends.push(end);
        }
        let wait = || in_time_of(&OWN, Duration::from_secs(60), || 7);
        assert_eq!(wait(), None, "too many are under way");
        drop(ends);
        let answer = std::iter::repeat_with(wait).take(1_000_000).find_map(|answer| answer);
        assert_eq!(answer, Some(7));
    }
}
