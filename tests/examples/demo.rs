//! Shows the main job for real: `cargo run --example demo`.
//!
//! As root: an unprivileged user fails to open a restricted device of this machine, gets it
//! through the broker, uses it, and is refused another slot. As anybody else the same with a
//! private file and the policy that holds when there is no policy file. Each step is printed with the audit
//! record that the broker wrote for it. Exits with 1 if a step does not come out as it says.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use fdbroker_tests::{
    Answer, Daemon, Directory, HelperProcess, Line, Peer, WORKER, fixtures, is_root, request,
};

/// Who gets the device; nobody's number on an ordinary machine.
const USER: u32 = 64002;

fn main() -> ExitCode {
    let shown = if is_root() { with_a_device() } else { with_a_private_file() };
    match shown {
        Ok(()) => {
            println!("\nAll steps succeeded.");
            ExitCode::SUCCESS
        }
        Err(problem) => {
            eprintln!("\nThis did not come out as said: {problem}");
            ExitCode::FAILURE
        }
    }
}

type Outcome<T> = Result<T, String>;

fn with_a_device() -> Outcome<()> {
    let (path, bytes) = fixtures::restricted_device()
        .ok_or("no device node of this machine is both there and restricted to root")?;
    let policy = policy(&path);
    println!("The policy, beside the worker's user ({WORKER}):\n{}", indented(&policy));
    let daemon = Daemon::with_policy(&policy).start();
    let helper = HelperProcess::user(USER);

    step(&format!("uid {USER} opens {} by itself", path.display()));
    match helper.open(&path, false) {
        Err(error) if error.kind() == ErrorKind::PermissionDenied => {
            tell("EACCES, as it should be")
        }
        other => return Err(format!("opening gave {other:?}")),
    }

    step(&format!("uid {USER} asks the broker for slot devices/0"));
    let mut peer = helper.connect(&daemon);
    let device = match peer.get((1, 0)) {
        Answer::Deposit { descriptor: Some(device), .. } => device,
        other => return Err(format!("the broker answered {other:?}")),
    };
    tell("it has an open file description of its own");
    record(&daemon)?;

    step(&format!("uid {USER} uses it"));
    let device = helper.keep(device);
    let read = device.read(bytes).map_err(|error| format!("reading gave {error}"))?;
    match bytes {
        0 => tell("it is open; this device gives nothing to read"),
        _ if read.len() == bytes => tell(&format!("read {bytes} bytes: {read:02x?}")),
        _ => return Err(format!("reading gave {read:?}")),
    }

    step(&format!("uid {USER} asks for slot devices/1, which is root's"));
    is_refused(&mut peer, (1, 1))?;
    record(&daemon)
}

fn policy(device: &Path) -> String {
    format!(
        r#"[tags.devices]
id = 1

[resources.device]
slot = "devices/0"
device = {device:?}
access = "read"

[resources.for-root]
slot = "devices/1"
device = "/dev/null"

[[rules]]
id = "uid {USER} may take the device"
allow = ["get"]
slots = ["device"]
user = {USER}

[[rules]]
id = "root may take the other one"
allow = ["get"]
slots = ["for-root"]
user = 0
"#
    )
}

fn with_a_private_file() -> Outcome<()> {
    println!(
        "Not root, so: a private file, and the policy that holds when there is no policy file."
    );
    let builder = Daemon::built_in("the demonstration")
        .ok_or("/etc/fdbroker/policy.toml exists, so the built-in policy does not hold here")?;
    let daemon = builder.start();
    let directory = Directory::new();
    let path: PathBuf = directory.private_file("private", "the content of a private file\n");

    step(&format!("one process opens {} and parks it in slot 3/0", path.display()));
    let file = std::fs::File::open(&path).map_err(|error| error.to_string())?;
    let first = HelperProcess::same();
    let mut peer = first.connect(&daemon);
    match peer.ask(&request::add((3, 0), 7, b"parked"), &[std::os::fd::AsFd::as_fd(&file)]) {
        Answer::Done => tell("parked"),
        other => return Err(format!("the broker answered {other:?}")),
    }
    record(&daemon)?;
    drop((peer, first, file));

    step("the process ends, and the file is removed");
    std::fs::remove_file(&path).map_err(|error| error.to_string())?;
    match std::fs::File::open(&path) {
        Err(error) if error.kind() == ErrorKind::NotFound => tell("nobody can open it any more"),
        other => return Err(format!("opening gave {other:?}")),
    }

    step("another process asks for slot 3/0 and reads it");
    let mut peer = HelperProcess::same().connect(&daemon);
    let Answer::Deposit { descriptor: Some(file), .. } = peer.get((3, 0)) else {
        return Err("the broker did not give it back".to_owned());
    };
    let content = fixtures::content(file);
    if content != "the content of a private file\n" {
        return Err(format!("it reads {content:?}"));
    }
    tell(&format!("it reads {content:?}"));
    record(&daemon)?;

    step("it asks for slot 40/0, of a tag that the policy does not have");
    is_refused(&mut peer, (40, 0))?;
    record(&daemon)
}

fn is_refused(peer: &mut Peer, place: (i16, i32)) -> Outcome<()> {
    match peer.get(place) {
        Answer::Failed(libc::EACCES, text) => {
            tell(&format!("EACCES: {text}"));
            Ok(())
        }
        other => Err(format!("the broker answered {other:?}")),
    }
}

fn step(what: &str) {
    println!("\n* {what}");
}

fn tell(outcome: &str) {
    println!("  → {outcome}");
}

/// Prints the record of the last decision; it was written before the answer.
fn record(daemon: &Daemon) -> Outcome<()> {
    let last = daemon.log().decisions().pop().ok_or("the broker recorded nothing")?;
    let Line { verdict, right, slot, name, uid, gid, pid, rule, reason, .. } = last;
    let rule = rule.map_or_else(|| "no rule".to_owned(), |rule| format!("rule {rule:?}"));
    println!(
        "  audit: {verdict} {right} {slot} ({name}) to uid {uid} gid {gid} pid {pid}: {rule}; {reason}"
    );
    Ok(())
}

fn indented(text: &str) -> String {
    text.lines().map(|line| format!("    {line}\n")).collect()
}
