//! What is installed: from the checkout, and as a package.
//!
//! - [`debian`]: the package, under the machine's own systemd, booted in namespaces
//! - [`install`]: `make install` and `make uninstall`

mod debian;
mod install;

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};

use fdbroker_tests::binaries::{binaries, escrow_library};

/// The checkout.
fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

/// Where cargo has put the programs and the C library.
fn built() -> PathBuf {
    binaries();
    escrow_library()
}

/// Held while a package is made: all are made of the same directory.
fn making_a_package() -> MutexGuard<'static, ()> {
    static ONE: Mutex<()> = Mutex::new(());
    ONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Whether a program is on the path.
fn is_there(program: &str) -> bool {
    let found = Command::new("sh").args(["-c", "command -v \"$0\"", program]).output();
    found.is_ok_and(|output| output.status.success())
}

/// Runs something that has to succeed; returns what it printed.
#[track_caller]
fn succeed(command: &mut Command) -> String {
    let output: Output = command.stdin(Stdio::null()).output().expect("it starts");
    assert!(output.status.success(), "{command:?}: {output:?}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}
