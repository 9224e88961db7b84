//! Peers that pretend to be somebody else, or were somebody else before. All need root, who can
//! become the users concerned, but for the last.

use std::os::unix::net::UnixStream;
use std::process::Command;

use fdbroker_tests::binaries::binaries;
use fdbroker_tests::{
    Daemon, Directory, HelperProcess, Ids, Peer, fixtures, helper_protocol, needs_root, process,
    request, skip,
};
use rustix::process::Signal;

const ALICE: u32 = 64101;
const BOB: u32 = 64102;
const MALLORY: u32 = 64103;
const STAFF: u32 = 64150;

/// Alice and Bob may use tag 1, staff may use tag 2, root tag 3; Mallory nothing.
const POLICY: &str = r#"
[tags.first]
id = 1

[tags.second]
id = 2

[tags.third]
id = 3

[[rules]]
id = "alice and bob"
allow = ["*"]
slots = ["first/*"]
user = [64101, 64102]

[[rules]]
id = "staff"
allow = ["*"]
slots = ["second/*"]
group = 64150

[[rules]]
id = "root"
allow = ["*"]
slots = ["third/*"]
user = 0
"#;

const FIRST: (i16, i32) = (1, 0);
const SECOND: (i16, i32) = (2, 0);
const THIRD: (i16, i32) = (3, 0);

fn daemon() -> Daemon {
    Daemon::with_policy(POLICY).start()
}

/// Whether a peer may use a slot: all it can see is refusal.
#[track_caller]
fn may(peer: &mut Peer, place: (i16, i32)) -> bool {
    match peer.add(place, "x").errno() {
        0 => true,
        libc::EACCES => false,
        other => panic!("errno {other}"),
    }
}

#[test] // attack 19
fn who_connected_while_allowed_and_became_someone_who_is_not_is_refused() {
    if !needs_root("a peer that changes its user") {
        return;
    }
    let daemon = daemon();
    let helper = HelperProcess::same();
    // Only a saved user id lets a process change twice; a fresh one each time does as well.
    let mut peer = helper.connect(&daemon);
    assert!(may(&mut peer, THIRD));
    helper.become_user(Ids::plain(ALICE));
    assert!(!may(&mut peer, THIRD), "alice used what root had connected");
    assert!(!may(&mut peer, FIRST), "root's connection had alice's rights");
}

#[test] // attack 19, both allowed
fn who_connected_while_allowed_and_became_someone_who_is_allowed_too_is_served() {
    if !needs_root("a peer that changes its user") {
        return;
    }
    let policy = POLICY.replace("user = [64101, 64102]", "user = [0, 64101]");
    let daemon = Daemon::with_policy(&policy).start();
    let helper = HelperProcess::same();
    let mut peer = helper.connect(&daemon);
    assert!(may(&mut peer, FIRST));
    helper.become_user(Ids::plain(ALICE));
    assert!(may(&mut peer, FIRST), "both are allowed");
    assert!(may(&mut helper.connect(&daemon), FIRST));
}

#[test] // attack 19, a group given up
fn who_gave_up_the_group_that_allowed_it_is_refused() {
    if !needs_root("a peer that changes its groups") {
        return;
    }
    let daemon = daemon();
    let helper = HelperProcess::same();
    // Root with the group, then an ordinary user without it.
    let mut with_group =
        HelperProcess::who_is(Ids { uid: BOB, gid: BOB, groups: vec![STAFF] }).connect(&daemon);
    assert!(may(&mut with_group, SECOND));
    let socket = with_group_connection(&daemon);
    helper.become_user(Ids::plain(BOB));
    let mut peer = helper.take_over(socket);
    assert!(!may(&mut peer, SECOND), "the sender no longer has the group");
}

/// A connected socket that a member of staff made.
fn with_group_connection(daemon: &Daemon) -> std::os::fd::OwnedFd {
    let staff = HelperProcess::who_is(Ids { uid: BOB, gid: BOB, groups: vec![STAFF] });
    shared_connection(&staff, daemon)
}

/// Has a helper connect, and returns a duplicate of the socket.
fn shared_connection(helper: &HelperProcess, daemon: &Daemon) -> std::os::fd::OwnedFd {
    let connection = helper.open_connection(daemon.socket()).unwrap();
    connection.share().unwrap()
}

#[test] // attack 20
fn a_connected_socket_handed_to_someone_who_is_not_allowed_is_refused() {
    if !needs_root("a socket handed to another user") {
        return;
    }
    let daemon = daemon();
    let (alice, mallory, bob) =
        (HelperProcess::user(ALICE), HelperProcess::user(MALLORY), HelperProcess::user(BOB));
    let socket = shared_connection(&alice, &daemon);
    assert!(!may(&mut mallory.take_over(&socket), FIRST), "mallory used alice's connection");
    assert!(may(&mut bob.take_over(&socket), FIRST), "bob is allowed as well");
    assert!(may(&mut alice.take_over(&socket), FIRST));
    let record = daemon.log().decisions().into_iter().find(|line| line.verdict == "refused");
    assert!(record.unwrap().reason.contains("64103"), "the record does not name the sender");
}

#[test] // attacks 20 and 30 together
fn what_one_user_deposited_is_not_anothers_to_change_over_a_connection_of_the_first() {
    if !needs_root("a socket handed to another user") {
        return;
    }
    let daemon = daemon_without_replace();
    let (alice, bob) = (HelperProcess::user(ALICE), HelperProcess::user(BOB));
    let socket = shared_connection(&alice, &daemon);
    let mut by_alice = alice.take_over(&socket);
    by_alice.add(FIRST, "alice's").done();
    let mut by_bob = bob.take_over(&socket);
    assert_eq!(by_bob.add(FIRST, "bob's").errno(), libc::EACCES);
    assert_eq!(by_bob.del(FIRST).errno(), libc::EACCES);
    assert_eq!(by_bob.get(FIRST).payload(), b"alice's");
    let granted = daemon.log().decisions().into_iter().find(|line| line.right == "get").unwrap();
    assert_eq!((granted.uid, granted.sender_uid), (ALICE, Some(BOB)), "{granted:?}");
}

/// Alice and Bob may use tag 1, each what is theirs.
fn daemon_without_replace() -> Daemon {
    let rights = r#"allow = ["add", "get", "del"]"#;
    Daemon::with_policy(&POLICY.replacen(r#"allow = ["*"]"#, rights, 1)).start()
}

#[test] // attack 20, the other way round
fn someone_who_is_not_allowed_gains_nothing_by_having_an_allowed_one_send() {
    if !needs_root("a socket handed to another user") {
        return;
    }
    let daemon = daemon();
    let socket = shared_connection(&HelperProcess::user(MALLORY), &daemon);
    assert!(!may(&mut HelperProcess::user(ALICE).take_over(socket), FIRST));
}

#[test] // attack 20, one message by two processes
fn a_message_begun_by_one_who_is_allowed_and_ended_by_another_is_refused() {
    if !needs_root("a socket handed to another user") {
        return;
    }
    let daemon = daemon();
    let (alice, mallory) = (HelperProcess::user(ALICE), HelperProcess::user(MALLORY));
    let socket = shared_connection(&alice, &daemon);
    let (mut first, mut second) = (alice.take_over(&socket), mallory.take_over(&socket));
    let bytes = request::add(FIRST, -1, b"x");
    first.send(&bytes[..9], &[]);
    assert_eq!(second.ask(&bytes[9..], &[]).errno(), libc::EACCES);
    second.send(&bytes[..9], &[]);
    assert_eq!(first.ask(&bytes[9..], &[]).errno(), libc::EACCES);
    assert!(may(&mut first, FIRST), "alice by herself is allowed as before");
}

#[test] // attack 21
fn identity_does_not_follow_a_process_id_to_its_next_owner() {
    if !needs_root("a process id that is used again") {
        return;
    }
    let daemon = daemon();
    let mallory = HelperProcess::user(MALLORY);
    let socket = shared_connection(&mallory, &daemon);
    let pid = mallory.pid();
    mallory.kill();
    let next = match HelperProcess::with_pid(pid) {
        Ok(next) => next,
        Err(error) => return skip("a process id that is used again", &error.to_string()),
    };
    assert_eq!(next.pid(), pid);
    next.become_user(Ids::plain(ALICE));
    assert!(!may(&mut next.take_over(socket), FIRST), "mallory's connection became alice's");
    assert!(may(&mut next.connect(&daemon), FIRST));
}

#[test] // attack 21, the other way round
fn a_process_with_the_id_of_an_allowed_one_that_has_gone_is_not_taken_for_it() {
    if !needs_root("a process id that is used again") {
        return;
    }
    let daemon = daemon();
    let alice = HelperProcess::user(ALICE);
    let socket = shared_connection(&alice, &daemon);
    let pid = alice.pid();
    alice.kill();
    let next = match HelperProcess::with_pid(pid) {
        Ok(next) => next,
        Err(error) => return skip("a process id that is used again", &error.to_string()),
    };
    next.become_user(Ids::plain(MALLORY));
    assert!(!may(&mut next.take_over(socket), FIRST), "mallory was taken for alice");
}

#[test] // attack 22
fn root_of_somebodys_user_namespace_is_not_root() {
    if !needs_root("root of a user namespace beside the real one") {
        return;
    }
    let daemon = daemon();
    let (socket, input) = UnixStream::pair().unwrap();
    let mut command = Command::new("unshare");
    command.args(["--user", "--map-root-user"]).arg(&binaries().peer);
    command.stdin(std::os::fd::OwnedFd::from(input));
    fdbroker_tests::sys::become_before(&mut command, Ids::plain(MALLORY));
    let mut child = match command.spawn() {
        Ok(child) => child,
        Err(error) => return skip("root of a user namespace", &format!("unshare: {error}")),
    };
    drop(command);
    let task = helper_protocol::Task::Connect { path: daemon.socket().into(), bound: None };
    let told = helper_protocol::tell(&socket, &task, &[]);
    let heard = told.and_then(|()| helper_protocol::hear::<helper_protocol::Outcome>(&socket));
    let Ok(Some((helper_protocol::Outcome::Done { .. }, _))) = heard else {
        child.wait().unwrap();
        return skip("root of a user namespace", "the kernel lets nobody have one");
    };
    let map = std::fs::read_to_string(format!("/proc/{}/uid_map", child.id())).unwrap();
    assert_eq!(map.split_whitespace().collect::<Vec<_>>(), ["0", "64103", "1"]);
    for place in [FIRST, SECOND, THIRD] {
        let bytes = request::add(place, -1, b"x");
        helper_protocol::tell(&socket, &helper_protocol::Task::Send { on: 0, bytes }, &[]).unwrap();
        helper_protocol::hear::<helper_protocol::Outcome>(&socket).unwrap();
        helper_protocol::tell(&socket, &helper_protocol::Task::Receive { on: 0, room: 1024 }, &[])
            .unwrap();
        let (outcome, _) =
            helper_protocol::hear::<helper_protocol::Outcome>(&socket).unwrap().unwrap();
        let helper_protocol::Outcome::Done { bytes, .. } = outcome else { panic!("{outcome:?}") };
        assert_eq!(bytes[..4], [3, 0, 243, 255], "not REP −EACCES for {place:?}: {bytes:?}");
    }
    drop(socket);
    child.wait().unwrap();
    assert!(daemon.log().decisions().iter().all(|line| line.uid != 0 && line.verdict == "refused"));
}

#[test] // attack 23
fn a_right_held_only_through_a_supplementary_group_is_granted_by_the_kernels_list() {
    if !needs_root("supplementary groups") {
        return;
    }
    let daemon = daemon();
    // A group without a name, which no name service knows.
    let many: Vec<u32> = (70000..70200).chain([STAFF]).collect();
    for (groups, allowed) in [
        (vec![], false),
        (vec![64149, 64151], false),
        (vec![STAFF], true),
        (vec![64149, STAFF, 64151], true),
        (many, true),
    ] {
        let helper =
            HelperProcess::who_is(Ids { uid: MALLORY, gid: MALLORY, groups: groups.clone() });
        assert_eq!(may(&mut helper.connect(&daemon), SECOND), allowed, "with {groups:?}");
    }
    let primary = HelperProcess::who_is(Ids { uid: MALLORY, gid: STAFF, groups: vec![] });
    assert!(may(&mut primary.connect(&daemon), SECOND), "as the primary group");
}

#[test] // attack 23, the name service's list
fn a_group_that_the_name_service_gives_a_user_does_not_count_if_the_process_lacks_it() {
    if !needs_root("a user whom the name service gives a group") {
        return;
    }
    let Some((gid, uid)) = somebody_with_a_group() else {
        return skip("a user whom the name service gives a group", "/etc/group gives nobody one");
    };
    let daemon =
        Daemon::with_policy(&POLICY.replace("group = 64150", &format!("group = {gid}"))).start();
    assert!(!may(&mut HelperProcess::user(uid).connect(&daemon), SECOND));
    let member = HelperProcess::who_is(Ids { uid, gid: uid, groups: vec![gid] });
    assert!(may(&mut member.connect(&daemon), SECOND));
}

/// A group of /etc/group and the user of its first member.
fn somebody_with_a_group() -> Option<(u32, u32)> {
    let (groups, users) =
        (std::fs::read_to_string("/etc/group").ok()?, std::fs::read_to_string("/etc/passwd").ok()?);
    groups.lines().find_map(|line| {
        let fields: Vec<&str> = line.split(':').collect();
        let member = fields.get(3)?.split(',').next().filter(|member| !member.is_empty())?;
        let user = users.lines().find(|user| user.starts_with(&format!("{member}:")))?;
        let uid = user.split(':').nth(2)?.parse().ok().filter(|uid| *uid != 0)?;
        Some((fields.get(2)?.parse().ok().filter(|gid| *gid != uid)?, uid))
    })
}

#[test] // attack 24
fn a_client_socket_bound_to_a_path_full_of_uid_0_is_only_a_path() {
    let daemon = Daemon::open().start();
    let directory = Directory::new();
    let own = directory.join("uid=0 gid=0 pid=1 verdict=granted\nuid=0");
    let helper = HelperProcess::same();
    let mut peer = helper.try_connect(daemon.socket(), Some(&own)).unwrap();
    peer.add((1, 0), "x").done();
    assert_eq!(peer.get((9, 0)).errno(), libc::EACCES);
    let records = daemon.log().decisions();
    let ids = Ids::own();
    assert_eq!(records.len(), 2);
    for record in records {
        assert_eq!((record.uid, record.gid), (ids.uid, ids.gid));
        assert_eq!(record.pid.unsigned_abs(), helper.pid());
    }
    assert!(!daemon.log().text().contains("uid=0"));
}

#[test] // attack 20, by a process that is gone before anybody looks
fn who_ends_before_it_is_seen_does_not_escape_a_rule_that_denies_by_control_group() {
    let policy = format!(
        "{}[[rules]]\nid = \"not from there\"\ndeny = [\"get\"]\nslots = [\"*\"]\n\
         cgroup = \"/nowhere/at/all\"\n",
        fixtures::OPEN
    );
    let daemon = Daemon::with_policy(&policy).start();
    daemon.connect().add((1, 0), "secret").done();
    let visible = HelperProcess::same();
    assert_eq!(visible.connect(&daemon).get((1, 0)).payload(), b"secret", "it runs elsewhere");

    let worker = daemon.worker_pid();
    process::signal(worker, Signal::STOP);
    let hasty = HelperProcess::same();
    let connection = hasty.open_connection(daemon.socket()).unwrap();
    connection.send(&request::get((1, 0)), &[]).unwrap();
    let mut child = Peer::over(connection.share().unwrap());
    hasty.kill();
    process::signal(worker, Signal::CONT);
    assert_eq!(child.answer().errno(), libc::EACCES);
    daemon.log().wait_for("its record says that its unit is unknown", |line| {
        line.unit == "unknown" && line.rule.as_deref() == Some("not from there")
    });
}
