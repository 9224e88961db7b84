//! Giving up every capability that nothing here needs, see capabilities(7).
//!
//! What stays: becoming the worker's user and clearing its capabilities (SETUID, SETGID,
//! SETPCAP), ending a worker that does not end by itself (KILL), opening what belongs to other
//! users (DAC_OVERRIDE), and what the policy's resources need to be opened at all.

use caps::{CapSet, Capability, CapsHashSet};
use fdbroker_policy::{Policy, Resource};
use rustix::process::geteuid;

use super::StartError;

const ALWAYS: [Capability; 5] = [
    Capability::CAP_SETUID,
    Capability::CAP_SETGID,
    Capability::CAP_SETPCAP,
    Capability::CAP_KILL,
    Capability::CAP_DAC_OVERRIDE,
];

/// Devices whose open(2) asks for a capability beside the file mode.
const KNOWN_DEVICES: [(&str, Capability); 4] = [
    ("/dev/kmsg", Capability::CAP_SYSLOG),
    ("/dev/mem", Capability::CAP_SYS_RAWIO),
    ("/dev/port", Capability::CAP_SYS_RAWIO),
    ("/dev/snapshot", Capability::CAP_SYS_ADMIN),
];

/// Keeps what `policy` needs, for good: nothing started from here can have more.
///
/// To be called while there is one thread. Without root there is nothing to give up that the
/// user does not have anyway.
pub(super) fn keep_only_needed(policy: &Policy) -> Result<(), StartError> {
    if !geteuid().is_root() {
        return Ok(());
    }
    let held = caps::read(None, CapSet::Permitted).map_err(failed)?;
    let kept: CapsHashSet = needed(policy.resources())?.intersection(&held).copied().collect();
    limit_bounding(&kept)?;
    caps::clear(None, CapSet::Ambient).map_err(failed)?;
    caps::set(None, CapSet::Effective, &kept).map_err(failed)?;
    caps::set(None, CapSet::Permitted, &kept).map_err(failed)?;
    caps::clear(None, CapSet::Inheritable).map_err(failed)
}

/// Whether what another policy needs beyond this one is still held: what was given up does not
/// come back.
///
/// # Errors
/// The capability that is not.
pub(super) fn are_held(before: &Policy, after: &Policy) -> Result<(), StartError> {
    if !geteuid().is_root() {
        return Ok(());
    }
    let held = caps::read(None, CapSet::Permitted).map_err(failed)?;
    let before = needed(before.resources())?;
    match needed(after.resources())?.difference(&before).find(|needed| !held.contains(needed)) {
        None => Ok(()),
        Some(missing) => Err(StartError::CapabilityGone(missing.to_string())),
    }
}

fn limit_bounding(kept: &CapsHashSet) -> Result<(), StartError> {
    for capability in caps::read(None, CapSet::Bounding).map_err(failed)? {
        if !kept.contains(&capability) {
            caps::drop(None, CapSet::Bounding, capability).map_err(failed)?;
        }
    }
    Ok(())
}

fn needed(resources: &[Resource]) -> Result<CapsHashSet, StartError> {
    let mut needed = CapsHashSet::from(ALWAYS);
    for resource in resources {
        let known = KNOWN_DEVICES.iter().filter(|(path, _)| *path == resource.path);
        needed.extend(known.map(|(_, capability)| *capability));
        for name in &resource.capabilities {
            needed.insert(parse(name)?);
        }
    }
    Ok(needed)
}

/// A capability by its name in the policy: lower case, without `CAP_`.
fn parse(name: &str) -> Result<Capability, StartError> {
    format!("CAP_{}", name.to_uppercase())
        .parse()
        .map_err(|_| StartError::Capabilities(format!("{name:?} is no capability of this build")))
}

fn failed(error: caps::errors::CapsError) -> StartError {
    StartError::Capabilities(error.to_string())
}
