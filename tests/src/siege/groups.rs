//! Shares of the processor as a service manager assigns them: half for services, half for users,
//! and each user the same. Without them the kernel shares between threads, and the user with the
//! most threads gets the most, whatever the broker does.

use std::fs;
use std::path::{Path, PathBuf};

/// Where a controller of the processor's time may be: of version 1, and of version 2.
const CONTROLLERS: [&str; 3] =
    ["/sys/fs/cgroup/cpu", "/sys/fs/cgroup/cpu,cpuacct", "/sys/fs/cgroup"];

/// The control groups of one siege; removed when dropped.
pub(super) struct Groups {
    root: PathBuf,
}

impl Groups {
    /// Makes the group of all. Returns why, if there is none to be had.
    pub(super) fn new() -> Result<Self, String> {
        let controller = CONTROLLERS.iter().map(Path::new).find(|path| shares(path));
        let controller = controller.ok_or("no control group shares the processor here")?;
        let root = controller.join(format!("fdbroker-siege-{}", std::process::id()));
        fs::create_dir(&root).map_err(|error| format!("{}: {error}", root.display()))?;
        let groups = Self { root };
        let halves = [groups.root.clone(), groups.root.join(SERVICES), groups.root.join(USERS)];
        for group in &halves {
            fs::create_dir_all(group).map_err(|error| format!("{}: {error}", group.display()))?;
            // Version 2 has to be told, version 1 knows no such file.
            let _ = fs::write(group.join("cgroup.subtree_control"), "+cpu");
        }
        Ok(groups)
    }

    /// Puts a process of a service, with all its threads, into its group among the services.
    ///
    /// # Panics
    /// As [`Groups::add_to_user`].
    pub(super) fn add_to_services(&self, name: &str, pid: u32) {
        put(&self.root.join(SERVICES).join(name), pid);
    }

    /// Puts a process, with all its threads, into its user's group.
    ///
    /// # Panics
    /// When it cannot be moved.
    pub(super) fn add_to_user(&self, user: u32, pid: u32) {
        put(&self.root.join(USERS).join(user.to_string()), pid);
    }
}

const SERVICES: &str = "services";
const USERS: &str = "users";

fn put(group: &Path, pid: u32) {
    let moved = fs::create_dir_all(group)
        .and_then(|()| fs::write(group.join("cgroup.procs"), pid.to_string()));
    moved.unwrap_or_else(|error| panic!("process {pid} to {}: {error}", group.display()));
}

/// Whether groups below this one have shares.
fn shares(controller: &Path) -> bool {
    let enabled = fs::read_to_string(controller.join("cgroup.subtree_control"));
    // Only version 1 has this file at its root.
    controller.join("cpu.cfs_quota_us").exists()
        || enabled.is_ok_and(|enabled| enabled.split_whitespace().any(|name| name == "cpu"))
}

impl Drop for Groups {
    /// A group that still has a process stays.
    fn drop(&mut self) {
        for half in [SERVICES, USERS].map(|half| self.root.join(half)) {
            let inner = fs::read_dir(&half).into_iter().flatten().flatten();
            inner.filter(|entry| entry.path().is_dir()).for_each(|group| {
                let _ = fs::remove_dir(group.path());
            });
            let _ = fs::remove_dir(half);
        }
        let _ = fs::remove_dir(&self.root);
    }
}
