//! Which process may ask a broker to hand over.

use std::os::fd::OwnedFd;

use fdbroker_host::{Standing, has_same_user_ids};
use nix::sys::socket::{getsockopt, sockopt};
use rustix::process::{Pid, geteuid, getpid};

/// Whether a process at the other end of a socket may have everything: it runs as this broker's own user, in its namespace of
/// users, and may do all that this broker might when it began. So root in a container may not. Where the user is not root, the worker and all that the broker has started run as the same user; but they are
/// confined as the broker is, and more.
pub(super) fn may_ask(stream: &OwnedFd, standing: Standing) -> Result<Pid, String> {
    let peer = getsockopt(stream, sockopt::PeerCredentials).map_err(|error| error.to_string())?;
    let (uid, own) = (peer.uid(), geteuid());
    let pid = Pid::from_raw(peer.pid()).ok_or("it is in another namespace of processes")?;
    let asker = format!("process {} of user {uid}", peer.pid());
    if uid != own.as_raw() || pid == getpid() {
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
    Ok(pid)
}

/// Whether one that asks must be able to look into this process. A process of root's can do that only with the
/// capability for it.
pub(super) fn must_see(standing: Standing) -> bool {
    !geteuid().is_root() || standing.may_trace()
}
