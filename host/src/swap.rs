//! Whether memory of this process can be written to swap.

use std::fs::read_to_string;
use std::path::Path;

/// Where the files of the system are.
struct Places<'a> {
    swaps: &'a Path,
    own_group: &'a Path,
    groups: &'a Path,
}

/// Whether this machine has swap that this process may use, as far as can be seen.
///
/// It may not where its control group, or one above it, has a `memory.swap.max` of 0, as `MemorySwapMax=0` of a unit
/// says. What cannot be seen counts as swap.
#[must_use]
pub fn can_be_swapped() -> bool {
    Places {
        swaps: Path::new("/proc/swaps"),
        own_group: Path::new("/proc/self/cgroup"),
        groups: Path::new("/sys/fs/cgroup"),
    }
    .allow()
}

impl Places<'_> {
    fn allow(&self) -> bool {
        self.have_swap() && !self.forbid()
    }

    /// Below its heading, the file has a line for each swap.
    fn have_swap(&self) -> bool {
        read_to_string(self.swaps).map_or(true, |swaps| swaps.lines().count() > 1)
    }

    fn forbid(&self) -> bool {
        let own = read_to_string(self.own_group).unwrap_or_default();
        let Some(own) = own.lines().find_map(|line| line.strip_prefix("0::/")) else {
            return false;
        };
        let own = self.groups.join(own);
        let mut groups = own.ancestors().take_while(|group| group.starts_with(self.groups));
        groups.any(|group| {
            read_to_string(group.join("memory.swap.max")).is_ok_and(|most| most.trim() == "0")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A machine with this in /proc/swaps, and a limit in one of the groups `/a/b` and those above it.
    fn allows(swaps: Option<&str>, limit: Option<(&str, &str)>) -> bool {
        let directory = tempfile::tempdir().unwrap();
        let file =
            |name: &str, text: &str| std::fs::write(directory.path().join(name), text).unwrap();
        std::fs::create_dir_all(directory.path().join("groups/a/b")).unwrap();
        swaps.iter().for_each(|text| file("swaps", text));
        file("own", "1:name=systemd:/x\n0::/a/b\n");
        limit
            .iter()
            .for_each(|(group, text)| file(&format!("groups/{group}/memory.swap.max"), text));
        let at = |name: &str| directory.path().join(name);
        Places { swaps: &at("swaps"), own_group: &at("own"), groups: &at("groups") }.allow()
    }

    const NONE: Option<&str> = Some("Filename\tType\n");
    const SOME: Option<&str> = Some("Filename\tType\n/dev/vda2 partition\n");

    #[test]
    fn swap_is_used_unless_there_is_none_or_a_group_has_a_limit_of_nothing() {
        assert!(!allows(NONE, None));
        assert!(allows(SOME, None) && allows(None, None));
        assert!(!allows(SOME, Some(("a/b", "0\n"))) && !allows(None, Some(("a", "0\n"))));
        assert!(allows(SOME, Some(("a/b", "max\n"))) && allows(SOME, Some(("a", "4096\n"))));
    }
}
