//! A hostile user: each of its connections attacks in one way, over and over.
//!
//! Nothing here may harm more than the broker it is aimed at: loops are bounded by the life of this
//! process, and every descriptor is its own.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use fdbroker_wire::many::ManyRequest;
use fdbroker_wire::{Index, Message, Tag};

use crate::socket::connected;
use crate::{Daemon, Place, fixtures, request, sys};

/// One way; it returns when its connection has been ended, and is begun again.
type Way = fn(&Path) -> io::Result<()>;

/// Those by which a user keeps others from connecting. Who tries them is kept from connecting, and could try
/// none of the others any more: so they are some users' only ones.
const FLOODS: [Way; 2] = [connects_and_leaves, leaves_all_at_once];

/// All others, in the order in which connections take them.
const WAYS: [Way; 16] = [
    gets_many_refused,
    gets_many_empty,
    lists,
    finds,
    writes_for_another,
    never_reads,
    sends_descriptors,
    sends_out_of_band,
    sends_half,
    claims,
    deposits_much,
    is_refused,
    sends_stuck_pipes,
    deposits_lingering,
    gets_many_ascending,
    pipelines,
];

const SECRET: i16 = 2;
const SHARED: i16 = 3;
/// What is got and never read.
const UNREAD: Place = (SHARED, 1);

/// Attacks on many connections until it is killed. Every other user floods.
pub fn run(path: &Path, connections: usize) {
    let floods = rustix::process::getuid().as_raw() % 2 == 1;
    let ways = if floods { &FLOODS[..] } else { &WAYS[..] };
    let attack = |number: usize| {
        let path: PathBuf = path.into();
        std::thread::spawn(move || {
            loop {
                // It was cut off, refused or not accepted: that is the broker's right.
                if let Err(error) = ways[number % ways.len()](&path) {
                    std::thread::sleep(pause_after(&error));
                }
            }
        })
    };
    let threads: Vec<_> = (0..connections).map(attack).collect();
    threads.into_iter().for_each(|thread| drop(thread.join()));
}

/// One who may not connect at all costs the broker nothing: trying without a pause would only load the machine.
fn pause_after(error: &io::Error) -> Duration {
    match error.kind() {
        io::ErrorKind::PermissionDenied => Duration::from_millis(100),
        _ => Duration::from_millis(1),
    }
}

/// Asks on a socket that another process connected, which is standard input.
pub fn write_for_another() {
    let _ = ask_for_ever(io::stdin().as_fd(), &request::get((SECRET, 1)));
}

/// Deletes what attackers of these users have left, so that nothing of them counts.
pub fn remove_deposits(daemon: &Daemon, users: std::ops::Range<u32>) {
    let mut cleaner = daemon.connect();
    for place in users.flat_map(own_places).chain([UNREAD]) {
        cleaner.del(place);
    }
}

/// Where a user deposits.
fn own_places(uid: u32) -> [Place; 2] {
    let number = i32::try_from(uid % 1000).unwrap_or(0);
    [(SHARED, 10 + number), (SHARED, 2000 + number)]
}

fn connect(path: &Path) -> io::Result<OwnedFd> {
    let socket = connected(path, None)?;
    sys::receive_timeout(&socket, Duration::from_secs(10));
    Ok(socket)
}

fn greeted(path: &Path) -> io::Result<OwnedFd> {
    let socket = connect(path)?;
    ask(socket.as_fd(), &request::hello(), &[])?;
    Ok(socket)
}

fn ask(socket: BorrowedFd<'_>, bytes: &[u8], brought: &[BorrowedFd<'_>]) -> io::Result<()> {
    sys::send_all(socket, bytes, brought)?;
    match sys::receive(socket, 1 << 17)?.bytes.is_empty() {
        true => Err(io::ErrorKind::UnexpectedEof.into()),
        false => Ok(()),
    }
}

fn ask_for_ever(socket: BorrowedFd<'_>, bytes: &[u8]) -> io::Result<()> {
    loop {
        ask(socket, bytes, &[])?;
    }
}

fn many(tag: i16, indices: impl Iterator<Item = i32>) -> Vec<u8> {
    let tag = Tag::new(tag).expect("a tag");
    let indices = indices.filter_map(Index::new).collect();
    let request = ManyRequest::<()>::Get { tag, indices, take: false };
    Message::Extended(request.into_extended()).to_bytes()
}

fn connects_and_leaves(path: &Path) -> io::Result<()> {
    loop {
        drop(connect(path)?);
    }
}

fn leaves_all_at_once(path: &Path) -> io::Result<()> {
    loop {
        let sockets: Vec<_> = (0..100).map(|_| connect(path)).collect();
        drop(sockets);
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn gets_many_refused(path: &Path) -> io::Result<()> {
    ask_for_ever(greeted(path)?.as_fd(), &many(SECRET, (0..253).rev()))
}

fn gets_many_empty(path: &Path) -> io::Result<()> {
    ask_for_ever(greeted(path)?.as_fd(), &many(SHARED, (1_000_000..1_000_253).rev()))
}

/// With a gap after each: every slot is a record of its own.
fn gets_many_ascending(path: &Path) -> io::Result<()> {
    ask_for_ever(greeted(path)?.as_fd(), &many(SECRET, (0..506).step_by(2)))
}

fn lists(path: &Path) -> io::Result<()> {
    let body = [-1i16, 0, -1, 0].map(i16::to_ne_bytes).concat();
    let list = request::extended(66, &[&body[..], &(-1i32).to_ne_bytes()].concat());
    ask_for_ever(greeted(path)?.as_fd(), &list)
}

fn finds(path: &Path) -> io::Result<()> {
    ask_for_ever(greeted(path)?.as_fd(), &request::extended(64, b"nothing-of-this-name"))
}

/// Starts another process that asks on this one's connection.
fn writes_for_another(path: &Path) -> io::Result<()> {
    let socket = connect(path)?;
    let own = std::env::current_exe()?;
    Command::new(own).arg("writer").stdin(Stdio::from(socket)).status().map(drop)
}

fn never_reads(path: &Path) -> io::Result<()> {
    let socket = connect(path)?;
    let file = fixtures::file_saying("unread");
    ask(socket.as_fd(), &request::add(UNREAD, 7, &[1; 30_000]), &[file.as_fd()])?;
    rustix::io::ioctl_fionbio(&socket, true)?;
    let get = request::get(UNREAD);
    for _ in 0..200 {
        let _ = sys::send(&socket, &get, &[]);
        std::thread::sleep(Duration::from_millis(10));
    }
    Ok(())
}

fn sends_descriptors(path: &Path) -> io::Result<()> {
    let (pipe, _other) = rustix::pipe::pipe()?;
    let (socket, _end) = UnixStream::pair()?;
    let file = fixtures::file_saying("brought");
    let some = [pipe.as_fd(), socket.as_fd(), file.as_fd()];
    let all: Vec<_> = some.into_iter().cycle().take(253).collect();
    loop {
        let connection = connect(path)?;
        // One is refused, and 253 are too many.
        ask(connection.as_fd(), &request::add((SECRET, 1), 7, b""), &some[..1])?;
        let _ = ask(connection.as_fd(), &request::get((SECRET, 1)), &all);
    }
}

fn sends_out_of_band(path: &Path) -> io::Result<()> {
    let (lingers, _end) = fixtures::full_and_lingering(Duration::from_secs(5));
    let lingers = lingers.as_fd().try_clone_to_owned()?;
    for _ in 0..100 {
        let connection = connect(path)?;
        sys::send_out_of_band(&connection, b"!", &[lingers.as_fd()])?;
        ask(connection.as_fd(), &request::get((SECRET, 1)), &[])?;
    }
    Ok(())
}

fn sends_half(path: &Path) -> io::Result<()> {
    let halves: Vec<_> = (0..5).map(|_| connect(path)).collect::<io::Result<_>>()?;
    let add = request::add_announcing((SHARED, 1), -1, 32768, &[0; 100]);
    for length in 1..add.len().min(50) {
        for half in &halves {
            sys::send_all(half, &add[length..=length], &[])?;
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    Ok(())
}

fn claims(path: &Path) -> io::Result<()> {
    let socket = greeted(path)?;
    loop {
        ask(socket.as_fd(), &request::claim(SHARED, 0, 1000), &[])?;
        ask(socket.as_fd(), &request::withdraw(SHARED), &[])?;
    }
}

fn deposits_much(path: &Path) -> io::Result<()> {
    let socket = connect(path)?;
    let [place, _] = own_places(rustix::process::getuid().as_raw());
    let file = fixtures::file_saying("much");
    loop {
        ask(socket.as_fd(), &request::add(place, 7, &[9; 32768]), &[file.as_fd()])?;
        ask(socket.as_fd(), &request::del(place), &[])?;
    }
}

fn deposits_lingering(path: &Path) -> io::Result<()> {
    let socket = connect(path)?;
    let [_, place] = own_places(rustix::process::getuid().as_raw());
    for _ in 0..50 {
        let (lingers, _end) = fixtures::full_and_lingering(Duration::from_secs(1));
        let lingers = lingers.as_fd().try_clone_to_owned()?;
        ask(socket.as_fd(), &request::add(place, 7, b""), &[lingers.as_fd()])?;
        drop(lingers);
        ask(socket.as_fd(), &request::del(place), &[])?;
    }
    Ok(())
}

fn is_refused(path: &Path) -> io::Result<()> {
    let socket = connect(path)?;
    let mut index = 0;
    loop {
        index = (index + 2) % 1_000_000;
        ask(socket.as_fd(), &request::get((SECRET, index)), &[])?;
    }
}

/// Many requests in each write.
fn pipelines(path: &Path) -> io::Result<()> {
    let socket = connect(path)?;
    let requests = request::get((SECRET, 1)).repeat(500);
    ask_for_ever(socket.as_fd(), &requests)
}

/// A thread holds a pipe's mutex, in splice(2) into a socket that nobody reads. The process that
/// closes the other end last waits for it.
fn sends_stuck_pipes(path: &Path) -> io::Result<()> {
    let (reads, writes) = rustix::pipe::pipe()?;
    let (full, _unread) = UnixStream::pair()?;
    rustix::io::write(&writes, &[0; 60_000])?;
    std::thread::spawn(move || {
        let flags = rustix::pipe::SpliceFlags::empty();
        // Nothing more comes once the other end has been closed.
        while matches!(rustix::pipe::splice(&reads, None, &full, None, 60_000, flags), Ok(1..)) {}
    });
    std::thread::sleep(Duration::from_millis(50));
    let connection = connect(path)?;
    sys::send_all(&connection, &request::get((SECRET, 1)), &[writes.as_fd()])?;
    // Ours goes first, so that the broker's is the last.
    drop(writes);
    std::thread::sleep(Duration::from_secs(2));
    ask(connection.as_fd(), &request::get((SECRET, 1)), &[])
}
