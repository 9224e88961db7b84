//! When a deletion is answered: after what was deleted has been closed, or soon although it has not.

use std::fmt::Debug;
use std::io;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::os::fd::{AsFd, OwnedFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr as Name, UnixDatagram, UnixListener};

use fdbroker_tests::stuck::HeldPipe;
use fdbroker_tests::{Daemon, Peer, request, sample};

const SLOT: (i16, i32) = (1, 0);
const ROUNDS: usize = 100;

fn daemon() -> Daemon {
    let policy = sample::accepting(
        r#"["tcp-listener", "udp", "unix-listener", "unix-datagram", "pipe", "none"]"#,
    );
    Daemon::with_policy(&policy).start()
}

/// Binds one address again and again. Each socket is deposited and closed here; `leave` has it leave
/// its slot.
#[track_caller]
fn is_free<T: Into<OwnedFd>>(bind: impl Fn() -> io::Result<T>, leave: impl Fn(&mut Peer)) {
    let daemon = daemon();
    let mut peer = daemon.connect();
    for round in 0..ROUNDS {
        let bound = bind().map(Into::into);
        let socket = bound.unwrap_or_else(|error| panic!("round {round}: {error}"));
        peer.send(&request::add(SLOT, 3, b""), &[socket.as_fd()]);
        peer.answer().done();
        drop(socket);
        leave(&mut peer);
    }
}

/// An address of this process alone: others get a port of 127.0.0.1 that is free for a moment.
fn own_address() -> SocketAddr {
    let [_, high, middle, low] = std::process::id().to_be_bytes();
    SocketAddr::from(([127, high.max(1), middle, low], 0))
}

fn addresses_are_free(leave: impl Fn(&mut Peer) + Copy) {
    let tcp = TcpListener::bind(own_address()).unwrap().local_addr().unwrap();
    is_free(|| TcpListener::bind(tcp), leave);
    let udp = UdpSocket::bind(own_address()).unwrap().local_addr().unwrap();
    is_free(|| UdpSocket::bind(udp), leave);
    let name = |kind: &dyn Debug| format!("fdbroker-answered-{}-{kind:?}", std::process::id());
    let stream = Name::from_abstract_name(name(&"stream")).unwrap();
    is_free(|| UnixListener::bind_addr(&stream), leave);
    let datagram = Name::from_abstract_name(name(&"datagram")).unwrap();
    is_free(|| UnixDatagram::bind_addr(&datagram), leave);
}

#[test]
fn an_address_is_free_once_its_deletion_is_answered() {
    addresses_are_free(|peer| peer.del(SLOT).done());
}

#[test]
fn an_address_is_free_once_its_replacement_is_answered() {
    addresses_are_free(|peer| peer.add(SLOT, "another").done());
}

#[test]
fn a_deletion_is_answered_although_its_close_sleeps() {
    let daemon = daemon();
    let (mut peer, mut pipe) = (daemon.connect(), HeldPipe::new());
    pipe.give(daemon.worker_pid(), |end| peer.send(&request::add(SLOT, 3, b""), &[end]));
    peer.answer().done();
    peer.del(SLOT).done();
    // The next one too: its owner's closes wait behind the one that sleeps.
    peer.add(SLOT, "x").done();
    peer.del(SLOT).done();
    drop(pipe);
}
