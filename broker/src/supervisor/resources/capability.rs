//! Tells why opening a resource is not permitted: which capability is missing.

use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, openat2};

/// What to do about a permission that was denied: by a filter of system calls, for want of a
/// capability that the policy names, or of one that it does not name.
pub(super) fn permission_cure(capabilities: &[String]) -> String {
    let root = openat2(CWD, "/", OFlags::PATH | OFlags::CLOEXEC, Mode::empty(), RESOLVE_ALL);
    if root.is_err() {
        return FILTERED.to_owned();
    }
    match not_held(capabilities).as_slice() {
        [] => {
            "if opening it takes a capability, name it in the resource's `capabilities`".to_owned()
        }
        missing => NOT_HELD.replace("{}", &missing.join(" ")),
    }
}

/// Returns the capabilities that the policy names for a resource and that this process does not
/// hold, as a unit has them. Without root none is held, and none is missed.
pub(crate) fn not_held(capabilities: &[String]) -> Vec<String> {
    let is_missing = |name: &String| {
        let capability: Result<caps::Capability, _> = name.parse();
        capability.is_ok_and(|it| !caps::has_cap(None, caps::CapSet::Permitted, it).unwrap_or(true))
    };
    if !rustix::process::geteuid().is_root() {
        return Vec::new();
    }
    let names = capabilities.iter();
    names.map(|name| format!("CAP_{}", name.to_uppercase())).filter(is_missing).collect()
}

/// What to do about capabilities that are named and not held.
pub(crate) const NOT_HELD: &str = "the policy names {} for it, but the broker was started without \
it: add it to CapabilityBoundingSet= in a drop-in of its unit, or to the capabilities of the container, and restart the broker";
const FILTERED: &str = "openat2(2) fails even for /: a seccomp filter of a container or service \
manager refuses it; allow openat2 there";
const RESOLVE_ALL: ResolveFlags = ResolveFlags::empty();
