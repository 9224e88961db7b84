//! The worker's credentials: giving up all privilege, for good, and making sure of it.
//!
//! Has to run while the process has one thread: capabilities and their securebits belong to
//! threads, see capabilities(7).

use std::fmt::Display;

use caps::{CapSet, securebits};
use fdbroker_wire::Account;
use nix::unistd::{Gid, Uid, getgroups, getresgid, getresuid, setgroups, setresgid, setresuid};
use rustix::thread::{
    CapabilitiesSecureBits, capabilities_secure_bits, set_capabilities_secure_bits,
};

use super::{SandboxError, memory};

/// Becomes `account`, where there is one, and keeps no capability in either case.
///
/// # Errors
/// When any step fails, or the outcome is not as it should be: the worker must not go on then.
pub(crate) fn give_up(account: Option<Account>) -> Result<(), SandboxError> {
    if let Some(account) = account {
        lock_out_root()?;
        become_account(account)?;
        memory::hide()?;
    }
    for set in [CapSet::Ambient, CapSet::Effective, CapSet::Permitted, CapSet::Inheritable] {
        caps::clear(None, set).map_err(|error| failed("clearing capabilities", &error))?;
    }
    memory::gain_nothing()?;
    verify(account)
}

/// Neither a set-uid program nor uid 0 gets a capability again.
fn lock_out_root() -> Result<(), SandboxError> {
    for capability in caps::read(None, CapSet::Bounding).map_err(|e| failed("capabilities", &e))? {
        caps::drop(None, CapSet::Bounding, capability)
            .map_err(|error| failed("emptying the bounding set", &error))?;
    }
    let bits = capabilities_secure_bits().map_err(|error| failed("PR_GET_SECUREBITS", &error))?;
    // The supervisor has locked it in the off position, where it could.
    if !bits.contains(CapabilitiesSecureBits::KEEP_CAPS_LOCKED) {
        securebits::set_keepcaps(false).map_err(|error| failed("PR_SET_KEEPCAPS", &error))?;
    }
    let locked = bits
        | CapabilitiesSecureBits::NO_ROOT
        | CapabilitiesSecureBits::NO_ROOT_LOCKED
        | CapabilitiesSecureBits::KEEP_CAPS_LOCKED
        | CapabilitiesSecureBits::NO_CAP_AMBIENT_RAISE
        | CapabilitiesSecureBits::NO_CAP_AMBIENT_RAISE_LOCKED;
    set_capabilities_secure_bits(locked).map_err(|error| failed("PR_SET_SECUREBITS", &error))
}

fn become_account(account: Account) -> Result<(), SandboxError> {
    let (uid, gid) = (Uid::from_raw(account.uid), Gid::from_raw(account.gid));
    setgroups(&[]).map_err(|error| failed("setgroups", &error))?;
    setresgid(gid, gid, gid).map_err(|error| failed("setresgid", &error))?;
    setresuid(uid, uid, uid).map_err(|error| failed("setresuid", &error))
}

/// Asks the kernel, rather than believe the calls above.
fn verify(account: Option<Account>) -> Result<(), SandboxError> {
    for set in [CapSet::Ambient, CapSet::Effective, CapSet::Permitted, CapSet::Inheritable] {
        let left = caps::read(None, set).map_err(|error| failed("reading capabilities", &error))?;
        if !left.is_empty() {
            return Err(failed(
                GIVING_UP,
                &format!("capabilities are left in the {set:?} set: {left:?}"),
            ));
        }
    }
    let Some(account) = account else { return Ok(()) };
    let (uids, gids) = (getresuid(), getresgid());
    let uids = uids.map_err(|error| failed("getresuid", &error))?;
    let gids = gids.map_err(|error| failed("getresgid", &error))?;
    let groups = getgroups().map_err(|error| failed("getgroups", &error))?;
    let uid_is_right =
        [uids.real, uids.effective, uids.saved].iter().all(|id| id.as_raw() == account.uid);
    let gid_is_right =
        [gids.real, gids.effective, gids.saved].iter().all(|id| id.as_raw() == account.gid);
    if uid_is_right && gid_is_right && groups.is_empty() {
        return Ok(());
    }
    let found =
        format!("still {uids:?} {gids:?} with groups {groups:?} after becoming {account:?}");
    Err(failed(GIVING_UP, &found))
}

fn failed(what: &'static str, error: &dyn Display) -> SandboxError {
    SandboxError::new(what, error)
}

const GIVING_UP: &str = "giving up privilege";
