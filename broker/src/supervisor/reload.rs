//! Reading the policy again, on a thread of its own: looking names up and opening what is opened
//! at start can take their time, and whoever asks meanwhile is served under the old policy.
//!
//! All or nothing: a policy that does not load, a resource that does not open, or what takes a
//! restart leave everything as it was.

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use fdbroker_host::PolicyFileError;
use fdbroker_policy::Resource;
use fdbroker_wire::Errno;

use super::StartError;
use super::capability;
use super::opener::Opener;
use super::policy_source::PolicySource;

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
pub(super) type Done = (Result<Box<Fresh>, StartError>, Vec<Asker>);

/// Reloads, one at a time: those who ask while one is under way have the next one together, since
/// the files may have changed after they were read.
pub(super) struct Reloads {
    /// Those whose reload is under way.
    under_way: Option<Vec<Asker>>,
    waiting: Vec<Asker>,
    outcomes: UnboundedSender<Result<Box<Fresh>, StartError>>,
    done: UnboundedReceiver<Result<Box<Fresh>, StartError>>,
}

impl Reloads {
    pub(super) fn new() -> Self {
        let (outcomes, done) = unbounded_channel();
        Self { under_way: None, waiting: Vec::new(), outcomes, done }
    }

    /// Asks for a reload; one is begun unless one is under way.
    pub(super) fn ask(&mut self, asker: Asker, source: &PolicySource, opener: &Opener) {
        self.waiting.push(asker);
        self.begin(source, opener);
    }

    /// Begins the next reload, if one is asked for and none is under way.
    pub(super) fn begin(&mut self, source: &PolicySource, opener: &Opener) {
        if self.under_way.is_some() || self.waiting.is_empty() {
            return;
        }
        self.under_way = Some(std::mem::take(&mut self.waiting));
        let (source, opener) = (source.clone(), opener.clone());
        let outcomes = self.outcomes.clone();
        let begun = std::thread::Builder::new().name("reload".to_owned()).spawn(move || {
            // Nobody listens when the broker ends.
            let _ = outcomes.send(fresh(&source, &opener).map(Box::new));
        });
        if let Err(error) = begun {
            // As above.
            let _ = self.outcomes.send(Err(StartError::Runtime(error)));
        }
    }

    /// Waits for a reload to end. Can be dropped and called again.
    pub(super) async fn done(&mut self) -> Done {
        match self.done.recv().await {
            Some(outcome) => (outcome, self.under_way.take().unwrap_or_default()),
            None => std::future::pending().await,
        }
    }

    /// Whether none is under way or asked for.
    pub(super) fn are_over(&self) -> bool {
        self.under_way.is_none() && self.waiting.is_empty()
    }

    /// Forgets the tickets of a worker that has died.
    pub(super) fn forget_tickets(&mut self) {
        let askers = self.under_way.iter_mut().flatten().chain(&mut self.waiting);
        askers.for_each(|asker| *asker = None);
    }
}

fn fresh(before: &PolicySource, opener: &Opener) -> Result<Fresh, StartError> {
    let source = before.read_again()?;
    capability::are_held(&before.policy, &source.policy)?;
    let (opener, changes) = opener.again(source.policy.resources())?;
    let text = changes.to_string();
    Ok(Fresh { source, opener, opened: changes.opened, changes: text })
}

/// What a peer that asked for the reload is told, and its error number.
pub(super) fn failure(error: &StartError) -> (Errno, String) {
    (Errno::INVAL, format!("the policy stays as it was:\n{error}"))
}

/// One line for each thing that is wrong.
pub(super) fn lines(error: &StartError) -> Vec<String> {
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
            .collect(),
        error => vec![error.to_string()],
    }
}
