//! The worker: the half that talks to peers, and has no privilege.
//!
//! It owns the sessions, the slots it serves from, every decision and the audit trail. An attacker
//! who takes it over gets what the policy lists, and never root. The supervisor sends it all that
//! it knows at its start; and the supervisor has everything that the worker acknowledges.

pub(crate) mod accept;
pub(crate) mod disconnected;
#[cfg(fuzzing)]
pub mod fuzzing;
pub(crate) mod identity;
mod limits;
mod owner_changes;
mod ownership;
pub(crate) mod peer;
mod policy;
pub(crate) mod request;
mod serve;
mod sessions;
mod state;
mod store;
mod supervisor_link;
mod tasks;
mod unaccepted;

use std::cell::RefCell;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::process::ExitCode;
use std::rc::Rc;

use fdbroker_wire::Setup;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::task::LocalSet;

use crate::arguments::Arguments;
use crate::audit::Audit;
use crate::child;
use crate::fd::CloseQueue;
use crate::log::{Format, Log};
use crate::memory::Freed;
use crate::sandbox;
use crate::sys::watch::Watched;

use limits::loop_time::{IdleCount, LoopTime};
use policy::active::ActivePolicy;
use state::Worker;
use supervisor_link::heartbeat::{self, Heartbeat, Supervisor};
use supervisor_link::{at_hand, closer, connections, restore, write};

const ROLE: &str = "worker";

/// Runs the worker to its end: when the supervisor has gone, or told it to go.
pub(crate) fn main(arguments: &Arguments) -> ExitCode {
    let format = arguments.log_format.unwrap_or(Format::Text);
    child::report(ROLE, run(format))
}

fn run(format: Format) -> Result<(), String> {
    let link = child::begin(c"fdbroker-worker")?;
    end_on_panic(link.try_clone().map_err(|error| format!("no link: {error}"))?);
    // Privileges go in here, before any thread exists and before any byte of a peer's is read.
    let close_queue = CloseQueue::new();
    let restored = restore::from(link, &close_queue)?;
    let by_pid = !identity::kernel_names_processes(&restored.link);
    let idle = IdleCount::default();
    let counted = idle.clone();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .on_thread_park(move || counted.add())
        .build()
        .map_err(|error| format!("no event loop: {error}"))?;
    let log = Log::open(format).map_err(|error| format!("no log: {error}"))?;
    let journal = format == Format::Journald;
    // Not to be had once it is confined.
    let supervisor = Supervisor::of_this_process().map_err(|error| format!("no timer: {error}"))?;
    let table = leave_room(&restored.rules).map_err(|error| error.to_string())?;
    let sandbox = confine(&log, journal)?;
    if by_pid {
        log.warn(
            "this kernel has no SO_PEERPIDFD (Linux 6.5): processes are identified by their \
                 pid",
        );
    }
    let serving = start(restored, log, table, idle, close_queue, supervisor, sandbox);
    LocalSet::new().block_on(&runtime, serving)
}

const NO_UNITS: &str = "the broker is in a control group namespace of its own: it cannot see the \
units and control groups of peers; rules that allow by them match nobody; rules that deny by them match everybody; \
run the broker in the service manager's control group namespace";

/// A fault of ours ends the whole worker, not one session in the middle of a change: another
/// worker starts from what the supervisor knows.
fn end_on_panic(link: OwnedFd) {
    let tell = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        // First, since nobody may read standard error.
        at_hand::confess(link.as_fd());
        tell(panic);
        std::process::abort();
    }));
}

async fn start(
    restored: restore::Restored,
    log: Log,
    table: u64,
    idle: IdleCount,
    close_queue: CloseQueue,
    supervisor: Supervisor,
    sandbox: &'static str,
) -> Result<(), String> {
    let restore::Restored {
        link,
        instance,
        sees_units,
        rules,
        listener,
        is_held,
        trail,
        deposits,
        notes,
        takes,
        waiting,
    } = restored;
    if !sees_units {
        log.warn(NO_UNITS);
    }
    let policy = &rules.policy;
    let (link, reads) = write::SupervisorLink::new(link).map_err(|error| error.to_string())?;
    let heartbeat = Heartbeat::new(supervisor).map_err(|error| error.to_string())?;
    let own_sockets = store::own_sockets::OwnSockets::of(&listener);
    let listener = close_queue.hold(close_queue.unread(), listener);
    let quotas = limits::quota::Quotas::new(policy.settings(), table);
    quotas
        .shortfall(policy.settings(), of_the_supervisor(&rules))
        .iter()
        .for_each(|told| log.warn(told));
    let mut slots = store::slots::Slots::default();
    for deposit in deposits {
        let slot = deposit.slot;
        let restore = || store::deposit::Deposit::restored(deposit, &quotas, &rules.payers);
        match at_hand::on(slot, restore) {
            Ok(deposit) => slots.put(Rc::new(deposit)),
            // The others are worth more than it: it stays with the supervisor.
            Err(problem) => log.error(&format!("{problem}; it is left out")),
        }
    }
    let connections = connections::Connections::default();
    for tally in waiting {
        link.copies.wait_for(tally, &quotas, &rules.payers);
        connections.wait_for(tally, &quotas);
        link.questions.openings.wait_for(tally, &quotas, &rules.payers);
    }
    let audit = Audit::new(Rc::new(log), trail);
    audit.follow(&rules.policy, &rules.payers);
    let (coming, policies) = unbounded_channel();
    let (listeners, others) = unbounded_channel();
    let worker = Rc::new(Worker {
        instance,
        sandbox,
        sees_units,
        policy: ActivePolicy::new(rules),
        audit,
        slots: RefCell::new(slots),
        quotas,
        loop_time: Rc::new(LoopTime::new(idle)),
        sessions: sessions::Sessions::default(),
        lookups: identity::lookup::Lookups::default(),
        rates: limits::rate::Rates::default(),
        arrivals: limits::arrivals::Arrivals::new(std::time::Instant::now()),
        groups: identity::GroupSets::default(),
        ownership: ownership::registry::OwnershipRegistry::default(),
        in_flight: limits::in_flight::InFlight::new(table),
        link,
        heartbeat,
        closers: closer::CloserLinks::default(),
        own_sockets,
        close_queue,
        chunk: RefCell::new(vec![0; peer::inbox::CHUNK].into_boxed_slice()),
        coming,
        listeners,
        taking: store::pending_take::PendingTakes::default(),
        connections,
        freed: Freed::default(),
        health: RefCell::default(),
    });
    notes.into_iter().for_each(|note| owner_changes::restore(&worker, note));
    takes.into_iter().for_each(|take| request::takers::restore(&worker, take));
    tokio::task::spawn_local(Rc::clone(&worker.loop_time).run());
    let listener = accept::Sockets { first: listener, is_held, others };
    let tasks = run_tasks(Rc::clone(&worker), reads, listener, policies);
    // A task of its own, and not awaited here: what is awaited here is polled whenever any task is.
    let result = tokio::task::spawn_local(tasks).await;
    let result = result.unwrap_or_else(|error| Err(error.to_string()));
    // First of all: what follows can take its time, and clients are to connect again.
    worker.connections.shut_down();
    worker.audit.settle();
    worker.log().end();
    exit(result)
}

/// Does all that is no session's, until some of it ends: then the worker does too.
async fn run_tasks(
    worker: Rc<Worker>,
    link: Rc<Watched>,
    sockets: accept::Sockets,
    policies: UnboundedReceiver<Setup>,
) -> Result<(), String> {
    let peers = accept::accept(Rc::clone(&worker), sockets);
    tokio::select! {
        result = tasks::read::run_reader(&worker, &link) => result.map_err(|error| error.to_string()),
        result = peers => result.map_err(|error| format!("cannot accept peers: {error}")),
        result = tasks::policies::apply_policies(&worker, policies) => result,
        () = worker.log().keep_flushing() => Ok(()),
        () = worker.audit.keep_counting() => Ok(()),
        () = write::resend_copies(&worker.link, &worker.slots) => Ok(()),
        () = write::withdraw_questions(&worker.link) => Ok(()),
        () = owner_changes::run_timers(&worker) => Ok(()),
        result = heartbeat::answer(&worker.heartbeat, &worker.link) => result,
        () = worker.connections.announce(&worker.link, &worker.close_queue) => Ok(()),
        full = tasks::full_table::stays_full(&worker) => Err(full),
        () = closer::ask(&worker.closers, &worker.link) => Ok(()),
        () = tasks::floods::tell_of_floods(&worker) => Ok(()),
        () = tasks::closing::send_unsent(&worker) => Ok(()),
        () = closer::let_go(&worker.closers) => Ok(()),
        () = worker.link.broken() => Err("the supervisor cannot be written to".to_owned()),
    }
}

/// Ends the process from within the event loop, so that nothing is dropped before: with a session's
/// socket the kernel closes what its peer has sent, and that can sleep for as long as the peer likes.
fn exit(result: Result<(), String>) -> ! {
    let status = i32::from(result.is_err());
    child::report(ROLE, result);
    std::process::exit(status)
}

/// From here on only what serving takes can be done. No byte of a peer's has been read yet. Returns how much
/// of the sandbox is in force.
fn confine(log: &Log, journal: bool) -> Result<&'static str, String> {
    if std::fs::read_dir("/proc/self/task").is_ok_and(|threads| threads.count() > 1) {
        return Err("a thread was started before the worker was confined".to_owned());
    }
    let confinement = sandbox::confine_worker(journal).map_err(|error| error.to_string())?;
    if confinement.is_any() {
        log.info(&format!("the worker is {confinement}"));
    }
    confinement.missing().iter().for_each(|missing| log.warn(missing));
    Ok(confinement.extent())
}

/// Lowers the worker's limit of descriptors below the supervisor's. The supervisor holds a copy of
/// each, and descriptors for each resource and tag that the policy knows: it must never be the
/// first to run out. Returns the limit.
fn leave_room(rules: &policy::active::Rules) -> io::Result<u64> {
    let limit = getrlimit(Resource::Nofile);
    let current = limit.current.unwrap_or(u64::MAX);
    let lowered = current.saturating_sub(of_the_supervisor(rules)).max(current / 2);
    setrlimit(Resource::Nofile, Rlimit { current: Some(lowered), maximum: limit.maximum })?;
    Ok(lowered)
}

/// How many descriptors the supervisor may have beside those that it keeps for its worker.
fn of_the_supervisor(rules: &policy::active::Rules) -> u64 {
    let resources = rules.policy.resources();
    let known = resources.len() + rules.policy.tags().count();
    let known = u64::try_from(known).unwrap_or(u64::MAX).saturating_mul(2).saturating_add(64);
    let ready = resources.iter().filter_map(|resource| resource.ready);
    let ready = ready.map(|ready| u64::from(ready.number)).sum::<u64>();
    known.saturating_add(ready)
}
