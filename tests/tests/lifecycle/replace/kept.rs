//! What the new broker takes over.

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::{UnixListener, UnixStream};

use fdbroker::{Broker, Slot};
use fdbroker_tests::binaries::binaries;
use fdbroker_tests::newcomer::{Newcomer, locked_by};
use fdbroker_tests::{HelperProcess, fixtures, process, request, skip, wait_until};
use rustix::process::Signal;

use super::super::quarantine::set_aside;
use super::Site;

/// How many connections are deposited.
const CONNECTIONS: i32 = 1000;

#[test]
fn deposits_of_each_kind_and_their_duplicates_are_taken_over() {
    let site = Site::with_policy(&fixtures::accepting(r#"["any"]"#));
    let daemon = site.broker().start();
    let mut peer = daemon.connect();
    peer.add((1, 0), b"a payload alone").done();
    let file = fixtures::file_saying("the same file");
    peer.add_descriptor((1, 1), file.as_fd(), b"one").done();
    peer.add_descriptor((1, 2), file.as_fd(), b"").done();
    let (ours, theirs) = UnixStream::pair().unwrap();
    peer.add_descriptor((1, 3), theirs, b"").done();
    // A file without a device of its own, which no service manager is given.
    peer.add_descriptor((1, 4), fs::File::open("/proc/version").unwrap(), b"").done();
    peer.add((1, 5), b"deleted").done();
    peer.del((1, 5)).done();
    let daemon = site.replace(daemon);
    let mut peer = daemon.connect();
    assert_eq!(peer.get((1, 0)).payload(), b"a payload alone");
    let [one, other] = [1, 2].map(|index| peer.get((1, index)).descriptor());
    assert!(fixtures::same_file(&one, &other));
    // One open file description: the offset is shared.
    assert_eq!(fixtures::content(one), "the same file");
    assert_eq!(fixtures::content(other), "");
    let mut socket = UnixStream::from(peer.get((1, 3)).descriptor());
    socket.write_all(b"still connected").unwrap();
    let mut heard = [0; 15];
    (&ours).read_exact(&mut heard).unwrap();
    assert_eq!(&heard, b"still connected");
    assert!(fixtures::content(peer.get((1, 4)).descriptor()).starts_with("Linux"));
    assert_eq!(peer.get((1, 5)).errno(), libc::ENOENT);
    peer.is_served((1, 9));
}

#[test]
fn a_client_of_the_library_sees_the_same_broker() {
    let site = Site::new();
    let daemon = site.broker().start();
    let mut broker = Broker::connect_to(daemon.socket()).unwrap();
    let slot = Slot::new(1, 0).unwrap();
    broker.add(slot, None, b"kept").unwrap();
    let before = broker.instance().unwrap();
    let daemon = site.replace(daemon);
    assert_eq!(broker.get(slot).unwrap().payload, *b"kept");
    assert_eq!(broker.instance().unwrap(), before);
    drop(daemon);
}

#[test]
fn the_socket_and_its_lock_pass_over_and_the_last_broker_removes_them() {
    let site = Site::new();
    let mut daemon = site.broker().start();
    let before = fs::metadata(site.socket()).map(|it| inode(&it)).unwrap();
    for _ in 0..3 {
        daemon = site.replace(daemon);
        assert_eq!(locked_by(&site.socket()), daemon.supervisor_pid());
        assert_eq!(fs::metadata(site.socket()).map(|it| inode(&it)).unwrap(), before);
        let (status, said) = site.broker().fail();
        assert!(status == 1 && said.contains("already listens"), "{said}");
    }
    assert_eq!(daemon.end(Signal::TERM).code(), Some(0));
    let left = fs::read_dir(site.directory.path()).unwrap();
    let left: Vec<_> = left.map(|entry| entry.unwrap().file_name()).collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn a_second_replace_names_the_broker_that_ran() {
    let site = Site::new();
    let first = site.broker().start();
    let second = site.replace(first);
    let pid = second.supervisor_pid();
    let third = site.replace(second);
    let told = format!("took over from broker {pid}, ");
    assert!(third.log().text().contains(&told), "{}", third.log().text());
}

#[test]
fn the_socket_is_shared_as_it_is_when_nobody_accepts_any_more() {
    let site = Site::new();
    let daemon = site.broker().start();
    let mut newcomer = Newcomer::at(&site.socket());
    newcomer.is_let_in();
    fs::remove_file(site.socket()).unwrap();
    wait_until("it is bound again", || site.socket().exists());
    let file = fs::metadata(site.socket()).unwrap();
    wait_until("it is said", || daemon.log().text().contains("it has been recreated"));
    assert!(newcomer.is_ready());
    let place = newcomer.hears_place();
    assert_eq!(place.file, (file.dev(), file.ino()));
    drop(UnixStream::connect(site.socket()).unwrap());
    assert!(UnixListener::from(place.socket).accept().is_ok(), "another socket was shared");
}

#[test]
fn what_was_set_aside_and_readmitted_comes_back() {
    let site = Site::new();
    let daemon = site.broker().start();
    if !set_aside(&daemon, "poisoned") {
        return skip("a readmitted deposit", "descriptors of others cannot be taken");
    }
    wait_until("the next one serves", || {
        daemon.says(&["status"]).contains("deposits_set_aside=1/5")
    });
    daemon.reload_files();
    let daemon = site.replace(daemon);
    assert_eq!(daemon.connect().get((1, 5)).payload(), b"poisoned");
}

fn inode(found: &fs::Metadata) -> u64 {
    std::os::unix::fs::MetadataExt::ino(found)
}

#[test]
fn who_connects_while_nobody_serves_waits_and_is_served() {
    let site = Site::new();
    let daemon = site.broker().start();
    let newer = site.newer();
    daemon.connect().add((1, 0), b"kept").done();
    let served = std::thread::scope(|scope| {
        let socket = site.socket();
        let asks = scope.spawn(move || {
            // Each is a connection of its own.
            (0..300).filter(|_| got(&socket)).count()
        });
        let newer = newer.start();
        let served = asks.join().unwrap();
        let mut former = daemon;
        former.is_replaced();
        drop(newer);
        served
    });
    assert!(served > 0);
}

/// Connects and asks; whether the answer came. A connection that was cut has none, and none is refused.
fn got(socket: &std::path::Path) -> bool {
    let mut peer = fdbroker_tests::Peer::connect(socket).expect("nobody is refused");
    let sent = peer.try_send(&request::get((1, 0)), &[]);
    match sent.and_then(|()| peer.try_answer()) {
        Ok(answer) if !answer.is_closed() => {
            assert_eq!(answer.payload(), b"kept");
            true
        }
        _ => false,
    }
}

#[test]
fn the_owner_of_a_serial_tag_keeps_it_and_who_waits_gets_it_after_that() {
    let site = Site::with_policy(&fixtures::serial());
    let daemon = site.broker().start();
    let owner = HelperProcess::same();
    owner.connect(&daemon).add((1, 0), b"first").done();
    let mut owner_peer = owner.connect(&daemon);
    owner_peer.add((1, 0), b"kept").done();
    std::thread::scope(|scope| {
        let mut broker = Broker::connect_to(daemon.socket()).unwrap();
        let slot = Slot::new(1, 0).unwrap();
        let waiting = scope.spawn(move || broker.get(slot).map(|deposit| deposit.payload));
        let mut daemon = daemon;
        for _ in 0..3 {
            daemon = site.replace(daemon);
            // The owner is served again, so the others have had their chance.
            owner_peer = owner.connect(&daemon);
            assert_eq!(owner_peer.get((1, 0)).payload(), b"kept");
            assert!(!waiting.is_finished(), "the tag was given away while its owner lived");
        }
        owner.kill();
        assert_eq!(waiting.join().unwrap().unwrap(), b"kept");
    });
}

#[test]
fn a_thousand_connections_with_traffic_lose_no_byte() {
    let site = Site::with_policy(&fixtures::accepting(r#"["any"]"#));
    let mut daemon = site.broker().start();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let mut clients = Vec::new();
    {
        let mut peer = daemon.connect();
        for index in 0..CONNECTIONS {
            clients.push(TcpStream::connect(address).unwrap());
            let accepted = listener.accept().unwrap().0;
            peer.add_descriptor((1, index), accepted, index.to_string()).done();
        }
        peer.add_descriptor((1, CONNECTIONS), &listener, b"").done();
        drop(listener);
    }
    for round in 0..3_u8 {
        clients.iter_mut().for_each(|client| client.write_all(&[round; 16]).unwrap());
        daemon = site.replace(daemon);
        clients.iter_mut().for_each(|client| client.write_all(&[round; 16]).unwrap());
        // And the listening socket takes connections all the time.
        drop(TcpStream::connect(address).unwrap());
    }
    let mut peer = daemon.connect();
    for index in 0..CONNECTIONS {
        let answer = peer.get((1, index));
        let mut stream = TcpStream::from(answer.descriptor());
        let mut heard = [9; 96];
        stream.read_exact(&mut heard).unwrap();
        let expected: Vec<u8> = (0..3).flat_map(|round| [round; 32]).collect();
        assert_eq!(heard.to_vec(), expected, "{index}");
    }
}

#[test]
fn without_a_broker_the_new_one_starts_as_any_other() {
    let site = Site::new();
    let daemon = site.newer().start();
    daemon.connect().is_served((1, 0));
    let mut killed = site.replace(daemon);
    killed.kill_both();
    // What it left behind belongs to nobody.
    let daemon = site.newer().start();
    daemon.connect().is_served((1, 0));
    assert!(!daemon.log().text().contains("took over"));
}

#[test]
fn the_audit_file_goes_on_and_both_brokers_record_the_hand_over() {
    let site = Site::new();
    let trail = site.directory.join("audit.log");
    let with = |builder: fdbroker_tests::Builder| builder.argument("--audit-file").argument(&trail);
    let mut daemon = with(site.broker()).start();
    daemon.connect().add((1, 0), b"x").done();
    let mut newcomer = Newcomer::at(&site.socket());
    newcomer.is_let_in();
    assert!(newcomer.is_ready());
    newcomer.hears_everything();
    let failed = newcomer.pid();
    drop(newcomer);
    wait_until("it is recorded", || records(&trail).len() == 1);
    let newer = with(site.newer()).start();
    daemon.is_replaced();
    newer.connect().del((1, 0)).done();
    wait_until("both are recorded", || {
        let text = fs::read_to_string(&trail).unwrap();
        text.contains("\"FDBROKER_RIGHT\":\"add\"") && text.contains("\"FDBROKER_RIGHT\":\"del\"")
    });
    assert!(!process::runs(daemon.supervisor_pid()));
    let (old, new) = (daemon.supervisor_pid(), newer.supervisor_pid());
    let mut told = records(&trail);
    told.sort();
    let program = binaries().daemon.display().to_string();
    let expected = [
        format!("failed pid={failed}"),
        // Root's broker lets nobody see which file it executes.
        format!("granted pid={new} \"fdbrokerd\" took over, with deposits: 1, leases: 0"),
        format!("granted pid={new} took over from broker {old}, with deposits: 1, leases: 0"),
    ];
    assert_eq!(told.len(), expected.len(), "{told:?}");
    for (told, expected) in told.iter().zip(&expected) {
        let told = told.replace(&program, "fdbrokerd");
        assert!(told.starts_with(expected), "{told} is not {expected}");
    }
}

/// Verdict, process and reason of each record of a hand-over.
fn records(trail: &std::path::Path) -> Vec<String> {
    let text = fs::read_to_string(trail).unwrap();
    let lines =
        text.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
    let records = lines.filter(|line| line["FDBROKER_KIND"] == "hand-over");
    let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
    let one = |line: serde_json::Value| {
        assert_eq!(line["FDBROKER_RIGHT"], "replace");
        let (verdict, reason) = (text(&line["FDBROKER_VERDICT"]), text(&line["FDBROKER_REASON"]));
        format!("{verdict} pid={} {reason}", line["FDBROKER_PID"])
    };
    records.map(one).collect()
}
