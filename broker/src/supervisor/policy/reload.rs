//! Reads the policy again, on a thread of its own: looking names up and opening resources can take
//! their time. Until that is done, peers are served under the old policy.
//!
//! Bounded: a reload that does not end is abandoned, and what it opens later is closed. All or
//! nothing: a policy that does not load, a resource that does not open, or a change that needs a
//! restart leaves everything as it was.

use std::time::{Duration, SystemTime};

use fdbroker_host::ReloadNote;
use fdbroker_policy::{Moment, Resource};
use fdbroker_types::quoted;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::time::{Instant, sleep_until};

use super::source::PolicySource;
use crate::sandbox::capabilities;
use crate::supervisor::policy_error::ReloadError;
use crate::supervisor::resources::pool::Opener;

/// How long one may take.
const PATIENCE: Duration = Duration::from_secs(60);
/// How much of the reason why one has failed is told in the status, in characters.
const LONGEST_REASON: usize = 300;
/// How many that were given up may still be under way before no other is begun.
const MAX_STUCK: usize = 4;

/// A policy that was read again, with its resources ready.
pub(crate) struct Fresh {
    pub(crate) source: PolicySource,
    pub(crate) opener: Opener,
    /// The resources that have been opened, to be shared by all who may have them.
    pub(crate) opened: Vec<Resource>,
    /// What was opened, closed and kept.
    pub(crate) changes: String,
}

/// Who asked for a reload.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Asker {
    /// A session, by the worker's ticket.
    Session(u32),
    /// A signal, or a session of a worker that has died.
    Operator,
    /// The files of the policy have changed while an older one is in force.
    Files,
    /// Names of the policy are open.
    Names,
}

impl Asker {
    /// The ticket of a session.
    pub(crate) fn ticket(&self) -> Option<u32> {
        match self {
            Self::Session(ticket) => Some(*ticket),
            Self::Operator | Self::Files | Self::Names => None,
        }
    }
}

/// The result of a reload, and those who asked for it before it began.
pub(crate) type Done = (Outcome, Vec<Asker>);

type Outcome = Result<Box<Fresh>, ReloadError>;

/// Reloads, one at a time: those who ask while one is under way have the next one together, since
/// the files may have changed after they were read.
pub(crate) struct Reloads {
    under_way: Option<UnderWay>,
    waiting: Vec<Asker>,
    /// How many have been given up and have not ended.
    stuck: usize,
    next: u64,
    /// What became of the last one, and when.
    last: Option<(Moment, Result<(), String>)>,
    /// When the last one that has ended began.
    began: u64,
    outcomes: UnboundedSender<(u64, Outcome)>,
    done: UnboundedReceiver<(u64, Outcome)>,
}

/// The one that is under way.
struct UnderWay {
    number: u64,
    began: u64,
    askers: Vec<Asker>,
    until: Instant,
}

impl Reloads {
    pub(crate) fn new() -> Self {
        let (outcomes, done) = unbounded_channel();
        let (under_way, waiting) = (None, Vec::new());
        Self { under_way, waiting, stuck: 0, next: 0, last: None, began: 0, outcomes, done }
    }

    /// Asks for a reload; one is begun unless one is under way.
    pub(crate) fn ask(&mut self, asker: Asker, source: &PolicySource, opener: &Opener) {
        self.waiting.push(asker);
        self.begin(source, opener);
    }

    /// Begins the next reload, if one is asked for and none is under way.
    pub(crate) fn begin(&mut self, source: &PolicySource, opener: &Opener) {
        if self.under_way.is_none() && !self.waiting.is_empty() {
            let (source, opener) = (source.clone(), opener.clone());
            if self.waiting.iter().all(|asker| *asker == Asker::Names) {
                self.begin_with(move || with_names(&source, &opener).map(Box::new));
            } else {
                self.begin_with(move || fresh(&source, &opener).map(Box::new));
            }
        }
    }

    fn begin_with(&mut self, read: impl FnOnce() -> Outcome + Send + 'static) {
        let (number, askers) = (self.next, std::mem::take(&mut self.waiting));
        self.next += 1;
        let (began, until) = (ReloadNote::now(), Instant::now() + PATIENCE);
        self.under_way = Some(UnderWay { number, began, askers, until });
        if self.stuck >= MAX_STUCK {
            // This end is open as long as the other.
            let _ = self.outcomes.send((number, Err(ReloadError::Hangs)));
            return;
        }
        let outcomes = self.outcomes.clone();
        let begun = std::thread::Builder::new().name("reload".to_owned()).spawn(move || {
            // Nobody listens when the broker ends.
            let _ = outcomes.send((number, read()));
        });
        if let Err(error) = begun {
            // As above.
            let _ = self.outcomes.send((number, Err(ReloadError::NoThread(error))));
        }
    }

    /// Waits until a reload has ended, or abandons it. Can be dropped and called again.
    pub(crate) async fn done(&mut self) -> Done {
        loop {
            let under_way = self.under_way.as_ref();
            let until = under_way.map_or_else(Instant::now, |reload| reload.until);
            let outcome = tokio::select! {
                biased;
                Some((number, outcome)) = self.done.recv() => {
                    if under_way.is_none_or(|reload| reload.number != number) {
                        self.stuck -= 1;
                        continue;
                    }
                    outcome
                }
                () = sleep_until(until), if under_way.is_some() => {
                    self.stuck += 1;
                    Err(ReloadError::Hangs)
                }
            };
            let Some(UnderWay { began, askers, .. }) = self.under_way.take() else {
                return (outcome, Vec::new());
            };
            self.began = began;
            return (outcome, askers);
        }
    }

    /// When the last one that has ended began, as a [`ReloadNote`] has it.
    pub(crate) fn began(&self) -> u64 {
        self.began
    }

    /// Notes what became of one; a failure with its reason. Returns whether the same became of the last one.
    pub(crate) fn note(&mut self, outcome: Result<(), String>) -> bool {
        let now = Moment::new(Moment::from(SystemTime::now()).seconds(), 0);
        let outcome =
            outcome.map_err(|reason| reason.chars().take(LONGEST_REASON).collect::<String>());
        let before = self.last.replace((now, outcome.clone()));
        before.is_some_and(|(_, before)| before == outcome)
    }

    /// What became of the last one, on one line.
    pub(crate) fn last(&self) -> String {
        match &self.last {
            None => "none".to_owned(),
            Some((when, Ok(()))) => format!("ok, {when}"),
            Some((when, Err(reason))) => format!("failed, {when}: {}", quoted(reason)),
        }
    }

    /// Whether the last one has failed.
    pub(crate) fn last_failed(&self) -> bool {
        self.last.as_ref().is_some_and(|(_, outcome)| outcome.is_err())
    }

    /// Whether a thread hangs that was given up.
    pub(crate) fn hang(&self) -> bool {
        self.stuck > 0
    }

    /// Whether none is under way or asked for.
    pub(crate) fn are_over(&self) -> bool {
        self.under_way.is_none() && self.waiting.is_empty()
    }

    /// Forgets the tickets of a worker that has died.
    pub(crate) fn forget_tickets(&mut self) {
        let under_way = self.under_way.iter_mut().flat_map(|reload| &mut reload.askers);
        let askers = under_way.chain(&mut self.waiting);
        for asker in askers {
            if let Asker::Session(_) = asker {
                *asker = Asker::Operator;
            }
        }
    }
}

/// The policy in force, with the names that are known now.
fn with_names(before: &PolicySource, opener: &Opener) -> Result<Fresh, ReloadError> {
    let source = before.with_names_again()?.ok_or(ReloadError::NoNews)?;
    made(source, opener)
}

fn fresh(before: &PolicySource, opener: &Opener) -> Result<Fresh, ReloadError> {
    let source = before.read_again()?;
    capabilities::are_held(&before.policy, &source.policy)?;
    made(source, opener)
}

fn made(source: PolicySource, opener: &Opener) -> Result<Fresh, ReloadError> {
    let (opener, changes) = opener.again(source.policy.resources())?;
    let text = changes.to_string();
    Ok(Fresh { source, opener, opened: changes.opened, changes: text })
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_does_not_come_to_an_end_is_given_up_and_the_next_one_is_begun() {
        let mut reloads = Reloads::new();
        let (end, ended) = channel::<()>();
        reloads.waiting.push(Asker::Session(7));
        reloads.begin_with(move || {
            // It ends with the test.
            let _ = ended.recv();
            Err(ReloadError::AccountChanges)
        });
        let (outcome, askers) = reloads.done().await;
        assert!(matches!(outcome, Err(ReloadError::Hangs)));
        assert_eq!(askers, [Asker::Session(7)]);

        tokio::time::resume();
        reloads.waiting.push(Asker::Session(8));
        reloads.begin_with(|| Err(ReloadError::Gone("/nowhere".into())));
        let (outcome, askers) = reloads.done().await;
        assert!(matches!(outcome, Err(ReloadError::Gone(_))));
        assert_eq!((askers, reloads.stuck), (vec![Asker::Session(8)], 1));
        drop(end);
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_ends_too_late_is_no_news_and_not_stuck_any_more() {
        let mut reloads = Reloads::new();
        let (end, ended) = channel::<()>();
        reloads.begin_with(move || {
            // As above.
            let _ = ended.recv();
            Err(ReloadError::AccountChanges)
        });
        assert!(matches!(reloads.done().await.0, Err(ReloadError::Hangs)));
        reloads.outcomes.send((0, Err(ReloadError::AccountChanges))).ok().unwrap();
        tokio::time::resume();
        reloads.begin_with(|| Err(ReloadError::Gone("/nowhere".into())));
        assert!(matches!(reloads.done().await.0, Err(ReloadError::Gone(_))));
        assert_eq!(reloads.stuck, 0);
        drop(end);
    }

    #[tokio::test(start_paused = true)]
    async fn behind_a_few_that_are_stuck_none_is_begun() {
        let mut reloads = Reloads::new();
        let (end, ended) = channel::<()>();
        let ended = std::sync::Arc::new(std::sync::Mutex::new(ended));
        for _ in 0..MAX_STUCK {
            let ended = std::sync::Arc::clone(&ended);
            reloads.begin_with(move || {
                // As above.
                let _ = ended.lock().map(|ended| ended.recv());
                Err(ReloadError::AccountChanges)
            });
            assert!(reloads.done().await.0.is_err());
        }
        reloads.begin_with(|| unreachable!("it was begun"));
        assert!(matches!(reloads.done().await.0, Err(ReloadError::Hangs)));
        assert_eq!(reloads.stuck, MAX_STUCK);
        drop(end);
    }
}
