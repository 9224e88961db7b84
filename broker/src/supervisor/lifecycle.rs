//! The supervisor's life: start a worker, serve it, start another when it dies, stop when told.

use std::io;
use std::process::ExitStatus;
use std::rc::Rc;
use std::time::Duration;

use fdbroker_wire::{Control, Errno, Extended, Message, Slot, Tag};
use tokio::process::Child;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::StartError;
use super::deposits::Deposits;
use super::link::{Brought, Link};
use super::listener::Listener;
use super::opener::{Opened, Opener};
use super::policy_source::PolicySource;
use super::readiness::{self, Readiness};
use super::spawn;
use crate::closer::Closer;
use crate::log::{Format, Log};

/// How long a worker may take to end by itself when the broker stops.
const GRACE: Duration = Duration::from_secs(2);
/// The longest pause before a worker that never came to serve is started again.
const MAX_PAUSE: Duration = Duration::from_secs(5);
const FIRST_PAUSE: Duration = Duration::from_millis(50);
/// Threads for opening; each resource may take a part of them only.
const MAX_OPENERS: usize = 256;

/// The supervisor, ready to run.
pub(super) struct Supervisor {
    format: Format,
    log: Rc<Log>,
    readiness: Readiness,
    source: PolicySource,
    listener: Listener,
    opener: Opener,
    deposits: Deposits,
    /// Slots whose former descriptor has been closed, at last.
    closed: UnboundedReceiver<Slot>,
    closer: Closer<Option<Tag>>,
}

/// Why a worker is no longer attended to.
enum End {
    /// The broker was told to stop.
    Stopped,
    /// The worker died or was ended, after it had served or before.
    Died { status: String, served: bool },
}

/// The signals that the supervisor heeds.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

impl Supervisor {
    pub(super) fn new(
        format: Format,
        log: Rc<Log>,
        readiness: Readiness,
        source: PolicySource,
        listener: Listener,
        opener: Opener,
    ) -> Self {
        let (closings, closed) = unbounded_channel();
        let deposits = Deposits::new(closings);
        let closer = Closer::new();
        Self { format, log, readiness, source, listener, opener, deposits, closed, closer }
    }

    /// Runs until the broker is told to stop.
    ///
    /// # Errors
    /// When the first worker does not come to serve.
    pub(super) fn run(mut self) -> Result<(), StartError> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .max_blocking_threads(MAX_OPENERS)
            .build()
            .map_err(StartError::Runtime)?;
        let result = runtime.block_on(self.serve());
        // An open that hangs must not keep the process.
        runtime.shutdown_background();
        if let Err(error) = self.listener.remove() {
            self.log.warn(&format!("the socket file could not be removed: {error}"));
        }
        result
    }

    async fn serve(&mut self) -> Result<(), StartError> {
        let mut signals = Signals::heed().map_err(StartError::Runtime)?;
        let mut pause = Duration::ZERO;
        loop {
            let end = match spawn::worker(self.format, &self.log, self.closer.clone()) {
                Ok((child, link)) => self.attend(child, link, &mut signals).await,
                Err(error) => End::Died { status: format!("not started: {error}"), served: false },
            };
            match end {
                End::Stopped => return Ok(()),
                End::Died { status, .. } if !self.readiness.is_told() => {
                    return Err(StartError::Worker(status));
                }
                End::Died { status, served } => {
                    pause = if served { Duration::ZERO } else { longer(pause) };
                    self.tell_death(&status, pause);
                }
            }
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = signals.stop(&self.log) => return Ok(()),
            }
        }
    }

    fn tell_death(&self, status: &str, pause: Duration) {
        let held = self.deposits.all().len();
        self.log.error(&format!(
            "the worker has died ({status}); another is started in {} ms and is given the {held} deposits",
            pause.as_millis()
        ));
    }

    /// Serves one worker until it dies or the broker stops.
    async fn attend(&mut self, mut child: Child, mut link: Link, signals: &mut Signals) -> End {
        let (answers, mut opened) = unbounded_channel();
        let log = Rc::clone(&self.log);
        let mut served = false;
        // What the last worker waited for to be closed, no other one has on an account.
        while self.closed.try_recv().is_ok() {}
        let problem = loop {
            tokio::select! {
                biased;
                () = signals.stop(&self.log) => {
                    readiness::stopping(&self.log);
                    drop(link);
                    end(&mut child).await;
                    return End::Stopped;
                }
                message = link.message() => match message {
                    Ok(message) => {
                        if let Err(problem) = self.answer(message, &mut link, &answers, &mut served) {
                            break problem;
                        }
                    }
                    Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => break String::new(),
                    Err(error) => break error.to_string(),
                },
                Some(answer) = opened.recv() => self.pass_on(answer, &mut link),
                Some(slot) = self.closed.recv() => link.control(Control::Closed(slot)),
                () = log.keep_flushing() => {}
            }
        };
        if !problem.is_empty() {
            // It may have ended just now; then there is nothing to kill.
            let _ = child.start_kill();
        }
        self.read_to_the_end(link, &answers).await;
        let status = end(&mut child).await;
        let status = if problem.is_empty() { status } else { format!("{problem}; {status}") };
        End::Died { status, served }
    }

    /// What a worker acknowledged before it ended still counts, however it ended.
    async fn read_to_the_end(&mut self, mut link: Link, answers: &UnboundedSender<Opened>) {
        while let Ok(message) = link.message().await {
            // A message that makes no sense is as good as none: its worker has gone.
            let _ = self.answer(message, &mut link, answers, &mut false);
        }
    }

    fn answer(
        &mut self,
        message: Message<Brought>,
        link: &mut Link,
        answers: &UnboundedSender<Opened>,
        served: &mut bool,
    ) -> Result<(), String> {
        match message {
            Message::Add(add) => {
                self.deposits.keep(add);
                link.reply(Ok(()));
            }
            Message::Del(slot) => {
                let found = self.deposits.forget(slot);
                link.reply(if found { Ok(()) } else { Err(Errno::NOENT) });
            }
            Message::Extended(message) => {
                return self.control(message, link, answers, served);
            }
            _ => return Err("it sent what only peers send".to_owned()),
        }
        Ok(())
    }

    fn control(
        &mut self,
        message: Extended<Brought>,
        link: &mut Link,
        answers: &UnboundedSender<Opened>,
        served: &mut bool,
    ) -> Result<(), String> {
        match Control::from_extended(message).map_err(|error| error.to_string())? {
            Control::Restore => self.restore(link).map_err(|error| error.to_string())?,
            Control::Open { resource, ticket } => self.opener.open(resource, ticket, answers),
            Control::Note { tag, pid, process } => self.deposits.note(tag, pid, process),
            Control::Serving => {
                *served = true;
                if !self.readiness.is_told() {
                    self.log.info(&format!("serving {}", self.listener));
                }
                self.readiness.tell(&self.log);
            }
            _ => return Err("it sent what only the supervisor sends".to_owned()),
        }
        Ok(())
    }

    /// Gives a new worker everything it needs.
    fn restore(&self, link: &mut Link) -> io::Result<()> {
        link.control(Control::Setup(self.source.setup()));
        let listener = std::sync::Arc::new(self.listener.share()?);
        link.carry(Control::Listener(&*listener), std::sync::Arc::clone(&listener));
        for note in self.deposits.notes() {
            let process = Some(&*note.process);
            link.note(Control::Note { tag: note.tag, pid: note.pid, process }, &note.process);
        }
        for kept in self.deposits.all() {
            link.deposit(kept);
        }
        link.control(Control::Restored);
        Ok(())
    }

    fn pass_on(&self, (ticket, outcome): Opened, link: &mut Link) {
        match outcome {
            Ok(opened) => {
                link.carry(
                    Control::Opened { ticket, outcome: Ok(&*opened) },
                    std::sync::Arc::clone(&opened),
                );
            }
            Err(failure) => {
                self.log.error(&failure.text);
                let outcome = Err((failure.errno, failure.text));
                link.control(Control::Opened { ticket, outcome });
            }
        }
    }
}

impl Signals {
    fn heed() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    /// Waits until the broker is told to stop.
    async fn stop(&mut self, log: &Log) {
        loop {
            tokio::select! {
                _ = self.terminate.recv() => return,
                _ = self.interrupt.recv() => return,
                _ = self.hangup.recv() => {
                    log.warn("SIGHUP is not heeded: the policy is read when the broker starts");
                }
            }
        }
    }
}

fn longer(pause: Duration) -> Duration {
    (pause * 2).clamp(FIRST_PAUSE, MAX_PAUSE)
}

/// Lets a worker end, which it does when its link closes, or ends it; says how it ended.
async fn end(child: &mut Child) -> String {
    let status = match tokio::time::timeout(GRACE, child.wait()).await {
        Ok(status) => status,
        Err(_) => {
            // It may have ended just now; then there is nothing to kill.
            let _ = child.start_kill();
            child.wait().await
        }
    };
    status.map_or_else(|error| error.to_string(), |status: ExitStatus| status.to_string())
}
