//! The worker: the half that talks to peers, and has no privilege.
//!
//! It owns the sessions, the slots it serves from, every decision and the audit trail. Whoever
//! takes it over has what the policy lists, and never root. Everything it knows it was given by
//! the supervisor at its start; everything it acknowledges, the supervisor has.

pub(crate) mod accept;
mod answer;
pub(crate) mod decision;
mod deposit;
pub(crate) mod identity;
pub(crate) mod inbox;
mod kind;
mod names;
pub(crate) mod outbox;
mod place;
mod privilege;
mod quota;
pub(crate) mod request;
mod restore;
mod session;
mod slots;
mod turns;
mod vault;

use std::cell::RefCell;
use std::os::fd::OwnedFd;
use std::process::ExitCode;
use std::rc::Rc;

use fdbroker_policy::{Policy, Uid};
use tokio::task::LocalSet;

use crate::arguments::Arguments;
use crate::closer::Closer;
use crate::log::{Format, Log};
use crate::sys::adopt::adopt;

/// The user id that no process has, see setreuid(2).
const NOBODY: Uid = Uid(u32::MAX);

/// What all sessions share. One thread: borrows never outlive a step of the event loop.
pub(crate) struct Worker {
    policy: Policy,
    log: Log,
    slots: RefCell<slots::Slots>,
    quotas: quota::Quotas,
    turns: turns::Turns,
    vault: vault::Vault,
    guard: kind::Guard,
    closer: RefCell<Closer<Uid>>,
    /// On whose lane what the broker opened itself is closed: nobody's who deposits.
    owner_of_resources: Uid,
    /// Where every session reads to, before it decodes.
    chunk: RefCell<Box<[u8]>>,
}

/// Runs the worker to its end: when the supervisor has gone, or told it to go.
pub(crate) fn main(arguments: &Arguments) -> ExitCode {
    let format = arguments.log_format.unwrap_or(Format::Text);
    match run(format) {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            eprintln!("fdbrokerd: worker: {problem}");
            ExitCode::FAILURE
        }
    }
}

fn run(format: Format) -> Result<(), String> {
    let link = adopt(0).map_err(|error| format!("no supervisor on standard input: {error}"))?;
    // Privileges go in here, before any thread exists and before any byte of a peer's is read.
    let restored = restore::from(link)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| format!("no event loop: {error}"))?;
    let log = Log::open(format).map_err(|error| format!("no log: {error}"))?;
    LocalSet::new().block_on(&runtime, serve(restored, log))
}

async fn serve(restored: restore::Restored, log: Log) -> Result<(), String> {
    let restore::Restored { link, policy, listener, deposits, notes } = restored;
    let (vault, answers) = vault::Vault::new(link).map_err(|error| error.to_string())?;
    let guard = kind::Guard::of(&listener);
    let quotas = quota::Quotas::new(policy.settings());
    let mut slots = slots::Slots::default();
    for deposit in deposits {
        slots.put(deposit::Deposit::restored(deposit, &quotas)?);
    }
    let worker = Rc::new(Worker {
        policy,
        log,
        slots: RefCell::new(slots),
        quotas,
        turns: turns::Turns::default(),
        vault,
        guard,
        closer: RefCell::new(Closer::new()),
        owner_of_resources: NOBODY,
        chunk: RefCell::new(vec![0; inbox::CHUNK].into_boxed_slice()),
    });
    notes.into_iter().for_each(|note| turns::restore(&worker, note));
    let peers = accept::accept(Rc::clone(&worker), listener);
    tokio::select! {
        result = answers.read(&worker) => result.map_err(|error| error.to_string()),
        result = peers => result.map_err(|error| format!("cannot accept peers: {error}")),
        () = worker.log.keep_flushing() => Ok(()),
    }
}

impl Worker {
    /// Closes a descriptor that came from `uid` without waiting for it.
    fn close(&self, uid: Uid, descriptor: OwnedFd) {
        self.closer.borrow_mut().close(uid, descriptor, ());
    }

    /// Lets go of a deposit: closed when nobody is being sent it any more, and only then given
    /// back to its owner's quota.
    fn release(&self, deposit: Rc<deposit::Deposit>) {
        if let Some(deposit) = Rc::into_inner(deposit) {
            let (uid, descriptor, charge) = deposit.into_parts();
            if let Some(descriptor) = descriptor {
                self.closer.borrow_mut().close(uid, descriptor, charge);
            }
        }
    }
}
