//! The supervisor's capabilities: gives up every one that nothing here needs, see capabilities(7).
//!
//! These stay:
//! - SETUID, SETGID and SETPCAP, to become the worker's user and clear its capabilities;
//! - KILL, to end a worker that does not end by itself;
//! - DAC_OVERRIDE, to open what belongs to other users;
//! - those that opening the policy's resources needs.
//!
//! Being uid 0 is worth nothing more from then on (the securebit NO_ROOT, locked). A program that
//! is started from here has only the three capabilities that make a worker another user. They are
//! passed on as ambient ones.

use caps::{CapSet, Capability, CapsHashSet};
use fdbroker_policy::{DeviceNumber, Policy, Resource};
use fdbroker_types::quoted;
use rustix::fs::{CWD, FileType, Mode, OFlags, fstat, openat};
use rustix::process::geteuid;
use rustix::thread::{
    CapabilitiesSecureBits, capabilities_secure_bits, set_capabilities_secure_bits,
};

use super::SandboxError;
use crate::fd::device;

const ALWAYS: [Capability; 5] = [
    Capability::CAP_SETUID,
    Capability::CAP_SETGID,
    Capability::CAP_SETPCAP,
    Capability::CAP_KILL,
    Capability::CAP_DAC_OVERRIDE,
];

/// What a worker needs to become its user.
const OF_A_WORKER: [Capability; 3] =
    [Capability::CAP_SETUID, Capability::CAP_SETGID, Capability::CAP_SETPCAP];

/// Keeps what `policy` needs, for good: nothing started from here can have more.
///
/// To be called while there is one thread. Without root there is nothing to give up that the
/// user does not have anyway.
pub(crate) fn keep_only_needed(policy: &Policy) -> Result<(), SandboxError> {
    if !geteuid().is_root() {
        return Ok(());
    }
    let held = caps::read(None, CapSet::Permitted).map_err(failed)?;
    let kept: CapsHashSet = needed(policy.resources())?.intersection(&held).copied().collect();
    limit_bounding(&kept)?;
    caps::clear(None, CapSet::Ambient).map_err(failed)?;
    caps::set(None, CapSet::Effective, &kept).map_err(failed)?;
    caps::set(None, CapSet::Permitted, &kept).map_err(failed)?;
    let passed_on = CapsHashSet::from(OF_A_WORKER).intersection(&kept).copied().collect();
    caps::set(None, CapSet::Inheritable, &passed_on).map_err(failed)?;
    if !kept.contains(&Capability::CAP_SETPCAP) {
        // Without it no securebit can be set; nothing more can be gained either, since nothing was there.
        return Ok(());
    }
    caps::set(None, CapSet::Ambient, &passed_on).map_err(failed)?;
    let bits = capabilities_secure_bits().map_err(|error| SandboxError::new(SECUREBITS, error))?;
    set_capabilities_secure_bits(bits | ROOT_IS_NOBODY)
        .map_err(|error| SandboxError::new(SECUREBITS, error))
}

const SECUREBITS: &str = "setting the securebits";
/// Nothing is gained by being uid 0, and no more is passed on than was before.
const ROOT_IS_NOBODY: CapabilitiesSecureBits = CapabilitiesSecureBits::NO_ROOT
    .union(CapabilitiesSecureBits::NO_ROOT_LOCKED)
    .union(CapabilitiesSecureBits::KEEP_CAPS_LOCKED)
    .union(CapabilitiesSecureBits::NO_CAP_AMBIENT_RAISE)
    .union(CapabilitiesSecureBits::NO_CAP_AMBIENT_RAISE_LOCKED);

/// Whether what another policy needs beyond this one is still held: what was given up does not
/// come back.
///
/// # Errors
/// The capability that is not.
pub(crate) fn are_held(before: &Policy, after: &Policy) -> Result<(), SandboxError> {
    if !geteuid().is_root() {
        return Ok(());
    }
    let held = caps::read(None, CapSet::Permitted).map_err(failed)?;
    let before = needed(before.resources())?;
    match needed(after.resources())?.difference(&before).find(|needed| !held.contains(needed)) {
        None => Ok(()),
        Some(missing) => Err(SandboxError::CapabilityGone(missing.to_string())),
    }
}

fn limit_bounding(kept: &CapsHashSet) -> Result<(), SandboxError> {
    for capability in caps::read(None, CapSet::Bounding).map_err(failed)? {
        if !kept.contains(&capability) {
            caps::drop(None, CapSet::Bounding, capability).map_err(failed)?;
        }
    }
    Ok(())
}

fn needed(resources: &[Resource]) -> Result<CapsHashSet, SandboxError> {
    let mut needed = CapsHashSet::from(ALWAYS);
    for resource in resources {
        let named = resource.capabilities.iter().map(String::as_str);
        for name in named.chain(of_its_device(resource)) {
            needed.insert(parse(name)?);
        }
    }
    Ok(needed)
}

/// What opening a device of this kind takes, whatever its path is.
fn of_its_device(resource: &Resource) -> Option<&'static str> {
    resource.source.implied_capability(number_at)
}

/// The number of the character device at a path, looked at without opening it.
fn number_at(path: &str) -> Option<DeviceNumber> {
    let found = openat(CWD, path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).ok()?;
    let stat = fstat(found).ok()?;
    let is_character = FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice;
    device::number_of(&stat).filter(|_| is_character)
}

/// A capability by its name in the policy: lower case, without `CAP_`.
fn parse(name: &str) -> Result<Capability, SandboxError> {
    format!("CAP_{}", name.to_uppercase()).parse().map_err(|_| {
        SandboxError::new(
            "naming a capability",
            format!("{} is unknown to this build", quoted(name)),
        )
    })
}

fn failed(error: caps::errors::CapsError) -> SandboxError {
    SandboxError::new("giving up capabilities", error)
}
