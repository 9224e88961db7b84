//! Whether control groups are seen from where the service manager sees them.

use std::fs::read_link;
use std::io::ErrorKind;
use std::path::Path;

use rustix::process::getpid;

use crate::Process;

/// The initial control group namespace, PROC_CGROUP_INIT_INO of the kernel's proc_ns.h.
const INITIAL: &str = "cgroup:[4026531835]";

/// Whether the control group paths that this process reads are those that the service manager
/// assigned.
///
/// In a control group namespace of its own (cgroup_namespaces(7)) they are not. Groups above it
/// cannot be named, and a group below its root looks as if it were at the top, where units are.
/// They are the same again if the service manager, process 1, lives in the same namespace; or if
/// this process is in a unit, as it sees it. Otherwise they are taken to differ.
#[must_use]
pub fn sees_units() -> bool {
    let in_a_unit = || Process::of(getpid()).is_ok_and(|own| own.unit().is_some());
    in_namespace_of_units(Path::new("/proc/self/ns/cgroup"), Path::new("/proc/1/ns/cgroup"))
        || in_a_unit()
}

fn in_namespace_of_units(own: &Path, manager: &Path) -> bool {
    match read_link(own) {
        Ok(own) => {
            own == Path::new(INITIAL) || read_link(manager).is_ok_and(|manager| manager == own)
        }
        // A kernel without these namespaces has no others.
        Err(error) => error.kind() == ErrorKind::NotFound,
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn only_the_initial_namespace_and_that_of_process_1_see_units() {
        let directory = tempfile::tempdir().unwrap();
        let link = |name: &str, target: &str| {
            let path = directory.path().join(name);
            symlink(target, &path).unwrap();
            path
        };
        let (initial, other, same) =
            (link("i", INITIAL), link("o", "cgroup:[7]"), link("s", "cgroup:[7]"));
        let gone = directory.path().join("gone");
        assert!(in_namespace_of_units(&initial, &gone));
        assert!(in_namespace_of_units(&other, &same));
        assert!(!in_namespace_of_units(&other, &initial));
        assert!(!in_namespace_of_units(&other, &gone));
        assert!(in_namespace_of_units(&gone, &gone));
    }
}
