//! `fdbroker reload`, `purge` and `status`: what an operator asks of the broker itself.
//!
//! Each writes what the broker reports: to standard output when it was done, else to standard
//! error.

use clap::Args;

use crate::connect_args::ConnectArgs;
use crate::failure::Failure;
use crate::lazy_broker::LazyBroker;
use crate::output;
use crate::reload_signal;

/// Tell the broker to read its policy again
#[derive(Args, Debug)]
#[command(after_help = RELOAD)]
pub(crate) struct Reload {
    /// Ask by SIGHUP, which needs no rule, and wait until it is done: the broker's process id
    #[arg(long, value_name = "PID", value_parser = clap::value_parser!(i32).range(1..))]
    signal: Option<i32>,
}

const RELOAD: &str = "\
Examples:
  fdbroker check && fdbroker reload
  fdbroker reload --signal \"$MAINPID\"

Needs the right operate, or with --signal to be root or the broker's user. It fails if the new
policy has findings, or if a new or changed resource of open = \"startup\" cannot be opened. Then
the reasons go to standard error, the old policy stays in force, and the exit status is 1.";

/// Delete deposits that no rule of the policy reaches any more
#[derive(Args, Debug)]
#[command(after_help = PURGE)]
pub(crate) struct Purge {
    /// The slot, such as 10/3 or web/3
    #[arg(required_unless_present = "all", conflicts_with = "all")]
    slot: Option<String>,
    /// Every deposit that no rule of the policy reaches
    #[arg(long)]
    all: bool,
}

const PURGE: &str = "\
Examples:
  fdbroker list                  marks as unreachable what --all would delete
  fdbroker purge --all
  fdbroker purge web/3

Needs the right operate. Deleted sockets are closed.";

/// Show the state of the broker
#[derive(Args, Debug)]
#[command(after_help = STATUS)]
pub(crate) struct Status {}

const STATUS: &str = "\
Example:
  fdbroker status

Needs the right inspect, or operate. Prints lines of the form KEY=VALUE:
  instance                another number after each start of the broker
  version                 of the broker
  policy                  how often reloads have changed the policy
  rules, tags, resources  of the policy in force
  connections             now, of all users
  deposits                now, of all users
  descriptors             in the deposits
  descriptor_limit        the limit of descriptors
  sandbox                 full, partial or none: the worker's; the log says what is missing
  audit                   ok, failing or none: whether the audit file takes records
  audit_lost              records that are missing in the audit file since it began to fail
  degraded                what is not as the policy says: audit, policy, reload, names,
                          resources, mirror, last-good, watches; or none
  policy_from             files, built-in, or last good with its date and hash
  last_reload             none, ok or failed, with its time, and why it failed
  last_good_policy        the copy for the next start: its date and hash; none, off,
                          or failing with the reason
  names_unknown           names of the policy that could not be looked up, or none
  names_absent            names of the policy that nobody has, or none
  resources_failed        resources to be opened at start that could not be, or none
  unwatched               what cannot be watched for changes: devices, policy; or none
  worker_restarts         workers that have died; the log says why
  workers_left_behind     dead workers that are blocked in the kernel
  closers                 processes that close descriptors that peers left unread
  helpers                 processes that make connections to servers now
  relays                  processes that encrypt connections to servers which speak TLS
  deposits_set_aside      slots on which workers have died, or none
  listener                ok, repaired, replaced or broken: the listening socket
  shut_out                users who connect too fast and may not for a while, or none
  mirror                  deposits stored beyond the broker, those in it only, and what is to be sent";

impl Reload {
    /// Runs it.
    pub(crate) fn run(self, args: &ConnectArgs) -> Result<(), Failure> {
        let report = match self.signal {
            Some(pid) => reload_signal::reload(pid, &args.socket(), args.timeout())?,
            None => args.connect()?.reload()?,
        };
        output::report(&report)
    }
}

impl Purge {
    /// Runs it.
    pub(crate) fn run(self, args: &ConnectArgs) -> Result<(), Failure> {
        let mut lazy = LazyBroker::new(args);
        let slot = self.slot.as_deref().map(|slot| lazy.slot(slot)).transpose()?;
        let report = lazy.broker()?.purge(slot)?;
        output::report(&report)
    }
}

impl Status {
    /// Runs it.
    pub(crate) fn run(self, args: &ConnectArgs) -> Result<(), Failure> {
        let report = args.connect_for_answers()?.status()?;
        output::report(&report)
    }
}
