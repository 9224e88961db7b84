//! What `check` says of the broker that runs: whether it is under an older policy.

use std::time::Duration;

use crate::connect_args::ConnectArgs;
use crate::failure::Failure;
use crate::terminal;

/// How long the broker may take to answer.
const PATIENCE: Duration = Duration::from_secs(2);

/// What `status` says of an older policy.
const OLDER: &str = "policy_from=last good, of ";

/// Whether no broker runs under an older policy. One that does not answer counts as one that does not run, and so does
/// root's broker for others: it would record that they asked for what no rule allows.
///
/// # Errors
/// When one does; that has been said.
pub(crate) fn is_current(args: &ConnectArgs) -> Result<(), Failure> {
    let connector = args.connector_to_own().timeout(Some(PATIENCE));
    let Ok(status) = connector.connect().and_then(|mut broker| broker.status()) else {
        return Ok(());
    };
    let Some(older) = status.lines().find_map(|line| line.strip_prefix(OLDER)) else {
        return Ok(());
    };
    terminal::complain(format_args!(
        "fdbroker: the running broker is under an older policy, the last good one of {older}: when it \
         started, the policy did not load; correct what is reported above, or run `fdbroker reload`"
    ));
    Err(Failure::Findings)
}
