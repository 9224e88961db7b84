//! A server that does nothing but answer, in the same group as the broker: what its answers take as well is not the
//! broker's time but the machine's.

use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, poll};

/// As long as a GET, and its answer's head.
const LENGTH: usize = 8;
/// How often a connection asks in the time of a connection of the broker's.
const OFTEN: u32 = 4;

/// Where it listens, beside the broker's socket.
fn place(socket: &Path) -> PathBuf {
    socket.with_extension("bare")
}

/// Answers on one thread, as the broker does, until it is killed.
pub fn serve(socket: &Path) {
    let listener = UnixListener::bind(place(socket)).expect("the place is free");
    let all = std::fs::Permissions::from_mode(0o666);
    std::fs::set_permissions(place(socket), all).expect("it is ours");
    println!("ready");
    let mut peers: Vec<UnixStream> = Vec::new();
    loop {
        let mut polled = vec![PollFd::new(&listener, PollFlags::IN)];
        polled.extend(peers.iter().map(|peer| PollFd::new(peer, PollFlags::IN)));
        // Interrupted, it is as if nothing were ready.
        let _ = poll(&mut polled, None);
        let ready: Vec<bool> = polled.iter().map(|one| !one.revents().is_empty()).collect();
        let mut others = ready[1..].iter();
        peers.retain_mut(|peer| !others.next().is_some_and(|ready| *ready) || is_answered(peer));
        if ready[0] {
            peers.extend(listener.accept().map(|(peer, _)| peer));
        }
    }
}

fn is_answered(peer: &mut UnixStream) -> bool {
    let mut asked = [0; LENGTH];
    peer.read_exact(&mut asked).and_then(|()| peer.write_all(&asked)).is_ok()
}

/// Asks by the clock while the user does, and tells how long each answer took, in microseconds. Returns where no
/// such server is.
pub(super) fn ask_for_ever(
    socket: &Path,
    every: Duration,
    asks: &AtomicBool,
    mut tell: impl FnMut(u32),
) -> Option<()> {
    let mut server = UnixStream::connect(place(socket)).ok()?;
    let mut due = Instant::now();
    loop {
        due = (due + every / OFTEN).max(Instant::now());
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        if !asks.load(Ordering::SeqCst) {
            continue;
        }
        let mut answer = [0; LENGTH];
        server.write_all(&answer).and_then(|()| server.read_exact(&mut answer)).ok()?;
        let took = u32::try_from(due.elapsed().as_micros()).unwrap_or(u32::MAX);
        tell(took);
    }
}
