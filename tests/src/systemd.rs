//! A service manager of the test's own: this machine's systemd, booted in namespaces.
//!
//! It sees this machine's files with an overlay on top, so that nothing it writes stays. It has
//! processes, mounts, network, devices and cgroups of its own. All of it ends with its init.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use rustix::process::Signal;

use crate::binaries::binaries;
use crate::{Directory, process, wait_for, wait_until};

/// A running service manager; ended when dropped.
#[derive(Debug)]
pub struct ServiceManager {
    outer: Child,
    init: u32,
    directory: Directory,
}

/// What has to be there.
const NEEDED: [&str; 6] = [
    "/lib/systemd/systemd",
    "/usr/bin/unshare",
    "/usr/bin/nsenter",
    "/usr/bin/setpriv",
    "/usr/bin/systemctl",
    "/usr/bin/journalctl",
];

/// Prepares what is mounted, in a mount namespace of its own, boots, and tidies up the cgroups.
/// All mounts go with the last process in that namespace.
const OUTER: &str = r#"
set -eu
root=$1
mount --make-rprivate /
mount -t tmpfs tmpfs "$root"
cd "$root"
mkdir upper work machine cgroups
mount -t cgroup2 cgroup2 cgroups
group=$root/cgroups/fdbroker-test-$$
mkdir "$group"
trap 'find "$group" -depth -type d -exec rmdir {} +' EXIT
mount -t overlay overlay -o "lowerdir=/,upperdir=$root/upper,workdir=$root/work" machine
eval "$7"
sh -c 'echo 0 >"$1/cgroup.procs"; shift; exec "$@"' sh "$group" \
    setpriv --pdeathsig KILL \
    unshare --mount --pid --fork --kill-child --uts --ipc --net --cgroup \
    sh -c "$6" sh "$root/machine" || true
"#;

/// Puts the broker, its units and a policy where an administrator would.
const INSTALL: &str = r#"
install -D -m 755 "$2" machine/usr/local/bin/fdbrokerd
install -D -m 755 "$3" machine/usr/local/bin/fdbroker
install -D -m 644 "$4/fdbrokerd.service" machine/etc/systemd/system/fdbrokerd.service
install -D -m 644 "$4/fdbrokerd.socket" machine/etc/systemd/system/fdbrokerd.socket
install -D -m 644 "$4/fdbroker.sysusers.conf" machine/etc/sysusers.d/fdbroker.conf
install -D -m 644 "$4/fdbroker.tmpfiles.conf" machine/etc/tmpfiles.d/fdbroker.conf
install -D -m 644 "$5" machine/etc/fdbroker/policy.toml
"#;

/// Lets packages start services, which the image of a container can forbid.
const ALLOW_SERVICES: &str = "rm -f machine/usr/sbin/policy-rc.d";

/// Becomes init. Settings of the kernel and the buses are read-only, and there are no devices but
/// those that every program needs.
const INNER: &str = r#"
set -eu
cd "$1"
mount -t proc proc proc
mount --bind proc/sys proc/sys
mount -o remount,bind,ro proc/sys
mount -t sysfs -o ro sysfs sys
mount -t cgroup2 cgroup2 sys/fs/cgroup
mount -t tmpfs tmpfs run
mount -t tmpfs tmpfs tmp
mount -t tmpfs -o mode=755 tmpfs dev
for name in null zero full random urandom tty; do
    touch "dev/$name"
    mount --bind "/dev/$name" "dev/$name"
done
mkdir dev/shm dev/pts
ln -s /proc/self/fd dev/fd
exec chroot . /usr/bin/env -i container=other PATH=/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    /lib/systemd/systemd --system --unit=basic.target
"#;

impl ServiceManager {
    /// Boots one that has the broker installed, with its units of the directory `systemd` and a
    /// policy; nothing of it is started.
    ///
    /// # Errors
    /// Why that cannot be done here.
    pub fn boot(policy: &str) -> Result<Self, String> {
        Self::prepared(policy, INSTALL)
    }

    /// Boots one that has no broker; packages can be installed in it.
    ///
    /// # Errors
    /// Why that cannot be done here.
    pub fn boot_without_broker() -> Result<Self, String> {
        Self::prepared("", ALLOW_SERVICES)
    }

    /// Boots one, after a part of [`OUTER`].
    fn prepared(policy: &str, prepare: &str) -> Result<Self, String> {
        if !crate::is_root() {
            return Err("only root can boot a service manager".to_owned());
        }
        if let Some(missing) = NEEDED.iter().find(|path| !Path::new(path).exists()) {
            return Err(format!("there is no {missing}"));
        }
        let directory = Directory::new();
        let policy = directory.file("policy.toml", policy, 0o644);
        let root = directory.join("root");
        fs::create_dir(&root).unwrap();
        let units = Path::new(env!("CARGO_MANIFEST_DIR")).join("../systemd");
        let mut outer = Command::new("setpriv")
            .args(["--pdeathsig", "KILL", "unshare", "--mount", "sh", "-c", OUTER, "sh"])
            .arg(root)
            .args([&binaries().daemon, &binaries().command, &units, &policy])
            .args([INNER, prepare])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| error.to_string())?;
        let began = wait_for("the service manager begins", || match outer.try_wait().unwrap() {
            Some(status) => Some(Err(status)),
            None => init_below(outer.id()).map(Ok),
        });
        let init = began.map_err(|status| {
            let mut said = String::new();
            // What it said is only an explanation.
            let _ = outer.stderr.take().unwrap().read_to_string(&mut said);
            format!("it does not boot ({status}): {said}")
        })?;
        let manager = Self { outer, init, directory };
        wait_until("the service manager has booted", || {
            let state = manager.run(&["systemctl", "is-system-running"]);
            matches!(text(&state.stdout).trim(), "running" | "degraded")
        });
        Ok(manager)
    }

    /// Runs a program in it, as its root, within a bound.
    pub fn run(&self, command: &[&str]) -> Output {
        self.run_with("", command)
    }

    /// The same, as another user.
    pub fn run_as(&self, uid: u32, command: &[&str]) -> Output {
        let (user, group) = (format!("--reuid={uid}"), format!("--regid={uid}"));
        self.run(&[&["setpriv", &user, &group, "--clear-groups"], command].concat())
    }

    /// The same, as its root, with something on standard input.
    pub fn run_with(&self, input: &str, command: &[&str]) -> Output {
        let mut child = Command::new("timeout")
            .args(["-k", "1", "30", "nsenter", "--all", "--root", "--wd", "--target"])
            .arg(self.init.to_string())
            .arg("--")
            .args(command)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // One that does not read its input says why.
        let _ = std::io::Write::write_all(&mut child.stdin.take().unwrap(), input.as_bytes());
        child.wait_with_output().unwrap()
    }

    /// Runs a program that has to succeed; returns what it printed.
    #[track_caller]
    pub fn succeed(&self, command: &[&str]) -> String {
        let output = self.run(command);
        assert!(output.status.success(), "{command:?}: {output:?}");
        text(&output.stdout)
    }

    /// A property of a unit.
    #[track_caller]
    pub fn property(&self, unit: &str, name: &str) -> String {
        let shown = self.succeed(&["systemctl", "show", "--value", "-p", name, unit]);
        shown.trim().to_owned()
    }

    /// The entries in the journal about a unit, as objects.
    #[track_caller]
    pub fn journal(&self, unit: &str) -> Vec<serde_json::Value> {
        let lines = self.succeed(&["journalctl", "--no-pager", "-o", "json", "-u", unit]);
        lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// The process id of its init.
    pub fn init(&self) -> u32 {
        self.init
    }

    /// Where something in it is found from outside.
    pub fn path(&self, inside: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/root{inside}", self.init))
    }

    /// Ends it, and sees that nothing of it is left.
    #[track_caller]
    pub fn end(mut self) {
        let init = self.init;
        self.kill();
        assert!(!process::runs(init));
        let root = self.directory.join("root");
        let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
        assert!(!mounts.contains(root.to_str().unwrap()), "still mounted: {mounts}");
        fs::remove_dir(&root).expect("nothing was written to this machine");
    }

    fn kill(&mut self) {
        process::signal(self.init, Signal::KILL);
        wait_for("the service manager is gone", || self.outer.try_wait().unwrap());
    }
}

impl Drop for ServiceManager {
    fn drop(&mut self) {
        if self.outer.try_wait().unwrap().is_none() {
            self.kill();
        }
    }
}

/// The init below a process: that which has become systemd.
fn init_below(outer: u32) -> Option<u32> {
    let below = process::children(outer).into_iter().flat_map(process::children);
    below.into_iter().find(|pid| {
        let name = fs::read_to_string(format!("/proc/{pid}/comm"));
        name.is_ok_and(|name| name.trim() == "systemd")
    })
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
