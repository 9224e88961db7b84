//! The library for C: a program of the escrow interface, linked with the shared and with the static
//! library, on a real daemon, and with nobody listening at all.

mod built;
mod sessions;
mod starting;

use std::ffi::OsStr;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Output, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use fdbroker_tests::binaries::{binaries, copy_program, escrow_library};
use fdbroker_tests::daemon::TRIER;
use fdbroker_tests::{Daemon, Directory, Ids, fixtures, is_root, process, skip, sys, wait_until};
use nix::sys::socket::{getsockopt, sockopt::PeerCredentials};
use rustix::process::Signal;

const FUNCTIONS: [&str; 7] = [
    "escrow_add",
    "escrow_connection_get",
    "escrow_del",
    "escrow_fini",
    "escrow_get",
    "escrow_init",
    "escrow_tag",
];
const CREAT: u32 = 1;
const VERBOSE: u32 = 2;
const FORCE: u32 = 4;
/// How long something that must not happen is waited for.
const MEANWHILE: Duration = Duration::from_millis(300);

/// The library as it is installed, and the program in two forms.
struct Installed {
    prefix: PathBuf,
    shared: PathBuf,
    fixed: PathBuf,
}

static INSTALLED: OnceLock<Installed> = OnceLock::new();

fn installed() -> &'static Installed {
    INSTALLED.get_or_init(|| {
        let directory = tempfile::Builder::new().prefix("fdbroker-capi-").tempdir().unwrap().keep();
        fs::set_permissions(&directory, fs::Permissions::from_mode(0o755)).unwrap();
        let prefix = directory.join("prefix");
        let mut install = Command::new("bash");
        install.arg(below("../client/capi/install")).arg(&prefix).env("BUILT", escrow_library());
        succeed(install.env_remove("DESTDIR"));
        let [shared, fixed] = ["capi", "capi-static"].map(|name| directory.join(name));
        let source = below("c/capi.c");
        succeed(&mut compiler(&prefix, &source, &shared, &dynamically(&prefix)));
        succeed(&mut compiler(&prefix, &source, &fixed, &statically(&prefix)));
        sys::at_exit(remove);
        Installed { prefix, shared, fixed }
    })
}

extern "C" fn remove() {
    let directory = INSTALLED.get().and_then(|installed| installed.prefix.parent());
    if let Some(directory) = directory
        && let Err(error) = fs::remove_dir_all(directory)
    {
        eprintln!("{} is left behind: {error}", directory.display());
    }
}

fn below(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn dynamically(prefix: &Path) -> Vec<String> {
    let lib = prefix.join("lib").display().to_string();
    vec![format!("-L{lib}"), "-lescrow".to_owned(), format!("-Wl,-rpath,{lib}")]
}

fn statically(prefix: &Path) -> Vec<String> {
    vec![prefix.join("lib/libescrow.a").display().to_string()]
}

fn compiler(prefix: &Path, source: &Path, program: &Path, libraries: &[String]) -> Command {
    let mut command = Command::new(std::env::var_os("CC").unwrap_or_else(|| "cc".into()));
    command.args(["-std=gnu11", "-Wall", "-Wextra", "-Werror", "-O1", "-g", "-pthread", "-I"]);
    command.arg(prefix.join("include")).arg(source).arg("-o").arg(program).args(libraries);
    command
}

/// Builds a program of this directory with the shared library.
pub fn build(source: &str, program: &Path) {
    let prefix = &installed().prefix;
    succeed(&mut compiler(prefix, &below(source), program, &dynamically(prefix)));
}

#[track_caller]
fn succeed(command: &mut Command) -> String {
    let output = command.stdin(Stdio::null()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {}: {said}", output.status);
    String::from_utf8(output.stdout).unwrap()
}

fn program(words: [&str; 2], socket: &Path) -> Command {
    let mut command = Command::new(&installed().shared);
    command.arg(words[0]).arg(socket).arg(words[1]);
    command
}

/// Whether a tool is here; says aloud where it is not.
pub fn there_is(tool: &str, what: &str) -> bool {
    let found = Command::new(tool).arg("--version").stdout(Stdio::null()).status().is_ok();
    if !found {
        skip(what, &format!("there is no {tool}"));
    }
    found
}

/// A directory without a broker, and who is to start one there: not root, who would need an account
/// for the worker. A broker that was started is ended when this is dropped.
struct Place {
    directory: Directory,
}

impl Place {
    /// `None` if a policy file of this machine would be used.
    fn new(what: &str) -> Option<Self> {
        Daemon::built_in(what)?;
        let directory = Directory::new();
        if is_root() {
            directory.give_to(&Ids::plain(TRIER));
        }
        Some(Self { directory })
    }

    fn socket(&self) -> PathBuf {
        self.directory.join("usock")
    }

    /// Has a command run as who may start a broker here.
    fn prepare<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        if is_root() {
            sys::become_before(command, Ids::plain(TRIER));
        }
        command.env("FDBROKERD", &binaries().daemon).current_dir(self.directory.path())
    }

    fn init(&self, path: impl AsRef<OsStr>, flags: u32, tags: i32) -> Command {
        let mut command = Command::new(&installed().shared);
        command.arg("init").arg(path).args([flags.to_string(), tags.to_string()]);
        self.prepare(&mut command);
        command
    }

    /// What escrow_init returns.
    #[track_caller]
    fn gives(&self, flags: u32) -> i32 {
        result(&mut self.init(self.socket(), flags, 1))
    }

    fn broker(&self) -> Option<u32> {
        let stream = UnixStream::connect(self.socket()).ok()?;
        let pid = getsockopt(&stream, PeerCredentials).ok()?.pid();
        u32::try_from(pid).ok().filter(|pid| *pid != std::process::id())
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(pid) = self.broker() {
            process::signal(pid, Signal::TERM);
            wait_until("the broker that was started has ended", || process::has_ended(pid));
        }
    }
}

#[track_caller]
fn result(command: &mut Command) -> i32 {
    succeed(command).trim().parse().unwrap()
}

#[test]
fn a_program_in_c_deposits_and_gets_every_size_with_and_without_a_descriptor() {
    let daemon = Daemon::open().start();
    let before = daemon.descriptors();
    succeed(&mut program(["round", "1"], daemon.socket()));
    daemon.wait_for_descriptors(before);
}

#[test]
fn the_static_library_does_the_same() {
    let daemon = Daemon::open().start();
    succeed(Command::new(&installed().fixed).arg("round").arg(daemon.socket()).arg("1"));
}

#[test]
fn a_program_in_c_is_told_by_a_number_what_went_wrong() {
    let daemon = Daemon::open().start();
    succeed(&mut program(["errors", "1"], daemon.socket()));
}

#[test]
fn valgrind_finds_nothing() {
    let what = "the C library under valgrind";
    if !there_is("valgrind", what) {
        return;
    }
    let daemon = Daemon::open().start();
    for task in ["round", "errors", "forked", "turn", "steps"] {
        clean(valgrind(&[task]).arg(daemon.socket()).arg("1"));
    }
    // A number that is a stranger's by now is left open, and the few bytes that held it with it: here
    // only what is read and written counts.
    clean(memcheck("no").arg("closed").arg(daemon.socket()).arg("1"));
    if let Some(place) = Place::new(what) {
        let mut command = valgrind(&["init"]);
        command.arg(place.socket()).args([CREAT.to_string(), "1".to_owned()]);
        assert_eq!(clean(place.prepare(&mut command)), "0\n");
    }
}

fn valgrind(words: &[&str]) -> Command {
    let mut command = memcheck("full");
    command.args(words);
    command
}

/// The program under memcheck, which looks for memory and descriptors that are left, or does not.
fn memcheck(leaks: &str) -> Command {
    let mut command = Command::new("valgrind");
    command.args(["--error-exitcode=99", "--show-leak-kinds=all", "--errors-for-leak-kinds=all"]);
    command.args(["--child-silent-after-fork=yes"]).arg(format!("--leak-check={leaks}"));
    command.arg(format!("--track-fds={}", if leaks == "full" { "yes" } else { "no" }));
    command.arg(&installed().shared);
    command
}

#[track_caller]
fn clean(command: &mut Command) -> String {
    let output = command.stdin(Stdio::null()).output().unwrap();
    let report = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}: {report}", output.status);
    // What was open when it began is named likewise, with a line that says so behind it.
    let mut lines = report.lines();
    while let Some(line) = lines.next() {
        let inherited = |line: &str| line.contains("<inherited from parent>");
        let left_open = line.contains("Open ") && !line.contains("at exit");
        assert!(!left_open || lines.next().is_some_and(inherited), "left open: {report}");
    }
    String::from_utf8(output.stdout).unwrap()
}
