//! Why a descriptor that a broker sent did not arrive: this process has no room for it, or a security module of the
//! kernel forbids it. The kernel says the same in both cases (MSG_CTRUNC, see recvmsg(2)).

use std::fs;
use std::path::Path;

use fdbroker_wire::MAX_DESCRIPTORS;
use rustix::process::{Resource, getrlimit};

use crate::{Attempt, Error, Operation};

/// The error of an answer whose descriptors did not all arrive.
pub(crate) fn unreceived(attempt: Attempt) -> Error {
    match withheld_by(free(), sent(&attempt.operation), label().as_deref()) {
        None => Error::NoRoom { attempt },
        Some(module) => Error::Withheld { attempt, module },
    }
}

/// Which module kept a descriptor away; `None` where the table has too little room, which then is the reason.
fn withheld_by(free: usize, sent: usize, label: Option<&str>) -> Option<&'static str> {
    (free >= sent).then(|| label.map_or(ANY, module))
}

const ANY: &str = "a security module (AppArmor, SELinux)";

/// Whose label it is.
fn module(label: &str) -> &'static str {
    let modes = ["unconfined", " (enforce)", " (complain)", " (kill)", " (mixed)"];
    if modes.iter().any(|mode| label.ends_with(mode)) {
        return "AppArmor";
    }
    match label.split(':').count() {
        4.. => "SELinux",
        _ => ANY,
    }
}

/// The most descriptors that an answer can bring.
fn sent(operation: &Operation) -> usize {
    match operation {
        Operation::GetMany(_) | Operation::TakeMany(_) => MAX_DESCRIPTORS,
        _ => 1,
    }
}

/// Returns how many entries of our descriptor table are free; 0 if the open ones cannot be listed.
fn free() -> usize {
    let limit = getrlimit(Resource::Nofile).current;
    let limit = limit.and_then(|limit| usize::try_from(limit).ok()).unwrap_or(usize::MAX);
    let Ok(open) = fs::read_dir("/proc/self/fd") else { return 0 };
    let numbers = open.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<usize>().ok());
    // The directory's own descriptor is closed again.
    let used = numbers.filter(|number| *number < limit).count().saturating_sub(1);
    limit.saturating_sub(used)
}

/// What a security module calls this process.
fn label() -> Option<String> {
    let label = fs::read_to_string(Path::new("/proc/self/attr/current")).ok()?;
    Some(label.trim_end_matches(['\n', '\0']).to_owned()).filter(|label| !label.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_table_is_the_reason_before_any_module() {
        assert_eq!(withheld_by(0, 1, Some("docker-default (enforce)")), None);
        assert_eq!(withheld_by(252, 253, None), None);
    }

    #[test]
    fn with_room_it_was_a_security_module_and_it_is_named() {
        assert_eq!(withheld_by(1, 1, Some("docker-default (enforce)")), Some("AppArmor"));
        assert_eq!(withheld_by(9, 1, Some(":ns://a:b:c:d (complain)")), Some("AppArmor"));
        assert_eq!(withheld_by(9, 1, Some("unconfined")), Some("AppArmor"));
        let selinux = "system_u:system_r:container_t:s0:c1,c2";
        assert_eq!(withheld_by(9, 1, Some(selinux)), Some("SELinux"));
        assert_eq!(withheld_by(253, 253, None), Some(ANY));
        assert_eq!(withheld_by(9, 1, Some("_")), Some(ANY));
    }

    #[test]
    fn free_entries_are_counted_below_the_limit() {
        let before = free();
        let held: Vec<_> = (0..5).map(|_| std::fs::File::open("/dev/null").unwrap()).collect();
        // Other tests of this process open and close some at the same time.
        assert!(free() < before.saturating_add(5), "{before}");
        assert!(before > 100 && held.len() == 5, "{before}");
    }
}
