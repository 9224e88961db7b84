//! The supervisor's life: start a worker, serve it, start another when it dies, stop when told.

use std::io;
use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;

use fdbroker_wire::Message;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::StartError;
use super::audit::records::Records;
use super::deposits::mirror::Mirror;
use super::deposits::mirror::resume::Stored;
use super::hand_over::{HandOver, to_hand_over};
use super::leases::returned::Accounts;
use super::news::News;
use super::notify;
use super::policy::reload::{Asker, Done};
use super::replace::visitor::Successor;
use super::resources::entry::OpenAnswer;
use super::signals::{Order, Signals};
use super::state::Supervisor;
use super::workers::link::Link;
use super::workers::process::{self, GRACE, WorkerProcess, patience};
use super::workers::pulse::Pulse;
use super::workers::restarts::Death;
use super::workers::spawn;
use crate::fd::{CloseQueue, PeerFd};

/// How long what a dead worker left behind is read: only somebody whom it gave its end of the
/// link to can make that last.
const LAST_WORDS: Duration = Duration::from_secs(5);
/// How long a dead worker's link is read on when nothing more comes, and it does not end.
const SILENCE: Duration = Duration::from_millis(100);
/// How many slots are named whose deposits are lost.
const NAMED: usize = 50;
/// Threads for opening; each resource may take a part of them only.
const MAX_OPENERS: usize = 256;

/// Why a worker is no longer attended to.
enum End {
    /// The broker was told to stop.
    Stopped,
    /// Another broker takes over.
    Asked(Successor),
    /// The worker died or was ended, after it had served or before.
    Died { status: String, death: Death },
}

/// How a broker has ended.
enum Ended {
    Stopped,
    /// Another one has everything.
    Replaced,
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
    /// Runs until the broker is told to stop.
    ///
    /// # Errors
    /// If the first worker is not ready in time.
    pub(crate) fn run(&mut self) -> Result<(), StartError> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .max_blocking_threads(MAX_OPENERS)
            .build()
            .map_err(StartError::Runtime)?;
        let log = Rc::clone(&self.log);
        let leases = self.leases.clone();
        let result = runtime.block_on(async {
            let stored = std::mem::take(&mut self.stored);
            let mirror = self.resume(stored).map_err(StartError::Mirror)?;
            self.tell_of_strict_tags();
            self.take_over_if_asked().await?;
            let result = tokio::select! {
                result = self.serve() => result,
                Err(error) = leases.keep() => Err(StartError::Runtime(error)),
                never = notify::keep_watch(&log) => match never {},
                never = mirror.keep_up() => match never {},
            };
            mirror.catch_up().await;
            if matches!(result, Ok(Ended::Stopped)) {
                self.tell_what_is_lost();
                leases.leave();
            }
            result
        });
        // An open that hangs must not keep the process.
        runtime.shutdown_background();
        self.records.audit.settle();
        // What another broker has is not ours to remove.
        let is_ours = !matches!(result, Ok(Ended::Replaced) | Err(StartError::Replace { .. }));
        if is_ours && !self.is_to_take_over() {
            self.remove_files();
        }
        result.map(drop)
    }

    fn remove_files(&mut self) {
        self.door.remove();
        self.listener.let_all_in();
        if let Err(error) = self.listener.remove() {
            self.log.warn(&format!("the socket file could not be removed: {error}"));
        }
    }

    /// Whether another broker still has everything.
    fn is_to_take_over(&self) -> bool {
        self.predecessor.is_some() || self.succession.is_some()
    }

    /// Goes on from what an earlier supervisor left with the service manager.
    fn resume(&mut self, stored: Stored) -> io::Result<Mirror> {
        let payers = &self.source.payers;
        let (leases, has_losses) =
            self.deposits.resume(stored, &self.close_queue, payers, &self.log)?;
        let accounts = Accounts {
            payers,
            unclosed: &self.unclosed,
            place: &|resource, number| self.opener.hold(resource, number),
        };
        let mirror = self.deposits.mirror.clone();
        self.leases.resume(mirror.clone(), leases, &accounts);
        mirror.resumed(has_losses);
        Ok(mirror)
    }

    async fn serve(&mut self) -> Result<Ended, StartError> {
        let mut signals = Signals::heed().map_err(StartError::Runtime)?;
        self.opener.keep_ready(&self.told);
        self.begin_under_older();
        self.tell_names();
        self.watch_devices();
        loop {
            if !self.is_to_take_over() {
                self.listener.repair(&self.log);
            }
            let end = match spawn::worker(&self.spawner, &self.log, self.close_queue.clone()) {
                Ok((process, link)) => self.attend(process, link, &mut signals).await,
                Err(error) => {
                    End::Died { status: format!("not started: {error}"), death: Death::UNBORN }
                }
            };
            match end {
                End::Stopped => return Ok(Ended::Stopped),
                End::Asked(successor) => {
                    if let Some(ended) = self.be_replaced(successor, &mut signals).await {
                        return Ok(ended);
                    }
                }
                End::Died { status, .. } if !self.readiness.is_told() => {
                    return Err(self.not_started(status));
                }
                End::Died { status, death } => {
                    let pause = self.pause_after(death);
                    self.tell_death(&status, pause);
                    let asked = tokio::select! {
                        () = tokio::time::sleep(pause) => None,
                        () = signals.stop() => return Ok(Ended::Stopped),
                        successor = self.door.asked(&self.close_queue, &self.records, || to_hand_over(&self.deposits, &self.leases)) => Some(successor),
                    };
                    if let Some(successor) = asked
                        && let Some(ended) = self.be_replaced(successor, &mut signals).await
                    {
                        return Ok(ended);
                    }
                }
            }
        }
    }

    /// Has another broker take over, unless that fails: then this one goes on.
    async fn be_replaced(&mut self, successor: Successor, signals: &mut Signals) -> Option<Ended> {
        match self.hand_over(successor, signals).await {
            HandOver::Done => Some(Ended::Replaced),
            HandOver::Stopped => Some(Ended::Stopped),
            HandOver::Failed(why) => {
                self.log.error(&format!("{why}; this broker goes on"));
                None
            }
        }
    }

    /// Sees to it that what kills each worker is set aside; returns how long to wait then.
    fn pause_after(&mut self, death: Death) -> Duration {
        if let Some(slot) = self.quarantine.after_death() {
            if self.deposits.set_aside(slot) {
                self.log.error(&format!(
                    "three workers have died on the deposit in slot {slot}: it is set aside, and \
                     the slot is empty; `fdbroker reload` restores it; please report this bug"
                ));
                self.restarts.forget();
            } else {
                self.log.error(&format!(
                    "three workers have died on requests for slot {slot}: the audit trail names \
                     the users who made them; please report this bug"
                ));
            }
        }
        self.restarts.pause_after(death, self.left_behind.len())
    }

    fn tell_death(&self, status: &str, pause: Duration) {
        let held = self.deposits.all().len();
        self.log.error(&format!(
            "the worker has died ({status}); another one starts in {} ms; deposits that it is \
             given: {held}; log lines that the dead worker had not written are lost",
            pause.as_millis()
        ));
    }

    /// Serves one worker until it dies, or is ended, or the broker stops.
    async fn attend(
        &mut self,
        mut process: WorkerProcess,
        mut link: Link,
        signals: &mut Signals,
    ) -> End {
        let (answers, mut opened) = unbounded_channel();
        let mut served = false;
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
                () = self.watch.changed() => Event::PolicyChanged,
                () = self.retry.is_due() => Event::NamesDue,
                () = mirror.settled() => Event::Settled,
                () = self.devices.appeared() => Event::Appeared,
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
                Event::PolicyChanged => self.reload(Asker::Files),
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

    /// Says which deposits the next broker does not have.
    fn tell_what_is_lost(&self) {
        let all = self.deposits.all().map(|kept| kept.slot);
        let lost = self.deposits.mirror.left_out().unwrap_or_else(|| all.collect());
        let left = self.deposits.all().len().saturating_sub(lost.len());
        let named: Vec<_> = lost.iter().take(NAMED).map(|slot| slot.to_string()).collect();
        let named = if lost.is_empty() { "none".to_owned() } else { named.join(" ") };
        self.log.info(&format!(
            "deposits left with the service manager: {left}; lost: {} ({named}{})",
            lost.len(),
            if lost.len() > NAMED { " …" } else { "" }
        ));
    }

    /// What a worker acknowledged before it ended still counts, however it ended.
    async fn read_to_the_end(&mut self, mut link: Link, answers: &UnboundedSender<OpenAnswer>) {
        // A thread that sleeps in the kernel keeps the link of a dead worker from ending.
        while let Ok(Ok(message)) = tokio::time::timeout(SILENCE, link.message()).await {
            // A message that makes no sense is as good as none: its worker has gone.
            let _ = self.answer(message, &mut link, answers, &mut false);
            tokio::task::consume_budget().await;
        }
    }
}

impl From<Order> for Event {
    fn from(order: Order) -> Self {
        match order {
            Order::Stop => Self::Stop,
            Order::Reload => Self::Hangup,
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
