//! A virtual machine with a kernel of Debian's, for what this machine's kernel does not have.
//!
//! qemu emulates the processor, so that it needs no privilege and no other virtualisation. All that the machine has is
//! in memory: programs of this machine with their libraries, and modules of its kernel. Its first process is a script.

mod archive;
mod files;

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use self::archive::Archive;
use crate::{Directory, skip};

const QEMU: &str = "qemu-system-x86_64";
const BUSYBOX: &str = "/bin/busybox";
/// When the machine is ended in any case, in seconds. It needs some ten.
const TIME: &str = "300";

/// A machine that has not been started.
pub struct VirtualMachine {
    kernel: PathBuf,
    archive: Archive,
}

impl VirtualMachine {
    /// One with busybox, and with the modules of its kernel that lie in these directories.
    ///
    /// Returns `None`, and says so aloud, where the test `what` lacks something for it.
    #[track_caller]
    pub fn new(what: &str, modules: &[&str]) -> Option<Self> {
        let has_qemu = Command::new(QEMU).arg("--version").stdout(Stdio::null()).status().is_ok();
        let Some((kernel, version)) = files::kernel().filter(|_| has_qemu) else {
            skip(
                what,
                "there is no qemu-system-x86_64, or no kernel of Debian's (linux-image-amd64)",
            );
            return None;
        };
        if !PathBuf::from(BUSYBOX).exists() {
            skip(what, "there is no busybox (busybox-static)");
            return None;
        }
        let mut machine = Self { kernel, archive: Archive::default() };
        for directory in ["dev", "proc", "sys", "run", "tmp", "root"] {
            machine.archive.directory(directory);
        }
        machine.program(BUSYBOX);
        let path = PathBuf::from("/lib/modules").join(version);
        for directory in modules {
            files::below(&path.join("kernel").join(directory))
                .iter()
                .for_each(|it| machine.copy(it));
        }
        files::of_modprobe(&path).iter().for_each(|it| machine.copy(it));
        Some(machine)
    }

    /// Adds a program of this machine, with the libraries that it needs, at the same place.
    pub fn program(&mut self, path: &str) {
        let program = fs::canonicalize(path).unwrap();
        self.archive.file(path, &fs::read(&program).unwrap(), 0o755);
        for library in files::libraries(&program) {
            self.copy(&library);
        }
    }

    /// Adds a program that was built here, without what debuggers need, by another name.
    pub fn built(&mut self, program: &std::path::Path, name: &str) {
        let directory = Directory::new();
        let stripped = directory.join("stripped");
        let strip = Command::new("strip").arg("-o").arg(&stripped).arg(program).status();
        let program = if strip.is_ok_and(|status| status.success()) { &stripped } else { program };
        self.archive.file(name, &fs::read(program).unwrap(), 0o755);
        for library in files::libraries(program) {
            self.copy(&library);
        }
    }

    /// Adds a file.
    pub fn file(&mut self, path: &str, content: impl AsRef<[u8]>, mode: u32) {
        self.archive.file(path, content.as_ref(), mode);
    }

    fn copy(&mut self, path: &std::path::Path) {
        let content = fs::read(path).unwrap();
        let mode = if files::is_executable(path) { 0o755 } else { 0o644 };
        self.archive.file(path.to_str().unwrap(), &content, mode);
    }

    /// Boots it, has a script run by a shell as root, and returns what that wrote.
    ///
    /// # Panics
    /// When the machine does not come to the script's end.
    #[track_caller]
    pub fn run(mut self, script: &str) -> String {
        let init = INIT.replace("SCRIPT", script);
        self.archive.file("init", init.as_bytes(), 0o755);
        let directory = Directory::new();
        let archive = directory.file("initramfs", self.archive.finish(), 0o644);
        let output = Command::new("timeout")
            .args(["--signal=KILL", TIME, QEMU, "-accel", "tcg", "-cpu", "max", "-m", "1024"])
            .args(["-nodefaults", "-display", "none", "-serial", "stdio", "-no-reboot", "-kernel"])
            .arg(&self.kernel)
            .arg("-initrd")
            .arg(&archive)
            .args(["-append", "console=ttyS0 quiet panic=-1"])
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stdout).replace('\r', "");
        let part = said.split_once(BEGIN).and_then(|(_, rest)| rest.rsplit_once(END));
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        part.unwrap_or_else(|| panic!("the machine did not end: {said}{error}")).0.to_owned()
    }
}

const BEGIN: &str = "[the script begins]\n";
const END: &str = "[the script ends]\n";

/// The first process.
const INIT: &str = "#!/bin/busybox sh
/bin/busybox mkdir -p /bin /sbin /usr/bin /usr/sbin
/bin/busybox --install -s
export PATH=/bin:/sbin:/usr/bin:/usr/sbin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs dev /dev
chmod 1777 /tmp
ip link set lo up
echo '[the script begins]'
SCRIPT
echo '[the script ends]'
poweroff -f
";
