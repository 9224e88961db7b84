//! Descriptors in flight: what peers let lie unread uses up neither others' share nor the worker's own,
//! for what it sends to its supervisor.

use std::os::fd::OwnedFd;

use fdbroker::Broker;
use fdbroker_tests::{Daemon, HelperProcess, Peer, fixtures, needs_root, request, wait_until};
use fdbroker_wire::many::ManyRequest;
use fdbroker_wire::version2::Features;
use fdbroker_wire::{Index, Message, Tag};

const HOGS: [u32; 6] = [64101, 64102, 64103, 64104, 64105, 64106];
const MODEST: u32 = 64110;
/// As many as one message can carry.
const MANY: i32 = 253;
/// More than lie unread with anybody while there is no room.
const SOME: i32 = 60;

/// Tag 2 has one owner at a time.
fn policy() -> String {
    let serial = "[tags.serial]\nid = 2\nserial = true\n";
    format!("{serial}{}", fixtures::accepting(r#"["file", "none"]"#))
}

fn get_many(tag: i16, take: bool) -> Vec<u8> {
    let tag = Tag::new(tag).expect("it is a tag");
    let indices = (0..MANY).map(|index| Index::new(index).expect("an index")).collect();
    let request = ManyRequest::<OwnedFd>::Get { tag, indices, take };
    Message::Extended(request.into_extended()).to_bytes()
}

fn started() -> (Daemon, Peer) {
    // The kernel counts descriptors in flight per user: this worker needs a user of its own.
    let daemon =
        Daemon::with_policy(&policy()).setting("user = 64005").descriptor_limit(1024).start();
    let mut keeper = daemon.connect();
    fill(&mut keeper, 1, MANY);
    (daemon, keeper)
}

fn fill(keeper: &mut Peer, tag: i16, slots: i32) {
    let file = fixtures::file_saying("wanted");
    for index in 0..slots {
        keeper.add_descriptor((tag, index), &file, "").done();
    }
}

/// Has each hog ask for as much as one message can carry, and read nothing.
fn crowd(daemon: &Daemon) -> Vec<Peer> {
    let mut hogs: Vec<Peer> =
        HOGS.iter().map(|uid| HelperProcess::user(*uid).connect(daemon)).collect();
    for hog in &mut hogs {
        hog.send(&request::hello_for(Features::MANY.flags()), &[]);
        hog.answer();
        hog.send(&get_many(1, false), &[]);
    }
    // What is got is recorded just before it is sent, or has to wait.
    wait_until("the broker has come to all of them", || {
        let decided = daemon.log().decisions();
        HOGS.iter().all(|uid| decided.iter().any(|line| line.uid == *uid && line.right == "get"))
    });
    hogs
}

/// A broker whose hogs leave no room for many descriptors in one message.
fn crowded() -> (Daemon, Vec<Peer>) {
    let (daemon, _keeper) = started();
    let hogs = crowd(&daemon);
    (daemon, hogs)
}

#[test] // F10
fn users_who_never_read_leave_the_worker_its_own_descriptors() {
    if !needs_root("several users who never read") {
        return;
    }
    let (daemon, _hogs) = crowded();
    let mut modest = HelperProcess::user(MODEST).connect(&daemon);
    for _ in 0..200 {
        modest.is_served((1, 1000));
    }
}

#[test]
fn who_reads_gets_many_although_others_do_not_read() {
    if !needs_root("several users who never read") {
        return;
    }
    let (daemon, _hogs) = crowded();
    let mut broker = Broker::connect_to(daemon.socket()).unwrap();
    let wanted: Vec<_> = (0..MANY).map(|index| Index::new(index).expect("an index")).collect();
    let got = broker.get_many(Tag::new(1).expect("1 is a tag"), &wanted).unwrap();
    assert_eq!(got.iter().filter(|(_, deposit)| deposit.is_ok()).count(), wanted.len());
    let cut_off = daemon.log().audit().into_iter().find(|line| line.kind == "cut-off");
    assert!(cut_off.is_none_or(|line| HOGS.contains(&line.uid)), "it was made to wait");
}

#[test]
fn who_waited_for_a_turn_gets_what_there_is_room_for_by_then() {
    if !needs_root("several users who never read") {
        return;
    }
    let (daemon, keeper) = started();
    let mut owner = daemon.connect();
    fill(&mut owner, 2, SOME);
    let mut next = daemon.connect();
    next.send(&request::hello_for(Features::MANY.flags()), &[]);
    next.answer();
    next.send_and_be_read(&get_many(2, true));
    let _hogs = crowd(&daemon);
    drop((owner, keeper));
    let got = next.receive().unwrap().descriptors.len();
    assert!((1..usize::try_from(SOME).unwrap()).contains(&got), "descriptors: {got}");
    // What it was not given is still there.
    next.send_and_be_read(&get_many(2, true));
    assert!(!next.receive().unwrap().descriptors.is_empty());
}
