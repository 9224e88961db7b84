//! The library for C: a program of the escrow interface, linked with the shared and with the static
//! library, on a real daemon, and with nobody listening at all.

use std::ffi::OsStr;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Output, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

use fdbroker_tests::binaries::{binaries, escrow_library};
use fdbroker_tests::daemon::TRIER;
use fdbroker_tests::{Daemon, Directory, Ids, is_root, process, sample, skip, sys, wait_until};
use nix::sys::socket::{getsockopt, sockopt::PeerCredentials};
use rustix::process::Signal;

const FUNCTIONS: [&str; 6] =
    ["escrow_add", "escrow_del", "escrow_fini", "escrow_get", "escrow_init", "escrow_tag"];
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
fn there_is(tool: &str, what: &str) -> bool {
    let found = Command::new(tool).arg("--version").stdout(Stdio::null()).status().is_ok();
    if !found {
        skip(what, &format!("there is no {tool}"));
    }
    found
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
    for task in ["round", "errors"] {
        clean(valgrind(&[task]).arg(daemon.socket()).arg("1"));
    }
    if let Some(place) = Place::new(what) {
        let mut command = valgrind(&["init"]);
        command.arg(place.socket()).args([CREAT.to_string(), "1".to_owned()]);
        assert_eq!(clean(place.prepare(&mut command)), "0\n");
    }
}

fn valgrind(words: &[&str]) -> Command {
    let mut command = Command::new("valgrind");
    command.args(["--error-exitcode=99", "--leak-check=full", "--show-leak-kinds=all"]);
    command.args([
        "--errors-for-leak-kinds=all",
        "--track-fds=yes",
        "--child-silent-after-fork=yes",
    ]);
    command.arg(&installed().shared).args(words);
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

fn defined(options: &[&str], file: &Path) -> Vec<String> {
    let said = succeed(Command::new("nm").args(options).arg("--defined-only").arg(file));
    let words = said.lines().filter_map(|line| line.rsplit_once(' '));
    words.map(|(_, name)| name.to_owned()).collect()
}

#[test]
fn the_libraries_show_the_functions_of_the_header_and_nothing_else() {
    if !there_is("nm", "what the C libraries export") {
        return;
    }
    let lib = installed().prefix.join("lib");
    assert_eq!(defined(&["--dynamic"], &lib.join("libescrow.so")), FUNCTIONS);
    assert_eq!(defined(&["--extern-only"], &lib.join("libescrow.a")), FUNCTIONS);
    // The archive as cargo makes it has Rust's own beside them, but no other of this name.
    let made = escrow_library().join("libescrow.a");
    let mut ours = defined(&["--extern-only", "--quiet"], &made);
    ours.retain(|name| name.starts_with("escrow"));
    ours.sort();
    assert_eq!(ours, FUNCTIONS);
}

#[test]
fn the_header_has_just_these_functions_and_is_one_for_cpp_too() {
    let header = fs::read_to_string(installed().prefix.join("include/escrow.h")).unwrap();
    for name in FUNCTIONS {
        let declared = header.lines().filter(|line| line.contains(&format!(" {name}(")));
        assert!(declared.filter(|line| line.ends_with(");")).count() == 1, "{name}");
    }
    let directory = Directory::new();
    let compile = |text: &str| {
        let source = directory.file("t.cpp", text, 0o644);
        let mut command = Command::new("cc");
        command.args([
            "-x",
            "c++",
            "-Wall",
            "-Wextra",
            "-pedantic",
            "-Werror",
            "-fsyntax-only",
            "-I",
        ]);
        command.arg(installed().prefix.join("include")).arg(source).output().unwrap()
    };
    if !compile("int main() { return 0; }").status.success() {
        return skip("the C header in C++", "there is no compiler for C++");
    }
    let output = compile("#include <escrow.h>\nint main() { escrow_fini(nullptr); }");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn pkg_config_says_how_to_build_with_it() {
    if !there_is("pkg-config", "the pkg-config file") {
        return;
    }
    let prefix = &installed().prefix;
    let ask = |options: &[&str]| {
        let mut command = Command::new("pkg-config");
        command.env("PKG_CONFIG_PATH", prefix.join("lib/pkgconfig")).args(options).arg("escrow");
        succeed(&mut command)
    };
    assert_eq!(ask(&["--modversion"]).trim(), env!("CARGO_PKG_VERSION"));
    let directory = Directory::new();
    let built = directory.join("capi");
    let mut command = Command::new("cc");
    command.arg(below("c/capi.c")).arg("-pthread").arg("-o").arg(&built);
    succeed(command.args(ask(&["--cflags", "--libs"]).split_whitespace()));
    let daemon = Daemon::open().start();
    let mut run = Command::new(built);
    run.env("LD_LIBRARY_PATH", prefix.join("lib"));
    succeed(run.arg("errors").arg(daemon.socket()).arg("1"));
}

#[test]
fn it_is_installed_below_another_root_for_a_package() {
    let root = Directory::new();
    let mut install = Command::new("bash");
    install.arg(below("../client/capi/install")).arg("/usr").env("BUILT", escrow_library());
    succeed(install.env("DESTDIR", root.path()));
    assert!(root.join("usr/lib/libescrow.so.0").exists());
    let file = fs::read_to_string(root.join("usr/lib/pkgconfig/escrow.pc")).unwrap();
    assert!(file.starts_with("prefix=/usr\n"), "{file}");
}

/// A directory without a broker, and who is to start one there: not root, who would need an account
/// for the worker. A broker that was started is ended when this is dropped.
struct Place {
    directory: Directory,
}

impl Place {
    /// None where a policy file of this machine would be used.
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

    /// What escrow_init gives.
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
            wait_until("the broker that was started has ended", || !process::runs(pid));
        }
    }
}

#[track_caller]
fn result(command: &mut Command) -> i32 {
    succeed(command).trim().parse().unwrap()
}

#[test]
fn a_broker_is_started_when_nobody_listens_and_the_flags_ask_for_it() {
    let Some(place) = Place::new("a program in C that starts a broker") else { return };
    assert_eq!(place.gives(0), -libc::ENOENT);
    assert_eq!(place.gives(VERBOSE), -libc::ENOENT);
    assert_eq!(place.gives(CREAT), 0);
    let broker = place.broker().expect("it goes on running when the program has ended");
    // Another program finds it there, whatever its flags, and starts none.
    for flags in [CREAT, 0, FORCE, CREAT | FORCE] {
        assert_eq!(place.gives(flags), 0);
        assert_eq!(place.broker(), Some(broker));
    }
}

#[test]
fn the_broker_that_is_started_has_left_the_session_and_holds_nothing_of_the_program() {
    let Some(place) = Place::new("what a broker that was started inherits") else { return };
    assert_eq!(place.gives(CREAT), 0);
    let broker = place.broker().unwrap();
    let session = |pid| process::stat(pid).unwrap()[3].clone();
    assert_ne!(session(broker), session(std::process::id()));
    let links = fs::read_link(format!("/proc/{broker}/cwd"));
    assert_eq!(links.unwrap(), Path::new("/"));
    let own = process::descriptors(broker).expect("/proc shows open descriptors");
    for number in 0..3 {
        assert_eq!(own[&number], "/dev/null");
    }
}

#[test]
fn force_starts_a_broker_in_place_of_a_dead_socket_and_spares_what_is_no_socket() {
    let Some(place) = Place::new("ESCROW_FORCE") else { return };
    drop(UnixListener::bind(place.socket()).unwrap());
    if is_root() {
        std::os::unix::fs::chown(place.socket(), Some(TRIER), Some(TRIER)).unwrap();
    }
    assert_eq!(place.gives(0), -libc::ECONNREFUSED);
    assert_eq!(place.gives(FORCE), 0);

    let other = Place::new("ESCROW_FORCE").unwrap();
    let file = other.directory.file("usock", "precious", 0o666);
    assert_eq!(other.gives(FORCE | CREAT), -libc::ECONNREFUSED);
    assert_eq!(fs::read_to_string(file).unwrap(), "precious");
}

#[test]
fn programs_that_start_a_broker_at_the_same_time_share_one() {
    let Some(place) = Place::new("programs in C that start a broker at once") else { return };
    let spawn = |_| place.init(place.socket(), CREAT, 1).stdout(Stdio::piped()).spawn().unwrap();
    let programs: Vec<Child> = (0..5).map(spawn).collect();
    for program in programs {
        let output = program.wait_with_output().unwrap();
        assert!(output.status.success());
        assert_eq!(output.stdout, b"0\n");
    }
}

#[test]
fn the_environment_names_the_socket_where_the_program_does_not() {
    let Some(place) = Place::new("ESCROW_PATH") else { return };
    assert_eq!(result(place.init("-", CREAT, 1).env("ESCROW_PATH", "usock")), 0);
    assert!(place.broker().is_some(), "the path is relative to where the program is");
    let mut named = place.init("-", 0, 1);
    named.env_remove("ESCROW_PATH").env("FDBROKER_SOCKET", place.socket());
    assert_eq!(result(&mut named), 0);
}

#[test]
fn a_broker_that_cannot_be_started_is_an_error_in_time() {
    let Some(place) = Place::new("brokers that cannot be started") else { return };
    let with = |program: &str| {
        let mut command = place.init(place.socket(), CREAT, 1);
        result(command.env("FDBROKERD", program))
    };
    assert_eq!(with("/nonexistent/fdbrokerd"), -libc::ENOENT);
    assert_eq!(with("/bin/false"), -libc::ENOENT);
    let unreadable = place.directory.file("fdbrokerd", "#!/nonexistent/shell\n", 0o755);
    assert_eq!(with(unreadable.to_str().unwrap()), -libc::ENOENT);
    let mut command = place.init(place.socket(), CREAT | VERBOSE, 1);
    let output = command.env("FDBROKERD", unreadable).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("the broker cannot be started: No such file"), "{said}");
    let hangs = place.directory.file("hangs", "#!/bin/sh\nexec sleep 12\n", 0o755);
    assert_eq!(with(hangs.to_str().unwrap()), -libc::ETIMEDOUT);
    // It would have 32 tags, and what is asked for would be missing only later.
    assert_eq!(result(&mut place.init(place.socket(), CREAT, 33)), -libc::EINVAL);
    assert_eq!(result(&mut place.init(place.socket(), CREAT, -1)), -libc::EINVAL);
    assert_eq!(place.broker(), None);
}

#[test]
fn the_daemon_is_found_in_the_path() {
    let Some(place) = Place::new("fdbrokerd in PATH") else { return };
    let mut command = place.init(place.socket(), CREAT, 32);
    let path = binaries().daemon.parent().unwrap();
    assert_eq!(result(command.env_remove("FDBROKERD").env("PATH", path)), 0);
}

#[test]
fn verbose_says_what_happens_and_silence_is_silent() {
    let daemon = Daemon::open().start();
    let said = |flags: u32| {
        let mut command = Command::new(&installed().shared);
        command.arg("init").arg(daemon.socket()).args([flags.to_string(), "1".to_owned()]);
        // Tag 0 is refused, and so it ends there.
        let output: Output = command.output().unwrap();
        String::from_utf8(output.stderr).unwrap()
    };
    let text = said(VERBOSE);
    assert!(text.contains("escrow: connected to ") && text.contains("add 0/0"), "{text}");
    assert!(!said(0).contains("escrow: "));
}

#[test]
fn a_broker_of_another_user_is_not_trusted() {
    if !fdbroker_tests::needs_root("a C program and the broker of another user") {
        return;
    }
    let Some(builder) = Daemon::built_in("a C program and the broker of another user") else {
        return;
    };
    let daemon = builder.start();
    let mut command = Command::new(&installed().shared);
    command.arg("init").arg(daemon.socket()).args(["0", "1"]);
    assert_eq!(result(&mut command), -libc::EPERM);
}

/// The blocks of docs/c.md that are marked with this word.
fn blocks(mark: &str) -> Vec<String> {
    let page = fs::read_to_string(below("../docs/c.md")).unwrap();
    let opening = format!("```{mark}\n");
    let parts = page.split(&opening).skip(1);
    parts.map(|part| part.split("```").next().unwrap().to_owned()).collect()
}

#[test]
fn the_installation_in_the_documentation_works() {
    let root = Directory::new();
    let mut shell = Command::new("bash");
    // What it builds is built already, in the profile of this test; and nobody becomes root.
    shell.arg("-euc").arg(format!("cargo() {{ :; }}\nsudo() {{ \"$@\"; }}\n{}", blocks("sh")[0]));
    shell.env("BUILT", escrow_library()).env("DESTDIR", root.path()).current_dir(below(".."));
    succeed(&mut shell);
    assert!(root.join("usr/local/include/escrow.h").exists());
}

#[test]
fn the_program_in_the_documentation_prints_what_it_says_there() {
    let what = "the example in docs/c.md";
    if !there_is("pkg-config", what) {
        return;
    }
    let Some(place) = Place::new(what) else { return };
    place.directory.file("keep.c", &blocks("c")[0], 0o644);
    let mut shell = Command::new("bash");
    shell.arg("-euc").arg(&blocks("sh")[1]);
    let lib = installed().prefix.join("lib");
    shell.env("PKG_CONFIG_PATH", lib.join("pkgconfig")).env("LD_LIBRARY_PATH", lib);
    assert_eq!(succeed(place.prepare(&mut shell)), blocks("text")[0]);
    assert_eq!((blocks("c").len(), blocks("sh").len(), blocks("text").len()), (1, 2, 1));
}

#[test]
fn a_program_with_more_rights_than_its_caller_takes_nothing_from_the_environment() {
    let what = "a set-user-ID program in C";
    if !fdbroker_tests::needs_root(what) {
        return;
    }
    let daemon = Daemon::open().start();
    let directory = Directory::new();
    let no_suid = rustix::fs::statvfs(directory.path()).unwrap().f_flag;
    let no_privileges = process::status(std::process::id(), "NoNewPrivs") != "0";
    if no_privileges || no_suid.contains(rustix::fs::StatVfsMountFlags::NOSUID) {
        return skip(what, "nothing is set-user-ID here");
    }
    let gives = |mode: u32| {
        let program = directory.join("capi");
        fs::copy(&installed().fixed, &program).unwrap();
        std::os::unix::fs::chown(&program, Some(TRIER), Some(TRIER)).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(mode)).unwrap();
        let mut command = Command::new(program);
        command.args(["steps", "-", "1"]).env("ESCROW_PATH", daemon.socket());
        sys::become_before(&mut command, Ids::plain(TRIER + 1));
        command.stdin(Stdio::null()).output().unwrap()
    };
    assert!(gives(0o755).status.success());
    let output = gives(0o4755);
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains(&format!("found {}", -libc::EINVAL)), "{said}");
}

/// A program that is led through its standard input.
struct Led {
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
}

impl Led {
    fn new(task: &str, socket: &Path) -> Self {
        let mut command = program([task, "1"], socket);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let (input, output) = (child.stdin.take(), child.stdout.take().unwrap());
        Self { child, input, output: BufReader::new(output) }
    }

    #[track_caller]
    fn says(&mut self, expected: &str) {
        let mut line = String::new();
        self.output.read_line(&mut line).unwrap();
        assert_eq!(line.trim_end(), expected);
    }

    fn step(&mut self) {
        self.input.as_mut().unwrap().write_all(b"go on\n").unwrap();
    }

    fn is_silent(&self) -> bool {
        self.output.buffer().is_empty() && !sys::readable(self.output.get_ref(), MEANWHILE)
    }

    #[track_caller]
    fn ends(mut self) {
        drop(self.input.take());
        let mut rest = String::new();
        self.output.read_to_string(&mut rest).unwrap();
        assert_eq!(rest, "");
        let status = self.child.wait().unwrap();
        assert!(status.success(), "{status}");
    }
}

#[test]
fn the_next_program_waits_until_the_one_that_holds_a_serial_tag_has_ended() {
    let daemon = Daemon::with_policy(&sample::serial()).start();
    let mut first = Led::new("turn", daemon.socket());
    first.says("asking");
    first.says("has it");
    let mut second = Led::new("turn", daemon.socket());
    second.says("asking");
    assert!(second.is_silent(), "the first one is still there");
    first.ends();
    second.says("has it");
    second.ends();
}

/// Kills a broker; its worker notices, and is gone when this returns.
fn kill(daemon: &mut Daemon) {
    let worker = daemon.worker_pid();
    daemon.kill();
    wait_until("the worker is gone", || !process::runs(worker));
}

#[test]
fn a_session_outlives_the_worker_and_the_whole_broker() {
    let policy = sample::OPEN;
    let place = Directory::new();
    let socket = place.join("socket");
    let start = || Daemon::with_policy(policy).socket(socket.clone()).start();
    let mut daemon = start();
    let mut program = Led::new("steps", &socket);
    program.says("added");
    daemon.kill_worker();
    program.step();
    program.says("0");
    // The program asks while nobody listens; it is answered by the next broker, whose slots are empty.
    kill(&mut daemon);
    program.step();
    let next = start();
    program.says(&(-libc::ENOENT).to_string());
    // And when none comes back, it is told, and SIGPIPE does not end it.
    daemon = next;
    kill(&mut daemon);
    for _ in 0..2 {
        program.step();
        program.says(&(-libc::ECONNREFUSED).to_string());
    }
    program.ends();
}
