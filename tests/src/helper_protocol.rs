//! What a test tells the helper process that acts as somebody else, and what it answers.
//!
//! One question, one answer, over a stream socket that is the helper's standard input: a length,
//! a JSON text, and descriptors with the first byte. The helper does what it is told and nothing
//! else; it trusts the test completely.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::hostile::Attack;
use crate::{Ids, sys};

/// What the helper is to do. Descriptors that it keeps are called by the number it gave.
#[derive(Debug, Serialize, Deserialize)]
pub enum Task {
    /// Become another user.
    Become(Ids),
    /// Connect a stream socket, maybe bound to a path of its own before.
    Connect { path: PathBuf, bound: Option<PathBuf> },
    /// Keep the descriptor that comes with this.
    Keep,
    /// Send one message, with the descriptors that come with this.
    Send { on: usize, bytes: Vec<u8> },
    /// Receive once.
    Receive { on: usize, room: usize },
    /// Whether something can be read within some milliseconds.
    Readable { on: usize, within: u64 },
    /// Whether the other end hangs up within some milliseconds.
    HangsUp { on: usize, within: u64 },
    /// Write to a kept descriptor.
    Write { on: usize, bytes: Vec<u8> },
    /// Read from a kept descriptor, once.
    Read { on: usize, room: usize },
    /// Close a kept descriptor.
    Close { on: usize },
    /// Give a duplicate of a kept descriptor.
    Share { on: usize },
    /// Open a path.
    Open { path: PathBuf, write: bool },
    /// Set how many descriptors another process may have.
    LimitDescriptors { pid: u32, soft: u64 },
    /// Attack a broker until something else is to be done, or for so many milliseconds at most. Answered
    /// when the attack has begun.
    Attack { path: PathBuf, attack: Attack, connections: usize, time: u64 },
    /// End the attack; answers how many connections or answers there were.
    EndAttack,
    /// Ask on a kept socket so often, with so many microseconds in between; answers how long each
    /// took.
    Measure { on: usize, bytes: Vec<u8>, number: usize, pause: u64 },
    /// Start another helper, with exactly this process id, on the descriptor that comes with this.
    StartWithPid { pid: u32, program: PathBuf },
}

/// The result.
#[derive(Debug, Serialize, Deserialize)]
pub enum Outcome {
    /// The system said no.
    Failed { errno: i32 },
    /// Done; a number where the task has one to give, bytes likewise. Descriptors come along.
    Done { number: u64, bytes: Vec<u8> },
}

impl Outcome {
    /// Done, with nothing to say.
    pub fn nothing() -> Self {
        Self::number(0)
    }

    /// Done, with a number.
    pub fn number(number: u64) -> Self {
        Self::Done { number, bytes: Vec::new() }
    }

    /// Done, with bytes.
    pub fn bytes(bytes: Vec<u8>) -> Self {
        Self::Done { number: 0, bytes }
    }

    /// What an error says.
    pub fn failed(error: &io::Error) -> Self {
        Self::Failed { errno: error.raw_os_error().unwrap_or(libc::EIO) }
    }
}

/// Sends a task or an outcome.
pub fn tell(
    socket: impl AsFd,
    message: &impl Serialize,
    descriptors: &[BorrowedFd<'_>],
) -> io::Result<()> {
    let text = serde_json::to_vec(message)?;
    let length = u32::try_from(text.len()).map_err(io::Error::other)?;
    sys::send_all(socket, &[&length.to_ne_bytes(), text.as_slice()].concat(), descriptors)
}

/// Receives a task or an outcome; none at the end of the stream.
pub fn hear<T: DeserializeOwned>(socket: impl AsFd) -> io::Result<Option<(T, Vec<OwnedFd>)>> {
    let mut descriptors = Vec::new();
    let Some(length) = exactly(socket.as_fd(), 4, &mut descriptors)? else { return Ok(None) };
    let length = u32::from_ne_bytes(length.try_into().expect("four bytes were asked for"));
    let text = exactly(socket.as_fd(), length as usize, &mut descriptors)?;
    let text = text.ok_or(io::ErrorKind::UnexpectedEof)?;
    Ok(Some((serde_json::from_slice(&text)?, descriptors)))
}

fn exactly(
    socket: BorrowedFd<'_>,
    length: usize,
    descriptors: &mut Vec<OwnedFd>,
) -> io::Result<Option<Vec<u8>>> {
    let mut bytes = Vec::new();
    while bytes.len() < length {
        let received = sys::receive(socket, length - bytes.len())?;
        if received.bytes.is_empty() {
            return Ok(None);
        }
        bytes.extend(received.bytes);
        descriptors.extend(received.descriptors);
    }
    Ok(Some(bytes))
}
