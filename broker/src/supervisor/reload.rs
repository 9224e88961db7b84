//! Reading the policy again, on a thread of its own: looking names up and opening what is opened
//! at start can take their time, and whoever asks meanwhile is served under the old policy.
//!
//! Within bounds: one that does not come to an end is given up, and what it opens later is closed.
//! All or nothing: a policy that does not load, a resource that does not open, or what takes a
//! restart leave everything as it was.

use std::io;
use std::time::Duration;

use fdbroker_host::PolicyFileError;
use fdbroker_policy::Resource;
use fdbroker_wire::{Control, Errno};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::time::{Instant, sleep_until};

use super::StartError;
use super::lifecycle::Supervisor;
use super::link::Link;
use super::opener::Opener;
use super::policy_source::PolicySource;
use super::readiness;
use crate::log::Verdict;
use crate::sandbox::capabilities;

/// How long one may take.
const PATIENCE: Duration = Duration::from_secs(60);
/// How many that were given up may still be under way before no other is begun.
const MAX_STUCK: usize = 4;

/// A policy that was read again, with its resources ready.
pub(super) struct Fresh {
    pub(super) source: PolicySource,
    pub(super) opener: Opener,
    /// The resources that have been opened, to be shared by all who may have them.
    pub(super) opened: Vec<Resource>,
    /// What was opened, closed and kept.
    pub(super) changes: String,
}

/// Whoever asked: a worker's ticket, or a signal.
pub(super) type Asker = Option<u32>;

/// What came of reading again, for those who asked before it began.
pub(super) type Done = (Outcome, Vec<Asker>);

type Outcome = Result<Box<Fresh>, StartError>;

/// Reloads, one at a time: those who ask while one is under way have the next one together, since
/// the files may have changed after they were read.
pub(super) struct Reloads {
    under_way: Option<UnderWay>,
    waiting: Vec<Asker>,
    /// How many have been given up and have not ended.
    stuck: usize,
    next: u64,
    outcomes: UnboundedSender<(u64, Outcome)>,
    done: UnboundedReceiver<(u64, Outcome)>,
}

/// The one that is under way.
struct UnderWay {
    number: u64,
    askers: Vec<Asker>,
    until: Instant,
}

impl Reloads {
    pub(super) fn new() -> Self {
        let (outcomes, done) = unbounded_channel();
        Self { under_way: None, waiting: Vec::new(), stuck: 0, next: 0, outcomes, done }
    }

    /// Asks for a reload; one is begun unless one is under way.
    pub(super) fn ask(&mut self, asker: Asker, source: &PolicySource, opener: &Opener) {
        self.waiting.push(asker);
        self.begin(source, opener);
    }

    /// Begins the next reload, if one is asked for and none is under way.
    pub(super) fn begin(&mut self, source: &PolicySource, opener: &Opener) {
        if self.under_way.is_none() && !self.waiting.is_empty() {
            let (source, opener) = (source.clone(), opener.clone());
            self.begin_with(move || fresh(&source, &opener).map(Box::new));
        }
    }

    fn begin_with(&mut self, read: impl FnOnce() -> Outcome + Send + 'static) {
        let (number, askers) = (self.next, std::mem::take(&mut self.waiting));
        self.next += 1;
        self.under_way = Some(UnderWay { number, askers, until: Instant::now() + PATIENCE });
        if self.stuck >= MAX_STUCK {
            // This end is open as long as the other.
            let _ = self.outcomes.send((number, Err(StartError::ReloadHangs)));
            return;
        }
        let outcomes = self.outcomes.clone();
        let begun = std::thread::Builder::new().name("reload".to_owned()).spawn(move || {
            // Nobody listens when the broker ends.
            let _ = outcomes.send((number, read()));
        });
        if let Err(error) = begun {
            // As above.
            let _ = self.outcomes.send((number, Err(StartError::Runtime(error))));
        }
    }

    /// Waits for a reload to end, or gives it up. Can be dropped and called again.
    pub(super) async fn done(&mut self) -> Done {
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
                    Err(StartError::ReloadHangs)
                }
            };
            let askers = self.under_way.take().map(|reload| reload.askers);
            return (outcome, askers.unwrap_or_default());
        }
    }

    /// Whether none is under way or asked for.
    pub(super) fn are_over(&self) -> bool {
        self.under_way.is_none() && self.waiting.is_empty()
    }

    /// Forgets the tickets of a worker that has died.
    pub(super) fn forget_tickets(&mut self) {
        let under_way = self.under_way.iter_mut().flat_map(|reload| &mut reload.askers);
        let askers = under_way.chain(&mut self.waiting);
        askers.for_each(|asker| *asker = None);
    }
}

/// Reading the policy again.
impl Supervisor {
    /// SIGHUP: the policy, the audit file, which may have been moved away, and the socket file.
    pub(super) fn hang_up(&mut self, mut serving: Option<&mut Link>) {
        // A worker that comes to serve is looked after with the next beat.
        if let Some(link) = serving.as_deref_mut() {
            self.look_for_socket(link, true);
        }
        self.reopen_audit_file(serving);
        self.reload(None);
    }

    /// Makes the audit file again that somebody has deleted: what is written to it is lost.
    pub(super) fn make_audit_file(&mut self, serving: Option<&mut Link>) {
        if self.reopen_audit_file(serving) {
            self.log.error("the audit file was deleted; it has been made again");
        }
    }

    /// Opens the audit file anew; returns whether it is another one now.
    fn reopen_audit_file(&mut self, serving: Option<&mut Link>) -> bool {
        let another = self.records.reopen();
        match serving {
            Some(link) if another => self.give_other_trail(link),
            Some(_) => {}
            None => self.given.other_trail |= another,
        }
        another
    }

    fn give_other_trail(&self, link: &mut Link) {
        if let Err(error) = self.give_trail(link) {
            self.log.error(&format!(
                "the worker goes on in the old audit file: {error}; send SIGHUP again"
            ));
        }
    }

    /// Gives a worker the audit file, where there is one.
    pub(super) fn give_trail(&self, link: &mut Link) -> io::Result<()> {
        if let Some(file) = self.records.for_worker()? {
            link.carry_own(Control::Trail, file);
        }
        Ok(())
    }

    /// Tells a worker that has come to serve what has changed since it was given everything.
    pub(super) fn catch_up(&mut self, link: &mut Link) {
        if std::mem::take(&mut self.given.other_trail) {
            self.give_other_trail(link);
        }
        if self.given.generation == self.source.generation {
            self.in_force(self.given.generation);
        } else {
            link.control(Control::Policy(self.source.setup()));
        }
    }

    /// A policy is in force at the worker.
    pub(super) fn in_force(&mut self, generation: u32) {
        if self.awaited == Some(generation) {
            self.awaited = None;
            self.tell_reloaded("serving under the new policy");
        }
    }

    /// Tells the service manager, unless another reload is under way, which then tells.
    fn tell_reloaded(&self, status: &str) {
        if self.reloads.are_over() {
            readiness::reloaded(status, &self.log);
        }
    }

    pub(super) fn reload(&mut self, asker: Asker) {
        readiness::reloading(&self.log);
        self.reloads.ask(asker, &self.source, &self.opener);
    }

    /// Takes the new policy over and hands it to the worker; or leaves everything as it was.
    pub(super) fn reloaded(&mut self, (outcome, askers): Done, mut serving: Option<&mut Link>) {
        let outcome = outcome.and_then(|fresh| {
            self.records.suffice(&fresh.source.policy)?;
            Ok(fresh)
        });
        let outcome = match outcome {
            Ok(fresh) => Ok(self.take_over(*fresh, serving.as_deref_mut())),
            Err(error) => Err(self.stay(&error)),
        };
        let generation = self.source.generation;
        if let Some(link) = serving {
            for ticket in askers.into_iter().flatten() {
                link.control(Control::Reloaded { ticket, generation, outcome: outcome.clone() });
            }
        }
        self.reloads.begin(&self.source, &self.opener);
    }

    /// Says why the policy stays as it was.
    fn stay(&self, error: &StartError) -> (Errno, String) {
        let found = lines(error);
        found.iter().for_each(|line| self.log.error(line));
        let more = if found.len() > 1 { ", and more" } else { "" };
        let first = found.first().map_or("", String::as_str);
        let reason = format!("the policy stays as it was: {first}{more}");
        self.records.reloaded(Verdict::Failed, &reason);
        self.tell_reloaded("the policy could not be reloaded; see the log");
        failure(error)
    }

    fn take_over(&mut self, fresh: Fresh, serving: Option<&mut Link>) -> String {
        let Fresh { source, opener, opened, changes } = fresh;
        let policy = &source.policy;
        let (rules, tags) = (policy.rule_count(), policy.tags().count());
        let text = format!("rules: {rules}, tags: {tags}; {changes}");
        if let Some(link) = serving {
            link.control(Control::Policy(source.setup()));
        }
        let readmitted = self.deposits.aside.readmit();
        if readmitted > 0 {
            self.log.warn(&format!(
                "the next worker is given the deposits that were set aside again, where nothing else lies \
                 in their slots by then: {readmitted}"
            ));
        }
        self.awaited = Some(source.generation);
        self.source = source;
        self.opener = opener;
        self.records.follow(&self.source.policy);
        opened.iter().for_each(|resource| self.records.opened(resource));
        self.records.reloaded(Verdict::Granted, &text);
        text
    }
}

fn fresh(before: &PolicySource, opener: &Opener) -> Result<Fresh, StartError> {
    let source = before.read_again()?;
    capabilities::are_held(&before.policy, &source.policy)?;
    let (opener, changes) = opener.again(source.policy.resources())?;
    let text = changes.to_string();
    Ok(Fresh { source, opener, opened: changes.opened, changes: text })
}

/// What a peer that asked for the reload is told, and its error number.
fn failure(error: &StartError) -> (Errno, String) {
    (Errno::INVAL, format!("the policy stays as it was:\n{error}"))
}

/// One line for each thing that is wrong.
fn lines(error: &StartError) -> Vec<String> {
    match error {
        StartError::Policy(PolicyFileError::Findings(findings)) => findings
            .iter()
            .map(|finding| {
                let place = match finding.line {
                    0 => finding.path.clone(),
                    line => format!("{}:{line}:{}", finding.path, finding.column),
                };
                format!("{place}: {}; {}", finding.message, finding.remedy)
            })
            .chain(findings.rest())
            .collect(),
        error => vec![error.to_string()],
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_does_not_come_to_an_end_is_given_up_and_the_next_one_is_begun() {
        let mut reloads = Reloads::new();
        let (end, ended) = channel::<()>();
        reloads.waiting.push(Some(7));
        reloads.begin_with(move || {
            // It ends with the test.
            let _ = ended.recv();
            Err(StartError::AccountChanges)
        });
        let (outcome, askers) = reloads.done().await;
        assert!(matches!(outcome, Err(StartError::ReloadHangs)));
        assert_eq!(askers, [Some(7)]);

        tokio::time::resume();
        reloads.waiting.push(Some(8));
        reloads.begin_with(|| Err(StartError::WorkerIsRoot));
        let (outcome, askers) = reloads.done().await;
        assert!(matches!(outcome, Err(StartError::WorkerIsRoot)));
        assert_eq!((askers, reloads.stuck), (vec![Some(8)], 1));
        drop(end);
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_ends_too_late_is_no_news_and_not_stuck_any_more() {
        let mut reloads = Reloads::new();
        let (end, ended) = channel::<()>();
        reloads.begin_with(move || {
            // As above.
            let _ = ended.recv();
            Err(StartError::AccountChanges)
        });
        assert!(matches!(reloads.done().await.0, Err(StartError::ReloadHangs)));
        reloads.outcomes.send((0, Err(StartError::AccountChanges))).ok().unwrap();
        tokio::time::resume();
        reloads.begin_with(|| Err(StartError::WorkerIsRoot));
        assert!(matches!(reloads.done().await.0, Err(StartError::WorkerIsRoot)));
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
                Err(StartError::AccountChanges)
            });
            assert!(reloads.done().await.0.is_err());
        }
        reloads.begin_with(|| unreachable!("it was begun"));
        assert!(matches!(reloads.done().await.0, Err(StartError::ReloadHangs)));
        assert_eq!(reloads.stuck, MAX_STUCK);
        drop(end);
    }
}
