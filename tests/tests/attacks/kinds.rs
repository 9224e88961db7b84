//! Descriptors that are more than they seem: a tag takes only what it accepts, and nothing that it
//! takes harms anybody.

use std::fs::{File, OpenOptions};
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::time::{Duration, Instant};

use fdbroker_tests::{Daemon, HelperProcess, Peer, fixtures, skip, sys};
use rustix::fs::OFlags;

const SLOT: (i16, i32) = (1, 5);

/// A descriptor of each kind, by its name in the policy language.
fn every_kind() -> Vec<(&'static str, OwnedFd)> {
    let directory = fdbroker_tests::Directory::new();
    let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
    let connected = TcpStream::connect(tcp.local_addr().unwrap()).unwrap();
    let path = OpenOptions::new().read(true).custom_flags(libc::O_PATH).open("/dev/null").unwrap();
    let own = rustix::process::getpid();
    let epoll = rustix::event::epoll::create(rustix::event::epoll::CreateFlags::CLOEXEC);
    let eventfd = rustix::event::eventfd(0, rustix::event::EventfdFlags::CLOEXEC);
    let inotify = rustix::fs::inotify::init(rustix::fs::inotify::CreateFlags::CLOEXEC);
    let timer = rustix::time::timerfd_create(
        rustix::time::TimerfdClockId::Monotonic,
        rustix::time::TimerfdFlags::CLOEXEC,
    );
    let mut kinds: Vec<(&str, OwnedFd)> = vec![
        ("tcp", connected.into()),
        ("tcp-listener", tcp.into()),
        ("udp", std::net::UdpSocket::bind("127.0.0.1:0").unwrap().into()),
        ("unix", UnixStream::pair().unwrap().0.into()),
        ("unix-listener", UnixListener::bind(directory.join("socket")).unwrap().into()),
        ("unix-datagram", UnixDatagram::pair().unwrap().0.into()),
        ("file", tempfile::tempfile().unwrap().into()),
        ("directory", File::open("/").unwrap().into()),
        ("path", path.into()),
        ("pipe", rustix::pipe::pipe().unwrap().0),
        ("char-device", File::open("/dev/null").unwrap().into()),
        ("epoll", epoll.unwrap()),
        ("eventfd", eventfd.unwrap()),
        ("timerfd", timer.unwrap()),
        ("signalfd", sys::signalfd()),
        ("inotify", inotify.unwrap()),
        ("pidfd", rustix::process::pidfd_open(own, rustix::process::PidfdFlags::empty()).unwrap()),
    ];
    match sys::io_uring() {
        Ok(ring) => kinds.push(("io-uring", ring)),
        Err(error) => skip("a deposit of kind io-uring", &error.to_string()),
    }
    kinds.retain(|(name, descriptor)| can_be_sent(name, descriptor));
    kinds
}

/// Whether the kernel passes such a descriptor on at all: since Linux 6.7 it does no io_uring.
fn can_be_sent(name: &str, descriptor: &OwnedFd) -> bool {
    let (one, _other) = UnixStream::pair().unwrap();
    let sent = sys::send(&one, b"x", &[descriptor.as_fd()]);
    if let Err(error) = &sent {
        skip(&format!("a deposit of kind {name}"), &format!("the kernel passes none on: {error}"));
    }
    sent.is_ok()
}

const USUAL: [&str; 8] =
    ["tcp", "tcp-listener", "udp", "file", "pipe", "char-device", "block-device", "eventfd"];

#[test] // attack 16
fn a_tag_that_does_not_say_accepts_the_usual_kinds_and_no_other() {
    let daemon = Daemon::open().start();
    let mut peer = daemon.connect();
    for (name, descriptor) in every_kind() {
        let answer = peer.add_descriptor(SLOT, descriptor, "");
        let expected = if USUAL.contains(&name) { 0 } else { libc::EOPNOTSUPP };
        assert_eq!(answer.errno(), expected, "{name}: {answer:?}");
    }
}

#[test] // attack 16, one by one
fn a_tag_that_accepts_one_kind_refuses_every_other() {
    let kinds = every_kind();
    for (accepted, descriptor) in &kinds {
        let daemon =
            Daemon::with_policy(&fixtures::accepting(&format!("[\"{accepted}\"]"))).start();
        let mut peer = daemon.connect();
        for (name, other) in &kinds {
            let expected = if name == accepted { 0 } else { libc::EOPNOTSUPP };
            let answer = peer.add_descriptor(SLOT, other, "");
            assert_eq!(answer.errno(), expected, "{name} where {accepted} is accepted");
        }
        assert_eq!(peer.add((1, 6), "payload only").errno(), libc::EOPNOTSUPP);
        let back = peer.get(SLOT).descriptor();
        assert!(fixtures::same_file(back, descriptor), "{accepted} came back as something else");
    }
}

#[test] // attack 16, nothing but payloads
fn a_tag_for_payloads_takes_no_descriptor_and_leaks_none() {
    let daemon = Daemon::with_policy(&fixtures::accepting("[\"none\"]")).start();
    let mut peer = daemon.connect();
    let before = daemon.descriptors_with(&mut peer);
    peer.add(SLOT, "payload").done();
    for (name, descriptor) in every_kind() {
        assert_eq!(peer.add_descriptor(SLOT, descriptor, "").errno(), libc::EOPNOTSUPP, "{name}");
    }
    assert_eq!(peer.get(SLOT).payload(), b"payload");
    daemon.wait_for_descriptors(before);
}

#[test] // attack 16, the broker's own listener
fn the_brokers_own_listening_socket_is_not_deposited_in_itself() {
    let directory = fdbroker_tests::Directory::new();
    let path = directory.join("passed");
    let listener = UnixListener::bind(&path).unwrap();
    let own = listener.try_clone().unwrap();
    let daemon = Daemon::with_policy(&fixtures::accepting("[\"any\"]")).listening(listener).start();
    let mut peer = Peer::connect(&path).unwrap();
    assert_eq!(peer.add_descriptor(SLOT, own, "").errno(), libc::EOPNOTSUPP);
    peer.is_served(SLOT);
    drop(daemon);
}

#[test] // attack 14
fn a_peer_cannot_deposit_its_own_end_of_the_connection_where_no_tag_accepts_it() {
    let daemon = Daemon::open().start();
    let mut peer = daemon.connect();
    let own = peer.socket().try_clone_to_owned().unwrap();
    assert_eq!(peer.add_descriptor(SLOT, own, "").errno(), libc::EOPNOTSUPP);
    peer.is_served(SLOT);
}

#[test] // attack 14, where the tag accepts everything
fn connections_deposited_in_themselves_do_not_stay_after_their_peers_have_left() {
    let builder = Daemon::with_policy(&fixtures::accepting("[\"any\"]"));
    let daemon = builder.setting("max_connections_per_uid = 20").start();
    let before = daemon.descriptors();
    for round in 0..100 {
        // Were such connections to stay, the twentieth would be the last.
        let mut peer = fdbroker_tests::wait_for("there is room for a connection", || {
            let mut peer = daemon.connect();
            (peer.get((1, 999)).errno() == libc::ENOENT).then_some(peer)
        });
        let own = peer.socket().try_clone_to_owned().unwrap();
        let _either_is_right = peer.add_descriptor((1, round), own, "");
    }
    let mut peer = daemon.connect();
    for round in 0..100 {
        let _gone_or_refused = peer.del((1, round));
    }
    drop(peer);
    daemon.wait_for_descriptors(before);
}

#[test] // attack 15
fn unix_sockets_that_hold_each_other_are_refused() {
    let daemon = Daemon::open().start();
    let mut peer = daemon.connect();
    let before = daemon.descriptors_with(&mut peer);
    for _ in 0..50 {
        let (one, other) = UnixStream::pair().unwrap();
        sys::send(&one, b"x", &[other.as_fd()]).unwrap();
        sys::send(&other, b"x", &[one.as_fd()]).unwrap();
        assert_eq!(peer.add_descriptor(SLOT, one, "").errno(), libc::EOPNOTSUPP);
        assert_eq!(peer.add_descriptor(SLOT, other, "").errno(), libc::EOPNOTSUPP);
    }
    peer.is_served(SLOT);
    daemon.wait_for_descriptors(before);
}

#[test] // attack 17
fn a_tcp_socket_that_lingers_is_closed_without_stopping_anybody() {
    let daemon = Daemon::open().start();
    let mut bystander = daemon.connect();
    let before = daemon.descriptors_with(&mut bystander);
    let (lingering, other_end) = fixtures::full_and_lingering(Duration::from_secs(25));
    let helper = HelperProcess::same();
    let mut peer = helper.connect(&daemon);
    peer.add_descriptor(SLOT, lingering, "").done();
    let start = Instant::now();
    peer.del(SLOT).done();
    for _ in 0..200 {
        bystander.is_served((1, 1));
    }
    peer.is_served(SLOT);
    let took = start.elapsed();
    assert!(took < Duration::from_secs(15), "others waited {took:?} for a close");
    drop((other_end, peer, helper));
    daemon.wait_for_descriptors(before);
}

#[test] // attack 17, replaced in place of deleted
fn replacing_a_tcp_socket_that_lingers_stops_nobody_either() {
    let daemon = Daemon::open().start();
    let (lingering, _other_end) = fixtures::full_and_lingering(Duration::from_secs(25));
    let mut peer = daemon.connect();
    peer.add_descriptor(SLOT, lingering, "").done();
    let start = Instant::now();
    peer.add(SLOT, "something else").done();
    for _ in 0..200 {
        peer.is_served((1, 1));
    }
    let took = start.elapsed();
    assert!(took < Duration::from_secs(15), "others waited {took:?} for a close");
}

#[test] // attack 18
fn a_read_only_deposit_comes_back_read_only_and_a_write_only_one_write_only() {
    let daemon = Daemon::open().start();
    let path = daemon.directory().private_file("file", "content");
    let mut peer = daemon.connect();
    for (opened, mode) in [
        (OpenOptions::new().read(true).open(&path), OFlags::RDONLY),
        (OpenOptions::new().write(true).open(&path), OFlags::WRONLY),
        (OpenOptions::new().read(true).write(true).open(&path), OFlags::RDWR),
    ] {
        peer.add_descriptor(SLOT, opened.unwrap(), "").done();
        let back = peer.get(SLOT).descriptor();
        assert_eq!(fixtures::access_mode(&back), mode);
        let write = rustix::io::write(&back, b"C");
        assert_eq!(write.is_ok(), mode != OFlags::RDONLY);
        let read = rustix::io::read(&back, &mut [0; 1]);
        assert_eq!(read.is_ok(), mode != OFlags::WRONLY);
    }
}
