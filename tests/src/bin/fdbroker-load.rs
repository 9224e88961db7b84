//! Many users at once, a quarter of them hostile: tells what the well-behaved see of it, and fails
//! when that is not good enough. For root: each user is a real one.

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use fdbroker_tests::siege::{Siege, attack, bare, busy, honest};

const USAGE: &str = "usage: fdbroker-load [--seconds N] [--connections N] [--users N] [--times N]

  --seconds N      how long the attack lasts (120); before it, half as long is measured without
  --connections N  of all users together (1000)
  --users N        a quarter of them attack (20)
  --times N        how many times the p99 without attack it may be, or that of a bare server beside the
                   attack (3); 0: any";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words[..] {
        ["writer"] => attack::write_for_another(),
        [role, path, connections, every] if !role.starts_with('-') => {
            act(role, Path::new(path), connections, every);
        }
        _ => return measure(&words),
    }
    ExitCode::SUCCESS
}

/// Is one of the users.
fn act(role: &str, path: &Path, connections: &str, every: &str) {
    let connections = connections.parse().expect("a number of connections");
    let every = Duration::from_millis(every.parse().expect("milliseconds"));
    match role {
        "honest" => honest::run(path, connections, every),
        "busy" => busy::run(path, connections),
        "attack" => attack::run(path, connections),
        "bare" => bare::serve(path),
        _ => eprintln!("{USAGE}"),
    }
}

fn measure(words: &[&str]) -> ExitCode {
    let (mut seconds, mut connections, mut users, mut times) = (120, 1000, 20, 3);
    for pair in words.chunks(2) {
        let number = pair.get(1).and_then(|number| number.parse::<u32>().ok());
        match (pair[0], number) {
            ("--seconds", Some(number)) => seconds = number,
            ("--connections", Some(number)) => connections = number,
            ("--users", Some(number)) => users = number,
            ("--times", Some(number)) => times = number,
            _ => {
                eprintln!("{USAGE}");
                return ExitCode::from(2);
            }
        }
    }
    if !fdbroker_tests::is_root() {
        eprintln!("fdbroker-load: only root can become other users");
        return ExitCode::from(2);
    }
    fdbroker_tests::sys::raise_descriptors();
    let attacked = Duration::from_secs(seconds.into());
    let (connections, users) = (connections as usize, users as usize);
    let every = Duration::from_millis(100);
    let hostile = users.div_ceil(4);
    let siege = Siege { connections, users, hostile, attacked, alone: attacked / 2, every };
    let report = siege.run();
    println!("{report}");
    let missed = report.missed((times > 0).then_some(times));
    missed.iter().for_each(|bar| println!("missed: {bar}"));
    if missed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
