//! Which process may ask a broker to hand over.

use std::os::fd::AsFd;

use fdbroker_host::{Standing, has_same_user_ids, is_alive};
use rustix::process::{Pid, geteuid, getpid};

use super::process::BrokerProcess;
use crate::log::Verdict;
use crate::supervisor::audit::records::Records;

/// Whether a process may have everything: it runs as this broker's own user, in its namespace of
/// users, and may do all that this broker might when it began. So root in a container may not. Where the user is not
/// root, the worker and all that the broker has started run as the same user; but they are confined as the broker
/// is, and more.
///
/// # Errors
/// Why not.
pub(super) fn may_ask(process: &BrokerProcess, standing: Standing) -> Result<(), String> {
    let own = geteuid();
    let pid = Pid::from_raw(process.pid()).ok_or("it is in another namespace of processes")?;
    let asker = format!("process {} of user {}", process.pid(), process.uid().0);
    if process.uid().0 != own.as_raw() || pid == getpid() {
        return Err(format!("{asker}; this broker runs as user {}", own.as_raw()));
    }
    if !has_same_user_ids(pid) {
        return Err(format!("{asker} is in another user namespace"));
    }
    let its = Standing::of(pid);
    if !its.is_some_and(|its| its.is_at_least(standing)) {
        return Err(format!(
            "{asker} may do less than this broker might when it began: it has fewer capabilities, more filters of system \
                 calls, or is in a namespace of processes further in"
        ));
    }
    let now = Standing::own();
    let is_free = its.zip(now).is_some_and(|(its, own)| its.is_less_confined(own));
    if !own.is_root() && !is_free {
        return Err(format!(
            "{asker} is as confined as this broker: it may be one that the broker started"
        ));
    }
    // What was read by its number was of the process that connected.
    if process.pidfd().is_none_or(|pidfd| !is_alive(pidfd.as_fd())) {
        return Err(format!("{asker} has ended"));
    }
    Ok(())
}

/// Says and records that a process is refused.
pub(super) fn refuse(process: &BrokerProcess, why: &str, records: &Records) {
    // It is refused in any case.
    let _ = records.audit.record(&process.record(Verdict::Refused, why));
    let said = format!("a process that asked to replace this broker is refused: {why}");
    records.log().warn(&said);
}

/// Whether one that asks must be able to look into this process. A process of root's can do that only with the
/// capability for it.
pub(super) fn must_see(standing: Standing) -> bool {
    !geteuid().is_root() || standing.may_trace()
}
