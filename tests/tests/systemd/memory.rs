//! Memory that runs out: the kernel ends the worker, and the supervisor has the deposits.

use std::fs;
use std::path::{Path, PathBuf};

use fdbroker_tests::{process, skip, systemd::ServiceManager, wait_for, wait_until};

const SERVICE: &str = "fdbrokerd.service";
const POLICY: &str = r#"
version = 1

[tags.services]
id = 10

[[rules]]
id = "root keeps things here"
allow = ["add", "get"]
slots = ["services/*"]
user = "root"
"#;

/// A control group of this machine that bounds the memory of processes; removed when dropped, if they
/// have ended.
struct Bounded(PathBuf);

impl Bounded {
    fn new(processes: &[u32]) -> Self {
        let group = Path::new(GROUPS).join(format!("fdbroker-test-{}", processes[0]));
        fs::create_dir(&group).unwrap();
        let group = Self(group);
        for process in processes {
            group.write("cgroup.procs", &process.to_string());
        }
        group
    }

    fn write(&self, file: &str, value: &str) {
        fs::write(self.0.join(file), value).unwrap();
    }

    /// How many processes were ended for want of memory.
    fn killed(&self) -> u32 {
        let said = fs::read_to_string(self.0.join("memory.oom_control")).unwrap();
        let count = said.lines().find_map(|line| line.strip_prefix("oom_kill "));
        count.unwrap().parse().unwrap()
    }
}

impl Drop for Bounded {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir(&self.0) {
            eprintln!("{} is left behind: {error}", self.0.display());
        }
    }
}

const GROUPS: &str = "/sys/fs/cgroup/memory";

#[test]
fn where_memory_runs_out_the_worker_ends_and_the_deposits_stay() {
    let what = "the end of the worker for want of memory";
    if !Path::new(GROUPS).join("memory.limit_in_bytes").exists() {
        return skip(what, "there is no memory controller of version 1 that the test could use");
    }
    let manager = match ServiceManager::boot(POLICY) {
        Ok(manager) => manager,
        Err(reason) => return skip(what, &reason),
    };
    manager.succeed(&["systemctl", "start", SERVICE]);
    let main = manager.property(SERVICE, "MainPID");
    let supervisor = process::named_below(manager.init(), "fdbrokerd");
    let worker = wait_for("there is a worker", || {
        process::workers(supervisor).into_iter().find(|pid| process::runs(*pid))
    });
    let added = manager.run_with("kept", &["fdbroker", "add", "10/0", "--payload", "-"]);
    assert!(added.status.success(), "{added:?}");

    let group = Bounded::new(&[supervisor, worker]);
    group.write("memory.limit_in_bytes", "4M");
    std::thread::scope(|scope| {
        // No longer than it takes: then there is room for another worker.
        let bounded = scope.spawn(|| {
            wait_until("a process is ended", || group.killed() > 0);
            group.write("memory.limit_in_bytes", "-1");
        });
        let payload = "x".repeat(32 << 10);
        let mut failed = Vec::new();
        for index in (1..1500).take_while(|_| !bounded.is_finished()) {
            let slot = format!("10/{index}");
            let added = manager.run_with(&payload, &["fdbroker", "add", &slot, "--payload", "-"]);
            failed.extend((!added.status.success()).then_some(added));
        }
        // The one that was under way when the worker ended.
        assert!(failed.len() <= 1, "{failed:?}");
    });
    assert_eq!(manager.succeed(&["fdbroker", "get", "10/0"]), "kept");
    assert!(!process::runs(worker), "another process was ended");
    assert_eq!(manager.property(SERVICE, "MainPID"), main);
    assert_eq!(manager.property(SERVICE, "NRestarts"), "0");
    manager.end();
}
