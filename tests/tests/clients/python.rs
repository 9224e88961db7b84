//! The client for Python: its own tests, on real brokers and on ones that mean no good; its types;
//! and what its documentation shows.

use std::io::Write;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use fdbroker_tests::binaries::binaries;
use fdbroker_tests::{Daemon, skip};

/// The port that the documentation shows.
const SHOWN_PORT: &str = "8080";
/// The port of the server that it shows.
const GREETER_PORT: &str = "8081";

/// The oldest Python that it is for, in the words of Python.
const OLDEST: &str = "(3, 9)";

/// What the documentation takes for granted.
const POLICY: &str = r#"
[tags.web]
id = 10

[[rules]]
id = "web to everyone"
allow = ["*"]
slots = ["web/*"]
anyone = true
"#;

fn sources() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../client/python")
}

/// Python, in the directory of the client; `None` if there is none, which is said aloud.
pub fn python(what: &str) -> Option<Command> {
    let check = format!("import sys; sys.exit(sys.version_info < {OLDEST})");
    let found = Command::new("python3").args(["-c", &check]).stderr(Stdio::null()).status();
    if !found.is_ok_and(|status| status.success()) {
        skip(what, &format!("there is no python3 of version {OLDEST} or newer"));
        return None;
    }
    let mut command = Command::new("python3");
    // Nothing is left beside the sources.
    command.env("PYTHONDONTWRITEBYTECODE", "1").env("PYTHONPATH", sources());
    command.env_remove("PYTHONWARNINGS").env("PYTHONUTF8", "1").current_dir(sources());
    Some(command)
}

#[track_caller]
fn succeed(command: &mut Command) -> String {
    let Output { status, stdout, stderr } = command.stdin(Stdio::null()).output().unwrap();
    let [stdout, stderr] = [stdout, stderr].map(|said| String::from_utf8_lossy(&said).into_owned());
    assert!(status.success(), "{command:?}: {status}\n{stdout}{stderr}");
    stdout + &stderr
}

#[test]
fn the_tests_of_the_python_client_pass() {
    let Some(mut python) = python("the client for Python") else { return };
    python.args(["-W", "error::ResourceWarning", "-m", "unittest", "test_fdbroker"]);
    let said = succeed(python.env("FDBROKERD", &binaries().daemon));
    let count = said.lines().find_map(|line| line.strip_prefix("Ran ")?.split(' ').next());
    assert!(count.is_some_and(|count| count.parse::<u32>().unwrap() > 30), "{said}");
}

#[test]
fn the_python_client_is_one_for_the_oldest_python_and_has_types_everywhere() {
    let Some(mut python) = python("the syntax of the Python client") else { return };
    let check = r#"
import ast, sys
for name in sys.argv[2:]:
    tree = ast.parse(open(name).read(), name, feature_version=eval(sys.argv[1]))
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef):
            arguments = node.args.posonlyargs + node.args.args + node.args.kwonlyargs
            bare = [a.arg for a in arguments if not a.annotation and a.arg != "self"]
            assert not bare and node.returns, f"{name}:{node.lineno}: {node.name} lacks types {bare}"
    compile(tree, name, "exec")
"#;
    succeed(python.args(["-c", check, OLDEST, "fdbroker.py", "test_fdbroker.py"]));
}

#[test]
fn the_types_of_the_python_client_hold() {
    let what = "the types of the Python client";
    if python(what).is_none() {
        return;
    }
    let Some(mut check) = mypy() else { return skip(what, "there is no mypy") };
    check.args(["--strict", "--cache-dir=/dev/null"]);
    succeed(check.args(["fdbroker.py", "test_fdbroker.py"]));
}

/// The checker, as a module of this Python or as the command that a distribution has.
fn mypy() -> Option<Command> {
    let words: [&[&str]; 2] = [&["python3", "-m", "mypy"], &["mypy"]];
    let checker = |words: &[&str]| {
        let mut checker = Command::new(words[0]);
        checker.args(&words[1..]).current_dir(sources());
        checker
    };
    let works = |words: &&[&str]| {
        let found = checker(words).arg("--version").stderr(Stdio::null()).output();
        found.is_ok_and(|output| output.status.success())
    };
    words.into_iter().find(works).map(checker)
}

/// The blocks of docs/python.md, with their marks.
fn blocks() -> Vec<(String, String)> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/python.md");
    let page = std::fs::read_to_string(path).unwrap();
    let parts: Vec<&str> = page.split("\n```").collect();
    // Every other one is between two fences.
    let inside = parts.iter().skip(1).step_by(2).map(|part| part.split_once('\n').unwrap());
    inside.map(|(mark, block)| (mark.to_owned(), block.to_owned() + "\n")).collect()
}

#[test]
fn the_examples_of_the_documentation_print_what_it_says_there() {
    let what = "the examples in docs/python.md";
    if python(what).is_none() {
        return;
    }
    let greeter = TcpListener::bind("127.0.0.1:0").unwrap();
    let greeter_port = greeter.local_addr().unwrap().port().to_string();
    std::thread::spawn(move || {
        greeter.incoming().for_each(|stream| stream.unwrap().write_all(b"welcome\n").unwrap());
    });
    let resource = format!(
        "[tags.servers]\nid = 12\n\
         [resources.greeter]\nslot = \"servers/0\"\nconnect = \"tcp:127.0.0.1:{greeter_port}\"\n\
         [[rules]]\nid = \"the greeter\"\nallow = [\"get\"]\nslots = [\"greeter\"]\nanyone = true\n"
    );
    let daemon = Daemon::with_policy(&format!("{POLICY}{resource}")).start();
    let run = |example: &str| {
        let mut python = python(what).unwrap();
        python.env("FDBROKER_SOCKET", daemon.socket());
        succeed(python.args(["-W", "error", "-c", example]))
    };
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port().to_string();
    drop(listener);
    let blocks = blocks();
    assert_eq!(blocks.len(), 8);
    for pair in blocks.chunks(2) {
        let [(one, example), (other, expected)] = pair else { panic!("a block without output") };
        assert_eq!([one.as_str(), other.as_str()], ["python", "text"]);
        let [example, expected] = [example, expected]
            .map(|text| text.replace(SHOWN_PORT, &port).replace(GREETER_PORT, &greeter_port));
        // The first one is shown to be started twice.
        let times = if expected.contains("start 2") { 2 } else { 1 };
        let said: String = (0..times).map(|_| run(&example)).collect();
        assert_eq!(said, expected);
    }
}
