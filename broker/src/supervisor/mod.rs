//! The supervisor: the privileged half.
//!
//! It owns the policy file's reading, the listening socket, the opening of resources, and a copy
//! of every deposit. It has one peer, its worker, and trusts it with nothing but the table in
//! the policy: the worker can name a resource by number and park bytes and descriptors, no more. What a
//! server sends is read by a helper, which is trusted with one connection and its credential.
//! It never looks into a payload, except for the depositor's uid in the record before it.

mod attend;
mod audit;
mod deposits;
mod error;
mod event_loop;
mod hand_over;
mod health;
pub(crate) mod leases;
mod listener;
mod messages;
pub(crate) mod news;
mod notify;
mod passed;
mod path_watch;
mod policy;
mod policy_error;
mod renew;
mod replace;
mod resources;
mod signals;
mod state;
mod take_over;
mod watches;
mod workers;

use fdbroker_host::{BoundedNames, Standing};
use fdbroker_types::quoted;
use std::process::ExitCode;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::arguments::Arguments;
use crate::fd::{CloseQueue, table};
use crate::log::{Format, Log, StandardError};
use crate::lookup::asker::ByProcess;
use crate::sandbox::{self, capabilities, memory};
use crate::sys::{adopt, signal};
use audit::file::AuditFile;
use listener::Listener;
use replace::door::Door;
use replace::predecessor::{NotReplaced, Predecessor};
use workers::helper::Helpers;
use workers::spawner::Spawner;

pub(crate) use error::StartError;

/// How long a start that fails takes at least under a service manager: clients that wait would have it start one broker
/// after the other.
const FAILED_START: Duration = Duration::from_secs(2);

/// Runs the supervisor to its end.
pub(crate) fn main(arguments: &Arguments) -> ExitCode {
    let began = Instant::now();
    let mut readiness = notify::Readiness::default();
    let mut supervisor = match prepare(arguments, &mut readiness) {
        Ok(supervisor) => supervisor,
        Err(error) => return failed(readiness, &error, began),
    };
    let status = match supervisor.run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => failed(std::mem::take(&mut supervisor.readiness), &error, began),
    };
    supervisor.log.end();
    // Never dropped: with the listening socket the kernel closes what peers that nobody accepted
    // have sent, and that can sleep before the process gets to its exit.
    std::mem::forget(supervisor);
    status
}

/// Tells the starter of the broker and standard error; returns the exit status. A service manager, which starts the next
/// broker at once, is told only after a while if this one has never served.
fn failed(readiness: notify::Readiness, error: &StartError, began: Instant) -> ExitCode {
    let paces = !readiness.is_told() && notify::is_managed();
    readiness.fail(error);
    let status = error.report();
    if paces {
        std::thread::sleep(FAILED_START.saturating_sub(began.elapsed()));
    }
    status
}

/// Does everything that can fail before a worker exists.
///
/// The order matters. Inherited descriptors are taken before anything else opens one. Standard
/// error is opened again while the privilege for it is there. Privilege is given up before the log
/// may start a thread, since the filter of system calls too is each thread's own.
fn prepare(
    arguments: &Arguments,
    readiness: &mut notify::Readiness,
) -> Result<state::Supervisor, StartError> {
    signal::ignore_unused();
    // Before any of it is given up.
    let standing = Standing::own();
    memory::seal()?;
    // No thread starts before something is to be closed.
    let close_queue = CloseQueue::new();
    *readiness = notify::Readiness::take(arguments.ready_fd)?;
    let mut passed = passed::Passed::take()?;
    let sockets = std::mem::take(&mut passed.sockets);
    let socket = listener::passed_in(sockets, close_queue.clone())?;
    adopt::seal_inherited().map_err(StartError::Seal)?;
    let standard_error = StandardError::open();
    // If it is to be replaced by a broker whose policy does not load, it goes on: an older policy is no reason.
    let found = predecessor(arguments, socket.is_some(), standing)?;
    let last_good = last_good(arguments, socket.as_ref());
    let fallback = last_good.as_ref().filter(|_| found.is_none());
    let names = BoundedNames::new(ByProcess::default());
    let source = policy::source::PolicySource::read(arguments, fallback, &names)?;
    drop(names);
    let (listener, predecessor) = listen(arguments, socket, found, &close_queue)?;
    capabilities::keep_only_needed(&source.policy)?;
    let confinement = sandbox::confine_supervisor()?;
    let format = arguments.log_format.unwrap_or_else(Format::detect);
    let log = Rc::new(Log::to(format, standard_error).map_err(StartError::Log)?);
    if confinement.is_any() {
        log.info(&format!("the supervisor is {confinement}"));
    }
    confinement.missing().iter().for_each(|missing| log.warn(missing));
    source.odd.iter().for_each(|odd| log.warn(odd));
    passed.tell(&log);
    if fdbroker_host::can_be_swapped() {
        log.warn(SWAPPED);
    }
    let door = match (&predecessor, listener.own_path()) {
        (None, Some(path)) => Door::open(path, standing, &log),
        _ => Door::default(),
    };
    // Before anything of a peer's is here.
    let spawner = Arc::new(Spawner::start(format, &log));
    raise_descriptor_limit(&log);
    let records = open_records(arguments, &source, &log)?;
    // Of their own: those who open resources are not to keep the event loop from a new worker.
    let helpers = Helpers::new(Arc::new(Spawner::start(format, &log)), source.account());
    let resources = source.policy.resources();
    let opener = resources::pool::Opener::new(resources, helpers, close_queue.clone());
    opener.open_at_start().iter().for_each(|failure| log.error(failure));
    warn_of_capabilities(&source, &log);
    opener.open_ones().for_each(|resource| records.opened(resource));
    if source.texts.is_empty() {
        log.info(
            "no policy file: the built-in policy applies, for the user that started the \
                 broker",
        );
    }
    let readiness = std::mem::take(readiness);
    let mut supervisor =
        state::Supervisor::new(spawner, records, readiness, source, listener, opener, close_queue)
            .map_err(StartError::Runtime)?;
    supervisor.stored = passed.stored;
    supervisor.keep_policy_in(last_good);
    (supervisor.door, supervisor.predecessor) = (door, predecessor);
    Ok(supervisor)
}

/// Where the last good policy is kept, with a note beside the socket.
fn last_good(
    arguments: &Arguments,
    passed: Option<&Listener>,
) -> Option<policy::last_good::LastGood> {
    let socket = match passed {
        Some(listener) => listener.path(),
        None => listener::place(arguments.socket.as_deref()).ok(),
    };
    let last_good = policy::last_good::LastGood::chosen(arguments)?;
    Some(last_good.noting_beside(socket.as_deref()))
}

/// The broker that is to be replaced, if one is to be, and runs.
fn predecessor(
    arguments: &Arguments,
    has_socket: bool,
    standing: Option<Standing>,
) -> Result<Option<Predecessor>, StartError> {
    if !arguments.replace {
        return Ok(None);
    }
    if has_socket {
        return Err(StartError::ReplacePassed);
    }
    let path = listener::place(arguments.socket.as_deref())?;
    let found = Predecessor::find(&path, standing);
    let found = found.map_err(|NotReplaced { why, has_ended }| {
        let path = path.clone();
        StartError::Replace { path, why, has_ended }
    })?;
    if found.is_some() && notify::is_managed() {
        return Err(StartError::Replace { path, why: HAS_A_STORE.to_owned(), has_ended: false });
    }
    Ok(found)
}

/// The socket that peers connect to: passed in, or bound here; or that of the broker that is to be replaced, which shares
/// it later.
fn listen(
    arguments: &Arguments,
    passed: Option<Listener>,
    found: Option<Predecessor>,
    close_queue: &CloseQueue,
) -> Result<(Listener, Option<Predecessor>), StartError> {
    if let Some(mut listener) = passed {
        listener.let_all_in();
        return Ok((listener, None));
    }
    if let Some(predecessor) = found {
        let listener = Listener::yet_to_come(close_queue.clone()).map_err(StartError::Runtime)?;
        return Ok((listener, Some(predecessor)));
    }
    let path = listener::place(arguments.socket.as_deref())?;
    match Listener::bind(path.clone(), close_queue.clone()) {
        Err(error) if arguments.replace && error.is_for_another_broker() => {
            let why = NOT_TO_BE_ASKED.to_owned();
            Err(StartError::Replace { path, why, has_ended: false })
        }
        bound => Ok((bound?, None)),
    }
}

/// Deposits that are in both would be lost, or come back although they were deleted.
const HAS_A_STORE: &str = "a service manager starts this broker, and may have deposits of its own for it ($NOTIFY_SOCKET); \
start this one without $NOTIFY_SOCKET, or stop the one that runs first, which empties its slots";

const NOT_TO_BE_ASKED: &str = "it is not to be asked: a service manager started it (then use systemctl restart \
fdbrokerd), it is of a version without --replace, or it does not serve yet";

const SWAPPED: &str = "payloads and passwords in memory can be written to swap: set MemorySwapMax=0 of the unit, as the \
     packaged one does (it takes control groups of version 2), or encrypt the swap";

/// Says which resources cannot be opened for want of a capability that the policy names.
fn warn_of_capabilities(source: &policy::source::PolicySource, log: &Log) {
    for resource in source.policy.resources() {
        let missing = resources::capability::not_held(&resource.capabilities);
        if !missing.is_empty() {
            let cure = resources::capability::NOT_HELD.replace("{}", &missing.join(" "));
            log.warn(&format!("resource {}: {cure}", quoted(&resource.name)));
        }
    }
}

/// The audit trail, with its file where there is one.
fn open_records(
    arguments: &Arguments,
    source: &policy::source::PolicySource,
    log: &Rc<Log>,
) -> Result<audit::records::Records, StartError> {
    let path = arguments.audit_file.as_deref();
    let file = path.map(|path| {
        AuditFile::open(path).map_err(|error| StartError::AuditFile(path.to_owned(), error))
    });
    audit::records::Records::new(Rc::clone(log), file.transpose()?, &source.policy)
}

/// As many descriptors as the hard limit allows: each deposit takes one in either process.
fn raise_descriptor_limit(log: &Log) {
    if let Err(error) = table::enlarge() {
        log.warn(&format!("the limit of open descriptors stays as it is: {error}"));
    }
}
