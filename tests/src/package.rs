//! Packages of what is built, and machines to install them in.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use crate::binaries::{binaries, escrow_library};
use crate::systemd::ServiceManager;
use crate::{is_root, skip};

/// The checkout.
pub fn checkout() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

/// Where cargo has put the programs and the C library.
pub fn built() -> PathBuf {
    binaries();
    escrow_library()
}

/// Held while a package is made: all are made of the same directory.
pub fn making_a_package() -> MutexGuard<'static, ()> {
    static ONE: Mutex<()> = Mutex::new(());
    ONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Whether a program is on the path.
pub fn is_there(program: &str) -> bool {
    let found = Command::new("sh").args(["-c", "command -v \"$0\"", program]).output();
    found.is_ok_and(|output| output.status.success())
}

/// Runs something that has to succeed; returns what it printed.
#[track_caller]
pub fn succeed(command: &mut Command) -> String {
    let output: Output = command.stdin(Stdio::null()).output().expect("it starts");
    assert!(output.status.success(), "{command:?}: {output:?}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// A machine without the broker, and with two Debian packages of this version below /root, the second to upgrade
/// to; says aloud if there can be none.
pub fn machine_with_packages(what: &str) -> Option<ServiceManager> {
    let packages = packages().map_err(|reason| skip(what, &reason)).ok()?;
    let booted = ServiceManager::boot_without_broker();
    let manager = booted.map_err(|reason| skip(what, &reason)).ok()?;
    for (package, name) in packages.iter().zip(["first", "second"]) {
        fs::copy(package, manager.path(&format!("/root/{name}.deb"))).unwrap();
    }
    Some(manager)
}

/// Installs the `first` or the `second`; returns what dpkg said.
#[track_caller]
pub fn install(manager: &ServiceManager, name: &str) -> String {
    let package = format!("/root/{name}.deb");
    let script = format!("dpkg --force-confold -i {package} 2>&1");
    manager.succeed(&["sh", "-c", &script])
}

/// Both packages; built by the first call.
fn packages() -> Result<&'static [PathBuf; 2], String> {
    static PACKAGES: OnceLock<[PathBuf; 2]> = OnceLock::new();
    if !is_root() {
        return Err("only root can install a package".to_owned());
    }
    for tool in ["cargo-deb", "dpkg", "make", "ld", "objcopy"] {
        if !is_there(tool) {
            return Err(format!("there is no {tool}"));
        }
    }
    Ok(PACKAGES.get_or_init(|| ["1", "2"].map(package)))
}

fn package(revision: &str) -> PathBuf {
    let built = built();
    let _alone = making_a_package();
    let mut make = Command::new("make");
    make.arg("deb")
        .env("BUILT", &built)
        .env("FAST", "1")
        .env("REVISION", revision)
        .env_remove("MAKEFLAGS");
    succeed(make.current_dir(checkout()));
    let end = format!("-{revision}_");
    let files = fs::read_dir(&built).unwrap().map(|entry| entry.unwrap().path());
    let mut packages = files.filter(|path| {
        let name = path.file_name().unwrap().to_string_lossy();
        name.starts_with("fdbroker_") && name.contains(&end) && name.ends_with(".deb")
    });
    packages.next().expect("a package was made")
}
