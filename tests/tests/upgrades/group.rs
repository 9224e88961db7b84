//! A group of sockets at one address (SO_REUSEPORT) that shrinks from one process to the next, under load. Two
//! upgraders of one process are as good as two processes here.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use fdbroker::upgrader::Options;
use fdbroker::{UpgradeError, Upgrader};
use fdbroker_tests::upgrades::{serving, start};
use fdbroker_tests::{Daemon, PATIENCE, wait_until};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// How many sockets the group has before and after.
const BEFORE: usize = 8;
const AFTER: usize = 4;
/// How many clients connect again and again.
const CLIENTS: usize = 16;
/// What it takes to serve one: so connections wait.
const WORK: Duration = Duration::from_millis(1);

fn group(upgrader: &Upgrader, numbers: Range<usize>, address: SocketAddr) -> Vec<TcpListener> {
    let mut address = address;
    let one = |number| {
        let made = || Options::new().reuse_port(true).bind(address);
        let listener: TcpListener = upgrader.listen_with(&format!("http-{number}"), made).unwrap();
        address = listener.local_addr().unwrap();
        listener
    };
    numbers.map(one).collect()
}

/// Serves one connection.
fn serve(mut connection: TcpStream) -> io::Result<()> {
    std::thread::sleep(WORK);
    connection.read_exact(&mut [0])?;
    connection.write_all(b"x")
}

/// Accepts until it is told to stop, and closes the socket.
fn accept(listener: TcpListener, stop: &AtomicBool) {
    listener.set_nonblocking(true).unwrap();
    let pause = Timespec::try_from(Duration::from_millis(2)).unwrap();
    while !stop.load(Ordering::Relaxed) {
        let _ = poll(&mut [PollFd::new(&listener, PollFlags::IN)], Some(&pause));
        if let Ok((connection, _)) = listener.accept() {
            let _ = serve(connection);
        }
    }
}

/// What the clients have seen.
#[derive(Default, Debug)]
struct Seen {
    served: AtomicUsize,
    failed: AtomicUsize,
    slow: AtomicUsize,
}

impl Seen {
    fn call(&self, address: SocketAddr) {
        let began = Instant::now();
        let called = TcpStream::connect(address).and_then(|mut connection| {
            connection.set_read_timeout(Some(PATIENCE))?;
            connection.write_all(b"x")?;
            connection.read_exact(&mut [0])
        });
        let count = if called.is_ok() { &self.served } else { &self.failed };
        count.fetch_add(1, Ordering::Relaxed);
        if began.elapsed() > Duration::from_millis(700) {
            self.slow.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn served(&self) -> usize {
        self.served.load(Ordering::Relaxed)
    }
}

/// A process with fewer sockets takes over while clients connect; it drains the others or not.
fn shrink(kept: Range<usize>, drains: bool) -> Seen {
    let daemon = Daemon::of_upgrades();
    let seen = Seen::default();
    let [first_stops, second_stops, clients_stop] = [const { AtomicBool::new(false) }; 3];
    let mut listeners = Vec::new();
    let first =
        serving(&daemon, |first| listeners = group(first, 0..BEFORE, ([127, 0, 0, 1], 0).into()));
    let address = listeners[0].local_addr().unwrap();
    std::thread::scope(|scope| {
        for listener in listeners {
            scope.spawn(|| accept(listener, &first_stops));
        }
        let call = || {
            while !clients_stop.load(Ordering::Relaxed) {
                seen.call(address);
            }
        };
        let clients: Vec<_> = (0..CLIENTS).map(|_| scope.spawn(call)).collect();
        wait_until("they are served", || seen.served() > 500);
        let second = start(&daemon);
        for listener in group(&second, kept, address) {
            scope.spawn(|| accept(listener, &second_stops));
        }
        let surplus = drains.then(|| second.surplus().unwrap());
        second.ready().unwrap();
        first.upgrade_complete().unwrap();
        first_stops.store(true, Ordering::Relaxed);
        if let Some(surplus) = surplus {
            assert_eq!(surplus.len(), BEFORE - AFTER);
            surplus.drain().unwrap().for_each(|connection| drop(serve(connection.unwrap())));
        }
        let served = seen.served();
        wait_until("the second serves", || seen.served() > served + 500);
        clients_stop.store(true, Ordering::Relaxed);
        clients.into_iter().for_each(|client| client.join().unwrap());
        second_stops.store(true, Ordering::Relaxed);
    });
    seen
}

#[test]
fn a_group_that_shrinks_under_load_loses_no_connection() {
    let seen = shrink(0..AFTER, true);
    println!("{seen:?}");
    assert_eq!(seen.failed.load(Ordering::Relaxed), 0);
}

/// The kernel has the sockets that go before those that stay.
#[test]
fn a_group_that_shrinks_from_its_other_end_loses_none_either() {
    let seen = shrink(BEFORE - AFTER..BEFORE, true);
    println!("{seen:?}");
    assert_eq!(seen.failed.load(Ordering::Relaxed), 0);
}

#[test]
#[ignore = "the figure of a program that does not drain"]
fn a_group_that_is_not_drained_loses_connections() {
    let seen = shrink(0..AFTER, false);
    println!("{seen:?}");
    assert_ne!(seen.failed.load(Ordering::Relaxed), 0);
}

#[test]
fn connections_wait_for_the_next_process_also_after_a_crash() {
    let daemon = Daemon::of_upgrades();
    let mut address = None;
    drop(serving(&daemon, |first| {
        let listeners = group(first, 0..BEFORE, ([127, 0, 0, 1], 0).into());
        address = listeners[0].local_addr().ok();
    }));
    let address = address.unwrap();
    let mut clients: Vec<_> = (0..100).map(|_| TcpStream::connect(address).unwrap()).collect();
    let second = start(&daemon);
    let kept = group(&second, 0..AFTER, address);
    let surplus = second.surplus().unwrap();
    second.ready().unwrap();
    let answer = |mut connection: TcpStream| connection.write_all(b"x").unwrap();
    let mut drained = 0;
    for connection in surplus.drain().unwrap() {
        answer(connection.unwrap());
        drained += 1;
    }
    assert_ne!(drained, 0);
    for _ in 0..clients.len() - drained {
        let waits: Vec<_> =
            kept.iter().map(|listener| PollFd::new(listener, PollFlags::IN)).collect();
        answer(next(&kept, waits));
    }
    clients.iter_mut().for_each(|client| client.read_exact(&mut [0]).unwrap());
}

/// Accepts from a socket in which somebody waits.
fn next(listeners: &[TcpListener], mut waits: Vec<PollFd<'_>>) -> TcpStream {
    assert_ne!(poll(&mut waits, Some(&PATIENCE.try_into().unwrap())).unwrap(), 0, "somebody waits");
    let ready = waits.iter().position(|wait| !wait.revents().is_empty()).unwrap();
    listeners[ready].accept().unwrap().0
}

#[test]
fn the_sockets_that_were_drained_are_gone_also_while_the_old_process_has_them() {
    let daemon = Daemon::of_upgrades();
    let mut listeners = Vec::new();
    let _first =
        serving(&daemon, |first| listeners = group(first, 0..2, ([127, 0, 0, 1], 0).into()));
    let address = listeners[0].local_addr().unwrap();
    let second = start(&daemon);
    let kept = group(&second, 0..1, address);
    let surplus = second.surplus().unwrap();
    assert_eq!(second.names(), ["http-0"]);
    second.ready().unwrap();
    assert_eq!(surplus.drain().unwrap().count(), 0);
    let gone = listeners[1].accept().unwrap_err();
    assert_eq!(gone.kind(), ErrorKind::InvalidInput);
    let clients: Vec<_> = (0..20).map(|_| TcpStream::connect(address).unwrap()).collect();
    clients.iter().for_each(|_| drop(kept[0].accept().unwrap()));
}

#[test]
fn before_it_is_ready_a_process_drains_nothing() {
    let daemon = Daemon::of_upgrades();
    let mut listeners = Vec::new();
    let first =
        serving(&daemon, |first| listeners = group(first, 0..2, ([127, 0, 0, 1], 0).into()));
    let address = listeners[0].local_addr().unwrap();
    let second = start(&daemon);
    let _kept = group(&second, 0..1, address);
    let error = second.surplus().unwrap().drain().unwrap_err();
    assert!(matches!(error, UpgradeError::NotReady { .. }), "{error}");
    drop(second);
    wait_until("it serves on", || first.names() == ["http-0", "http-1"]);
    for _ in 0..20 {
        TcpStream::connect(address).unwrap();
    }
}

#[test]
fn a_socket_of_no_group_is_no_surplus() {
    let daemon = Daemon::of_upgrades();
    drop(serving(&daemon, |first| {
        for name in ["http", "https"] {
            first.listen::<TcpListener>(name, "127.0.0.1:0").unwrap();
        }
    }));
    let second = start(&daemon);
    let _kept: TcpListener = second.listener("http").unwrap().unwrap();
    assert!(second.surplus().unwrap().is_empty());
    assert_eq!(second.names(), ["http", "https"], "ready closes it");
    second.ready().unwrap();
    assert_eq!(second.names(), ["http"]);
}

#[test]
fn a_second_name_of_a_socket_that_stays_is_no_surplus() {
    let daemon = Daemon::of_upgrades();
    let mut listeners = Vec::new();
    let _first = serving(&daemon, |first| {
        listeners = group(first, 0..2, ([127, 0, 0, 1], 0).into());
        for (name, listener) in [("web", &listeners[0]), ("web-too", &listeners[1])] {
            let _: TcpListener = first.listen_with(name, || listener.try_clone()).unwrap();
        }
    });
    let address = listeners[0].local_addr().unwrap();
    let second = start(&daemon);
    let kept = group(&second, 0..1, address);
    let surplus = second.surplus().unwrap();
    assert_eq!(surplus.len(), 1, "a socket with two names is one");
    second.ready().unwrap();
    assert_eq!(second.names(), ["http-0"]);
    assert_eq!(surplus.drain().unwrap().count(), 0);
    let clients: Vec<_> = (0..20).map(|_| TcpStream::connect(address).unwrap()).collect();
    clients.iter().for_each(|_| drop(kept[0].accept().unwrap()));
}
