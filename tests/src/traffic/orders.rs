//! What the processes are told, a word in each line, and what they answer, an object in each line.

use std::io::{self, Write};

use serde::{Deserialize, Serialize};

use super::stream::Position;

/// How far connections are: of the service, of the clients.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Positions {
    /// By their numbers.
    pub positions: Vec<Position>,
    /// What went wrong.
    pub failures: Vec<String>,
}

/// A deposit of the service, as the broker returns it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deposited {
    /// The number by which the kernel knows the socket (SO_COOKIE).
    pub cookie: u64,
    /// Its payload.
    pub payload: String,
}

/// All of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checked {
    /// By the numbers of their connections.
    pub deposits: Vec<Deposited>,
    /// What is not as it was left.
    pub failures: Vec<String>,
}

/// Answers.
pub fn answer(answer: &impl Serialize) {
    let line = serde_json::to_string(answer).expect("it can be written");
    let mut output = io::stdout().lock();
    writeln!(output, "{line}").and_then(|()| output.flush()).expect("the test listens");
}

/// The next order, if the test has not gone.
pub fn next() -> Option<String> {
    let mut line = String::new();
    io::stdin().read_line(&mut line).expect("the test speaks");
    (!line.is_empty()).then(|| line.trim_end().to_owned())
}
