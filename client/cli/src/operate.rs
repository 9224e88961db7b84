//! `fdbroker reload`, `purge` and `status`: what an operator asks of the broker itself.
//!
//! Each writes what the broker reports: to standard output when it was done, else to standard
//! error.

use clap::Args;

use crate::connect_args::ConnectArgs;
use crate::failure::Failure;
use crate::lazy_broker::LazyBroker;
use crate::output;

/// Tell the broker to read its policy again
#[derive(Args, Debug)]
#[command(after_help = RELOAD)]
pub(crate) struct Reload {}

const RELOAD: &str = "\
Example:
  fdbroker check && fdbroker reload

Needs the right operate. If the new policy has findings, they go to standard error, the old
policy stays in force, and the exit status is 1.";

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

Needs the right operate. Prints lines of the form KEY=VALUE:
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
  degraded                what is not as the policy says: policy, reload, names,
                          resources, mirror, last-good; or none
  policy_from             files, built-in, or last good with its date and hash
  last_reload             none, ok or failed, with its time, and why it failed
  last_good_policy        the copy for the next start: its date and hash; none, off,
                          or failing with the reason
  names_unknown           names of the policy that could not be looked up, or none
  names_absent            names of the policy that nobody has, or none
  resources_failed        resources to be opened at start that could not be, or none
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
        let report = args.connect()?.reload()?;
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
