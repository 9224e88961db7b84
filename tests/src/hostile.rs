//! What hostile users do to have a broker's time for themselves, and what another user sees of it.
//!
//! Both run in a [`crate::HelperProcess`]'s process, at full speed. An attack goes on until its test says that
//! it is to end: an attack that ends by itself has proved nothing.

use std::fmt;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::time::{Duration, Instant};

use fdbroker_wire::{Extended, opcode};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, recv, send};
use serde::{Deserialize, Serialize};

use crate::socket::connected;
use crate::{fixtures, request, sys};

/// A way to keep a broker busy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Attack {
    /// Connects and leaves.
    ConnectAndClose,
    /// Connects, sends a descriptor and leaves.
    ConnectAndSend,
    /// Connects, sends one byte, which is no request, and leaves.
    ConnectAndBegin,
    /// Connects, waits for an answer and leaves.
    ConnectAndAsk,
    /// GET of a slot.
    Get,
    /// GET_MANY of 253 slots, none of which is another's neighbour.
    GetMany,
    /// LIST.
    List,
    /// FIND of a name that is not there.
    Find,
    /// STATUS.
    Status,
    /// GET, written by another process than the one that connected.
    GetByAnother,
}

/// How long somebody waits who may not connect, before the next try.
const KEPT_OUT: Duration = Duration::from_millis(20);

impl Attack {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::ConnectAndClose,
        Self::ConnectAndAsk,
        Self::Get,
        Self::GetMany,
        Self::List,
        Self::Find,
        Self::Status,
        Self::GetByAnother,
    ];

    /// The request that it repeats.
    pub fn bytes(self) -> Vec<u8> {
        match self {
            Self::ConnectAndClose | Self::ConnectAndSend | Self::ConnectAndBegin => Vec::new(),
            Self::Get | Self::ConnectAndAsk | Self::GetByAnother => request::get((1, 7)),
            Self::GetMany => {
                let indices = (0..253i32).rev().flat_map(|index| (index * 2).to_ne_bytes());
                let body = [1i16.to_ne_bytes(), 0i16.to_ne_bytes()].concat();
                request::extended(
                    opcode::GET_MANY,
                    &body.into_iter().chain(indices).collect::<Vec<_>>(),
                )
            }
            Self::List => {
                use fdbroker_wire::version2::Request;
                let message: Extended<OwnedFd> =
                    Request::List { tag: None, after: None }.into_extended();
                request::extended(message.op, &message.body)
            }
            Self::Find => request::extended(opcode::FIND, b"nothing of this name"),
            Self::Status => request::extended(opcode::STATUS, b""),
        }
    }

    /// Attacks; returns how many connections or answers there were.
    ///
    /// # Errors
    /// When there is no connection at all, or when it has ended before it was told to.
    pub fn run(self, path: &Path, connections: usize, mut course: Course<'_>) -> io::Result<u64> {
        match self {
            Self::ConnectAndClose => connect_and_leave(path, b"", &mut course),
            Self::ConnectAndBegin => connect_and_leave(path, b"\0", &mut course),
            Self::ConnectAndSend => connect_and_send(path, &mut course),
            Self::ConnectAndAsk => connect_and_ask(path, &self.bytes(), &mut course),
            _ => {
                let sockets: Vec<OwnedFd> =
                    (0..connections).map_while(|_| connected(path, None).ok()).collect();
                if sockets.is_empty() {
                    return Err(Errno::CONNREFUSED.into());
                }
                if self == Self::GetByAnother {
                    let within = course.time_left();
                    sys::in_a_child(within, || ask(&sockets, &self.bytes(), &mut course))?;
                } else {
                    ask(&sockets, &self.bytes(), &mut course);
                }
            }
        }
        if course.is_told_to_end() { Ok(course.number) } else { Err(Errno::TIMEDOUT.into()) }
    }
}

/// How far an attack has come, and until when it goes on.
pub struct Course<'a> {
    /// Can be read from as soon as the attack is to end.
    ends: BorrowedFd<'a>,
    /// When it ends by itself.
    until: Instant,
    /// Called when it has begun.
    begun: &'a mut dyn FnMut(),
    number: u64,
}

impl fmt::Debug for Course<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Course").field("number", &self.number).finish_non_exhaustive()
    }
}

impl<'a> Course<'a> {
    /// An attack that calls `begun` when it has had its first effect. It goes on until `ends` can
    /// be read from, or for so long at most.
    pub fn new(ends: BorrowedFd<'a>, at_most: Duration, begun: &'a mut dyn FnMut()) -> Self {
        Self { ends, until: Instant::now() + at_most, begun, number: 0 }
    }

    fn goes_on(&self) -> bool {
        Instant::now() < self.until && !self.is_told_to_end()
    }

    fn is_told_to_end(&self) -> bool {
        sys::readable(self.ends, Duration::ZERO)
    }

    fn time_left(&self) -> Duration {
        self.until.saturating_duration_since(Instant::now())
    }

    /// One more connection or answer; the first behind those before the attack proper says that it has begun.
    fn count(&mut self, before: usize) {
        self.number += 1;
        if self.number == before as u64 + 1 {
            (self.begun)();
        }
    }
}

fn connect_and_leave(path: &Path, bytes: &[u8], course: &mut Course<'_>) {
    while course.goes_on() {
        match connected(path, None) {
            Ok(socket) => {
                if !bytes.is_empty() {
                    // It fails where it has been turned away already.
                    let _ = send(&socket, bytes, SendFlags::NOSIGNAL);
                }
                course.count(0);
            }
            // It is kept out for a while.
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                std::thread::sleep(KEPT_OUT);
            }
            Err(_) => {}
        }
    }
}

fn connect_and_send(path: &Path, course: &mut Course<'_>) {
    let file = fixtures::file_saying("brought");
    while course.goes_on() {
        let Ok(socket) = connected(path, None) else { continue };
        // It fails where it has been turned away already.
        let _ = sys::send_all(&socket, b"x", &[file.as_fd()]);
        course.count(0);
    }
}

fn connect_and_ask(path: &Path, bytes: &[u8], course: &mut Course<'_>) {
    while course.goes_on() {
        let Ok(socket) = connected(path, None) else { continue };
        // Refused is answered too.
        let _ = send(&socket, bytes, SendFlags::NOSIGNAL);
        if sys::readable(&socket, Duration::from_secs(1)) {
            course.count(0);
        }
    }
}

/// Asks on each connection as soon as something has been answered there.
fn ask(sockets: &[OwnedFd], bytes: &[u8], course: &mut Course<'_>) {
    for socket in sockets {
        // One that was refused is left out below.
        let _ = send(socket, &request::hello(), SendFlags::NOSIGNAL);
    }
    let mut open: Vec<&OwnedFd> = sockets.iter().collect();
    let mut room = vec![0; 1 << 17];
    while course.goes_on() && !open.is_empty() {
        let mut asked: Vec<_> = open.iter().map(|one| PollFd::new(*one, PollFlags::IN)).collect();
        let soon = Timespec { tv_sec: 0, tv_nsec: 50_000_000 };
        if poll(&mut asked, Some(&soon)).is_err() {
            continue;
        }
        let ready: Vec<bool> = asked.iter().map(|one| !one.revents().is_empty()).collect();
        let mut ready = ready.into_iter();
        open.retain(|socket| {
            if ready.next() != Some(true) {
                return true;
            }
            // The answers to the greetings come before.
            course.count(sockets.len());
            let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
            let got = recv(socket, room.as_mut_slice(), RecvFlags::DONTWAIT);
            let some = got.is_ok_and(|(_, length)| length > 0);
            some && !send(socket, bytes, flags).is_err_and(|error| error != Errno::AGAIN)
        });
    }
}

/// How long so many requests take, one after the other, each with a pause behind it; in microseconds.
///
/// # Errors
/// When one is not answered in time.
pub fn latencies(
    socket: impl AsFd,
    bytes: &[u8],
    number: usize,
    pause: Duration,
) -> io::Result<Vec<u32>> {
    let mut room = vec![0; 1 << 16];
    let mut took = Vec::with_capacity(number);
    for _ in 0..number {
        let asked = Instant::now();
        send(&socket, bytes, SendFlags::NOSIGNAL)?;
        let (_, length) = recv(&socket, room.as_mut_slice(), RecvFlags::empty())?;
        if length == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        took.push(u32::try_from(asked.elapsed().as_micros()).unwrap_or(u32::MAX));
        std::thread::sleep(pause);
    }
    Ok(took)
}

/// The time within which this part of the requests was answered; sorts them.
///
/// # Panics
/// When there are none.
pub fn percentile(took: &mut [u32], part: f64) -> u32 {
    took.sort_unstable();
    let rank = (took.len() as f64 * part).ceil() as usize;
    took[rank.clamp(1, took.len()) - 1]
}
