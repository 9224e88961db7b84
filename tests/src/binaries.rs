//! The programs under test, built as this test was built.
//!
//! Built once in each test process, into the same target directory. So nothing has to be done
//! before `cargo test`, `cargo bench` or `cargo run --example demo`. Root's tests use copies in a
//! directory that every user can reach, because a checkout often lies where only root can.
//!
//! `FDBROKER_TEST_BINARIES=DIR` uses the programs in DIR instead of building any.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

/// Where the programs are.
#[derive(Clone, Debug)]
pub struct Binaries {
    /// The daemon.
    pub daemon: PathBuf,
    /// The command.
    pub command: PathBuf,
    /// The helper that acts as another user.
    pub peer: PathBuf,
    /// The process that hands on what it has.
    pub upgrader: PathBuf,
    /// The many users of [`crate::siege`].
    pub load: PathBuf,
    /// The processes of [`crate::traffic`].
    pub traffic: PathBuf,
}

const NAMES: [&str; 6] = [
    "fdbrokerd",
    "fdbroker",
    "fdbroker-test-peer",
    "fdbroker-test-upgrader",
    "fdbroker-load",
    "fdbroker-test-traffic",
];
const READY_MADE: &str = "FDBROKER_TEST_BINARIES";

/// The programs; built by the first call.
///
/// # Panics
/// When they do not build.
pub fn binaries() -> &'static Binaries {
    static BINARIES: OnceLock<Binaries> = OnceLock::new();
    BINARIES.get_or_init(|| match std::env::var_os(READY_MADE) {
        Some(directory) => in_directory(Path::new(&directory)),
        None => reachable(&built()),
    })
}

fn in_directory(directory: &Path) -> Binaries {
    let [daemon, command, peer, upgrader, load, traffic] = NAMES.map(|name| directory.join(name));
    Binaries { daemon, command, peer, upgrader, load, traffic }
}

/// Builds an example of this package in the profile of this process; returns its path.
pub fn example(name: &str) -> PathBuf {
    if let Some(directory) = std::env::var_os(READY_MADE) {
        return Path::new(&directory).join(name);
    }
    let built = build(&["-p", "fdbroker-tests", "--example", name]);
    built.into_iter().find(|path| path.ends_with(name)).unwrap()
}

/// The path of one of the examples that are for readers; built by the first call.
///
/// # Panics
/// When they do not build, or there is none of this name.
pub fn for_readers(name: &str) -> PathBuf {
    static EXAMPLES: OnceLock<Vec<PathBuf>> = OnceLock::new();
    if let Some(directory) = std::env::var_os(READY_MADE) {
        return Path::new(&directory).join(name);
    }
    let examples = EXAMPLES.get_or_init(|| build(&["-p", "fdbroker-examples", "--examples"]));
    let found = examples.iter().find(|path| path.ends_with(name));
    found.unwrap_or_else(|| panic!("cargo built no {name}: {examples:?}")).clone()
}

/// Builds the library for C, and returns the directory that its two files are in.
pub fn escrow_library() -> PathBuf {
    if let Some(directory) = std::env::var_os(READY_MADE) {
        return directory.into();
    }
    build(&["-p", "fdbroker-capi"]);
    let own = std::env::current_exe().unwrap();
    own.ancestors().nth(2).expect("a program of cargo's lies deep enough").to_owned()
}

fn built() -> [PathBuf; 6] {
    let packages = ["-p", "fdbrokerd", "-p", "fdbroker-cli", "-p", "fdbroker-tests", "--bins"];
    let built = build(&packages);
    NAMES.map(|name| {
        let found = built.iter().find(|path| path.file_name().is_some_and(|file| file == name));
        found.unwrap_or_else(|| panic!("cargo built no {name}: {built:?}")).clone()
    })
}

/// Runs cargo; returns every program that it made or found to be up to date.
fn build(what: &[&str]) -> Vec<PathBuf> {
    let (target, profile) = of_this_process();
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| env!("CARGO").into());
    let output = Command::new(cargo)
        .arg("build")
        .args(what)
        .args(["--quiet", "--message-format", "json-render-diagnostics", "--profile", &profile])
        .arg("--target-dir")
        .arg(target)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .expect("cargo starts");
    assert!(output.status.success(), "the programs under test do not build");
    String::from_utf8_lossy(&output.stdout).lines().filter_map(executable).collect()
}

fn executable(message: &str) -> Option<PathBuf> {
    let message: serde_json::Value = serde_json::from_str(message).ok()?;
    Some(message.get("executable")?.as_str()?.into())
}

/// The target directory and the profile that this process was built with: it is
/// `TARGET/PROFILE/deps/NAME` or `TARGET/PROFILE/examples/NAME`.
fn of_this_process() -> (PathBuf, String) {
    let own = std::env::current_exe().unwrap();
    let directory = own.ancestors().nth(2).expect("a program of cargo's lies deep enough");
    let profile = match directory.file_name().unwrap().to_str().unwrap() {
        "debug" => "dev",
        name => name,
    };
    (directory.parent().unwrap().to_owned(), profile.to_owned())
}

/// Copies the programs to where every user can run them.
fn reachable(built: &[PathBuf; 6]) -> Binaries {
    if !crate::is_root() {
        return in_directory(built[0].parent().unwrap());
    }
    let directory = tempfile::Builder::new().prefix("fdbroker-programs-").tempdir().unwrap().keep();
    fs::set_permissions(&directory, fs::Permissions::from_mode(0o755)).unwrap();
    for (name, program) in NAMES.iter().zip(built) {
        let copy = directory.join(name);
        copy_program(program, &copy);
        fs::set_permissions(&copy, fs::Permissions::from_mode(0o755)).unwrap();
    }
    COPIES.set(directory.clone()).expect("programs are copied once");
    crate::sys::at_exit(remove_copies);
    in_directory(&directory)
}

static COPIES: OnceLock<PathBuf> = OnceLock::new();

extern "C" fn remove_copies() {
    if let Some(directory) = COPIES.get()
        && let Err(error) = fs::remove_dir_all(directory)
    {
        eprintln!("{} is left behind: {error}", directory.display());
    }
}

/// Copies a program to where it is to be run.
///
/// Another process does it. Otherwise a child that some test forks at that moment would have the
/// copy open for writing until it runs something itself, and the copy could not be run (ETXTBSY).
///
/// # Panics
/// When it cannot be copied.
pub fn copy_program(from: &Path, to: &Path) {
    let copied = Command::new("cp").arg(from).arg(to).status().expect("cp(1) starts");
    assert!(copied.success(), "{} is copied to {}", from.display(), to.display());
}
