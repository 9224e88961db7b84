//! The supervisor's work while there is a worker: what it does next, until that one ends.

use std::io;
use std::pin::pin;
use std::time::Duration;

use fdbroker_wire::Message;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::audit::records::Records;
use super::hand_over::to_hand_over;
use super::news::News;
use super::notify;
use super::policy::reload::{Asker, Done};
use super::replace::visitor::Successor;
use super::resources::entry::OpenAnswer;
use super::signals::{SignalOrder, Signals};
use super::state::Supervisor;
use super::workers::link::Link;
use super::workers::process::{self, GRACE, WorkerProcess, patience};
use super::workers::pulse::Pulse;
use super::workers::restarts::Death;
use crate::fd::{CloseQueue, PeerFd};

/// How long what a dead worker left behind is read: only somebody whom it gave its end of the
/// link to can make that last.
const LAST_WORDS: Duration = Duration::from_secs(5);
/// How long a dead worker's link is read on when nothing more comes, and it does not end.
const SILENCE: Duration = Duration::from_millis(100);

/// Why a worker is no longer attended to.
pub(crate) enum End {
    /// The broker was told to stop.
    Stopped,
    /// Another broker takes over.
    Asked(Successor),
    /// The worker died or was ended, after it had served or before.
    Died { status: String, death: Death },
}

/// What a supervisor with a worker has to do next.
enum Event {
    Stop,
    /// The time for the worker to be ready is up.
    Waited,
    Message(io::Result<Message<PeerFd>>),
    Opened(OpenAnswer),
    /// What lay in some slots before has been closed, at last.
    Closed,
    /// The policy is to be read again.
    Hangup,
    /// The files of the policy have changed, and an older one is in force.
    PolicyChanged,
    /// Something has appeared where a resource may be.
    Appeared,
    /// Names of the policy are to be looked up again.
    NamesDue,
    /// It has been read again.
    Reloaded(Done),
    /// Somebody has deleted the audit file.
    NoAuditFile,
    /// Changes may outlive the broker now that the worker asked about.
    Settled,
    /// Something happened to a resource.
    News(News),
    /// Another broker is ready to take over.
    Asked(Successor),
    /// It is time to see how everything is.
    Beat,
}

impl Supervisor {
    /// Serves one worker until it dies, or is ended, or the broker stops.
    pub(crate) async fn attend(
        &mut self,
        mut process: WorkerProcess,
        mut link: Link,
        signals: &mut Signals,
    ) -> End {
        let (answers, mut opened) = unbounded_channel();
        let mut served = false;
        // Its words were not read to their end where that took too long.
        self.reads_last_words = false;
        self.reloads.forget_tickets();
        let patience = patience(self.deposits.all().len());
        let mut waited = pin!(tokio::time::sleep(patience));
        let mut pulse = Pulse::new();
        let mirror = self.deposits.mirror.clone();
        self.health.clear();
        let problem = loop {
            // Stopping comes first; the others take turns, so that none can keep the rest waiting.
            let event = tokio::select! {
                biased;
                order = signals.next() => order.into(),
                () = &mut waited, if !served => Event::Waited,
                () = pulse.beat() => Event::Beat,
                successor = self.door.asked(&self.close_queue, &self.records, || {
                    to_hand_over(&self.deposits, &self.leases)
                }) => {
                    Event::Asked(successor)
                }
                done = self.reloads.done() => Event::Reloaded(done),
                () = self.watches.policy.changed() => Event::PolicyChanged,
                () = self.retry.is_due() => Event::NamesDue,
                () = mirror.settled() => Event::Settled,
                () = self.watches.devices.appeared() => Event::Appeared,
                Some(news) = self.news.recv() => Event::News(news),
                event = next(&mut link, &mut opened, &self.close_queue, &self.records) => event,
            };
            match event {
                Event::Stop => {
                    notify::stopping(&self.log);
                    self.log.info("stopping because of SIGTERM, SIGINT or SIGQUIT");
                    self.stop(process, link, &answers).await;
                    return End::Stopped;
                }
                Event::Asked(successor) => {
                    let pid = successor.process.pid();
                    self.log.info(&format!("broker {pid} takes over: the worker ends"));
                    self.freeze(process, link, &answers).await;
                    return End::Asked(successor);
                }
                Event::Waited => {
                    break format!("it was not ready after {} s", patience.as_secs());
                }
                Event::Message(Ok(message)) => {
                    pulse.answered();
                    if let Err(problem) = self.answer(message, &mut link, &answers, &mut served) {
                        break problem;
                    }
                }
                Event::Message(Err(error)) if error.kind() == io::ErrorKind::UnexpectedEof => {
                    break String::new();
                }
                Event::Message(Err(error)) => break error.to_string(),
                Event::Opened(answer) => self.pass_on(answer, &mut link),
                Event::Settled => self.tell_durable(&mut link),
                Event::Closed if served => self.tell_closed(&mut link),
                // It is told when it is ready.
                Event::Closed => {}
                Event::Beat => {
                    self.tell_durable(&mut link);
                    let mut link = served.then_some(&mut link);
                    // Of a batch in which one close(2) sleeps, those before it have ended.
                    link.iter_mut().for_each(|link| self.tell_closed(link));
                    if let Err(problem) = self.beat(&mut pulse, &process, link) {
                        break problem;
                    }
                }
                Event::News(News::Good(text)) => self.log.info(&text),
                Event::News(News::Bad(text)) => self.log.error(&text),
                Event::News(News::Opened(resource)) => self.has_opened(&resource),
                Event::News(News::Seen) if served => self.tell_health(&mut link),
                Event::News(News::Seen) => {}
                Event::Appeared => self.open_again(),
                Event::Hangup => self.hang_up(served.then_some(&mut link)),
                Event::NamesDue => self.look_names_up(),
                Event::PolicyChanged => {
                    self.watches.policy_moved(&self.log);
                    self.reload(Asker::Files);
                }
                Event::NoAuditFile => self.make_audit_file(served.then_some(&mut link)),
                Event::Reloaded(done) => self.reloaded(done, served.then_some(&mut link)),
            }
            // A link that always has a message would keep signals and timers from being noticed.
            tokio::task::consume_budget().await;
        };
        let lived = process.age();
        // Clients connect again, and wait in the queue of the listening socket.
        self.connections.shut_down();
        let grace = if problem.is_empty() { GRACE } else { Duration::ZERO };
        if !problem.is_empty() {
            process.kill();
        }
        let read = self.read_to_the_end(link, &answers);
        if tokio::time::timeout(LAST_WORDS, read).await.is_err() {
            self.log.warn(
                "another process keeps the dead worker's link open; the supervisor \
                          stops reading it",
            );
        }
        // What it announced last.
        self.connections.shut_down();
        let (status, killed) = match process.end(grace).await {
            Ok(process::Ended { text, killed }) => (text, killed && problem.is_empty()),
            Err(process) => {
                self.left_behind.add(process, &self.log);
                ("it cannot be ended".to_owned(), false)
            }
        };
        let status = if problem.is_empty() { status } else { format!("{problem}; {status}") };
        End::Died { status, death: Death { served, killed, lived } }
    }

    /// Ends the worker, and reads what it acknowledged last.
    async fn stop(
        &mut self,
        process: WorkerProcess,
        link: Link,
        answers: &UnboundedSender<OpenAnswer>,
    ) {
        self.deposits.keep_owners();
        self.connections.shut_down();
        link.end();
        if process.end(GRACE).await.is_err() {
            self.log.error("cannot stop the worker: one of its threads is blocked in the kernel; the broker stops without it");
        }
        // A time-out is no reason to say more: what the worker acknowledged last may be lost.
        let _ = tokio::time::timeout(GRACE, self.read_to_the_end(link, answers)).await;
    }

    /// Ends the worker as it is: no owner and nobody who waits is seen to leave before.
    async fn freeze(
        &mut self,
        process: WorkerProcess,
        link: Link,
        answers: &UnboundedSender<OpenAnswer>,
    ) {
        link.end();
        if let Err(process) = process.end(GRACE).await {
            self.left_behind.add(process, &self.log);
        }
        let _ = tokio::time::timeout(GRACE, self.read_to_the_end(link, answers)).await;
        self.connections.shut_down();
    }

    /// What a worker acknowledged before it ended still counts, however it ended.
    async fn read_to_the_end(&mut self, mut link: Link, answers: &UnboundedSender<OpenAnswer>) {
        self.reads_last_words = true;
        // A thread that sleeps in the kernel keeps the link of a dead worker from ending.
        while let Ok(Ok(message)) = tokio::time::timeout(SILENCE, link.message()).await {
            // A message that makes no sense is as good as none: its worker has gone.
            let _ = self.answer(message, &mut link, answers, &mut false);
            tokio::task::consume_budget().await;
        }
        self.reads_last_words = false;
    }
}

impl From<SignalOrder> for Event {
    fn from(order: SignalOrder) -> Self {
        match order {
            SignalOrder::Stop => Self::Stop,
            SignalOrder::Reload => Self::Hangup,
        }
    }
}

/// Whichever is there; when several are, none has precedence. Can be dropped and called again.
async fn next(
    link: &mut Link,
    opened: &mut UnboundedReceiver<OpenAnswer>,
    close_queue: &CloseQueue,
    records: &Records,
) -> Event {
    loop {
        tokio::select! {
            message = link.message() => return Event::Message(message),
            Some(answer) = opened.recv() => return Event::Opened(answer),
            () = close_queue.batch_closed() => return Event::Closed,
            () = records.log().keep_flushing() => {}
            () = records.audit.keep_counting() => {}
            () = records.file_is_deleted() => return Event::NoAuditFile,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::os::unix::net::UnixStream as StdStream;
    use std::process::Command;
    use std::rc::Rc;
    use std::sync::Arc;

    use fdbroker_wire::{Control, Opened};
    use rustix::process::{Pid, WaitId, WaitIdOptions, waitid};
    use tokio::net::UnixStream;

    use super::*;
    use crate::fd::Depositor;
    use crate::log::{Format, Log};
    use crate::supervisor::listener::Listener;
    use crate::supervisor::notify::Readiness;
    use crate::supervisor::policy::source::PolicySource;
    use crate::supervisor::resources::pool::Opener;
    use crate::supervisor::workers::helper::Helpers;
    use crate::supervisor::workers::spawner::Spawner;

    fn supervisor(directory: &tempfile::TempDir) -> Supervisor {
        let log = Rc::new(Log::open(Format::Text).unwrap());
        let source = PolicySource::built_in();
        let records = Records::new(Rc::clone(&log), None, &source.policy).unwrap();
        let spawner = Arc::new(Spawner::start(Format::Text, &log));
        let helpers = Helpers::new(Arc::clone(&spawner), None);
        Supervisor::new(
            spawner,
            records,
            Readiness::take(None).unwrap(),
            source,
            Listener::bind(directory.path().join("socket"), CloseQueue::new()).unwrap(),
            Opener::new(&[], helpers, CloseQueue::new()),
            CloseQueue::new(),
        )
        .unwrap()
    }

    /// A link, and the worker's end of it.
    fn link() -> (Link, StdStream) {
        let (ours, theirs) = StdStream::pair().unwrap();
        ours.set_nonblocking(true).unwrap();
        (Link::new(UnixStream::from_std(ours).unwrap(), CloseQueue::new()).unwrap(), theirs)
    }

    /// The clock of these tests runs on by itself whenever nothing else is to be done.
    const LONG: Duration = Duration::from_secs(3600);

    #[tokio::test(start_paused = true)]
    async fn a_worker_that_never_comes_to_serve_is_ended_also_if_its_link_stays_open() {
        let directory = tempfile::tempdir().unwrap();
        let mut supervisor = supervisor(&directory);
        let mut signals = Signals::heed().unwrap();
        // It has ended, unnoticed: the clock does not stand still while a process is killed.
        let child = Command::new("true").spawn().unwrap();
        let pid = Pid::from_child(&child);
        waitid(WaitId::Pid(pid), WaitIdOptions::EXITED | WaitIdOptions::NOWAIT).unwrap();
        let (link, _open) = link();
        let attended = supervisor.attend(WorkerProcess::new(child), link, &mut signals);
        let end = tokio::time::timeout(LONG, attended).await.expect("waited for ever");
        let End::Died { status, death: Death { served: false, .. } } = end else {
            panic!("it did not die")
        };
        assert!(status.starts_with("it was not ready after 30 s; "), "{status}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_worker_that_serves_and_answers_is_left_alone() {
        let directory = tempfile::tempdir().unwrap();
        let mut supervisor = supervisor(&directory);
        let mut signals = Signals::heed().unwrap();
        let child = Command::new("sleep").arg("1000").spawn().unwrap();
        let (link, mut theirs) = link();
        let serving = Control::<std::os::fd::OwnedFd>::Serving.into_extended();
        theirs.write_all(&Message::Extended(serving).to_bytes()).unwrap();
        let pong = Message::Extended(Control::<std::os::fd::OwnedFd>::Pong.into_extended());
        let answering = async {
            loop {
                theirs.write_all(&pong.to_bytes()).unwrap();
                tokio::time::sleep(Duration::from_secs(8)).await;
            }
        };
        let attended = supervisor.attend(WorkerProcess::new(child), link, &mut signals);
        let ended = async {
            tokio::select! { _ = attended => (), () = answering => () }
        };
        assert!(tokio::time::timeout(LONG, ended).await.is_err(), "it was ended");
    }

    #[tokio::test(start_paused = true)]
    async fn a_worker_that_serves_and_no_longer_answers_is_ended() {
        let directory = tempfile::tempdir().unwrap();
        let mut supervisor = supervisor(&directory);
        let mut signals = Signals::heed().unwrap();
        // It has ended, unnoticed; nobody looks at what is no number of a process.
        let child = Command::new("true").spawn().unwrap();
        let mut process = WorkerProcess::new(child);
        process.exits_unseen().await;
        let (link, mut theirs) = link();
        let serving = Control::<std::os::fd::OwnedFd>::Serving.into_extended();
        theirs.write_all(&Message::Extended(serving).to_bytes()).unwrap();
        let attended = supervisor.attend(process, link, &mut signals);
        let end = tokio::time::timeout(LONG, attended).await.expect("waited for ever");
        let End::Died { status, death: Death { served: true, .. } } = end else {
            panic!("it did not die")
        };
        assert!(status.starts_with("it hangs: it has not answered for 10 s; "), "{status}");
    }

    #[tokio::test]
    async fn a_link_that_always_has_a_message_keeps_no_opened_resource_waiting() {
        let (mut link, mut theirs) = link();
        let slot = fdbroker_wire::Slot::new(1, 0).unwrap();
        let messages: Vec<u8> = (0..4000).flat_map(|_| fdbroker_wire::del(slot)).collect();
        theirs.write_all(&messages).unwrap();
        let (answers, mut opened) = unbounded_channel();
        let close_queue = CloseQueue::new();
        let log = Rc::new(Log::open(Format::Text).unwrap());
        let records =
            Records::new(Rc::clone(&log), None, &PolicySource::built_in().policy).unwrap();
        // From the first on, all of them have been read and wait to be taken.
        assert!(matches!(
            next(&mut link, &mut opened, &close_queue, &records).await,
            Event::Message(Ok(_))
        ));
        let resource = CloseQueue::new().hold(Depositor::Nobody, theirs.into());
        let outcome = Ok(Arc::new(Opened::one(resource)));
        answers.send(OpenAnswer { ticket: 1, outcome, said: None, lease: None }).ok().unwrap();
        for _ in 0..200 {
            if let Event::Opened(_) = next(&mut link, &mut opened, &close_queue, &records).await {
                return;
            }
        }
        panic!("200 messages came first");
    }
}
