//! Ports that belong to one test: no other takes them, and the kernel hands them to nobody who names none.
//!
//! A port that was free a moment ago is not enough. A connection to it can meet itself (both ends have that port), or
//! another server, while the one that is waited for cannot start.

use std::fs;
use std::net::TcpListener;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::sync::Mutex;

/// The first of them; system services are below.
const FIRST: u16 = 20_000;
/// Where the kernel's own begin by default.
const KERNELS: u16 = 32_768;

/// What says to other processes that a port is taken, until this one ends.
static TAKEN: Mutex<Vec<UnixListener>> = Mutex::new(Vec::new());

/// A port on 127.0.0.1 that is this process's until it ends, and that nobody listens on.
///
/// # Panics
/// When all are taken.
pub fn own_port() -> u16 {
    let mut taken = TAKEN.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    let (port, mark) = (FIRST..kernels_first())
        .find_map(|port| Some((port, mark(port)?)).filter(|_| is_free(port)))
        .expect("a port is free");
    taken.push(mark);
    port
}

/// A name that only one process can have at a time; `None` if another has it, or this one.
fn mark(port: u16) -> Option<UnixListener> {
    let name = SocketAddr::from_abstract_name(format!("fdbroker-test-port-{port}")).ok()?;
    UnixListener::bind_addr(&name).ok()
}

fn is_free(port: u16) -> bool {
    TcpListener::bind(("127.0.0.1", port)).is_ok()
}

/// The first port that the kernel picks by itself.
fn kernels_first() -> u16 {
    let range = fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").unwrap_or_default();
    let first = range.split_whitespace().next().and_then(|first| first.parse().ok());
    first.filter(|first| *first > FIRST).unwrap_or(KERNELS)
}
