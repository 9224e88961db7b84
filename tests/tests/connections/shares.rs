//! Users who together have as many connections as they may, where the broker's limit of descriptors is small.

use std::net::TcpListener;
use std::thread;

use fdbroker::Broker;
use fdbroker_tests::{Answer, Daemon, HelperProcess, Peer, needs_root, request};

use crate::leases::OPERATORS;
use crate::resource::{SLOT, connecting, tcp};

/// Nothing listens there.
const BROKEN: (i16, i32) = (1, 6);
const FIRST: u32 = 64_050;
const USERS: u32 = 9;
const NEWCOMER: u32 = 64_060;
const LIMIT: u64 = 512;

/// A server that keeps all its connections. Returns its port.
fn keeper() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        let mut kept = Vec::new();
        while let Ok((stream, _)) = listener.accept() {
            kept.push(stream);
        }
    });
    port
}

fn policy(port: u16) -> String {
    let unused = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let leased = connecting(&tcp(port), "revocable = true");
    format!(
        "{leased}\n[resources.broken]\nslot = \"open/6\"\nconnect = {}\n{OPERATORS}",
        tcp(unused)
    )
}

/// Has every user ask at the same time; returns how many got something that they closed at once.
fn all_ask(users: &mut [Peer]) -> usize {
    for slot in [BROKEN, SLOT] {
        users.iter_mut().for_each(|user| user.send(&request::get(slot), &[]));
    }
    let mut got = 0;
    for user in users {
        // Nobody listens there.
        let refused = user.answer().errno();
        assert!([libc::EIO, libc::EDQUOT].contains(&refused), "{refused}");
        match user.answer() {
            Answer::Deposit { descriptor: Some(_), .. } => got += 1,
            refused => assert_eq!(refused.errno(), libc::EDQUOT, "{refused:?}"),
        }
    }
    got
}

#[test]
fn leases_of_many_users_never_end_the_worker_of_all() {
    let what = "leases of many users never end the worker of all";
    if !needs_root(what) {
        return;
    }
    let builder = Daemon::open().policy(&policy(keeper()));
    let daemon = builder.descriptor_limit(LIMIT).start();
    let worker = daemon.worker_pid();
    let helpers: Vec<_> = (0..USERS).map(|number| HelperProcess::user(FIRST + number)).collect();
    let mut users: Vec<_> = helpers.iter().map(|helper| helper.connect(&daemon)).collect();
    let mut leases = 0;
    loop {
        let more = all_ask(&mut users);
        leases += more;
        if more == 0 {
            break;
        }
    }
    assert!(leases > 2 * helpers.len(), "{leases} leases");
    assert_eq!(daemon.worker_pid(), worker, "{}", daemon.log().text());
    let mut operator = Broker::connect_to(daemon.socket()).unwrap();
    assert_eq!(operator.leases().unwrap().lines().count(), leases);
    let newcomer = HelperProcess::user(NEWCOMER);
    newcomer.connect(&daemon).get(SLOT).descriptor();
    let said = daemon.log().text();
    assert!(!said.contains("than its quotas allow"), "{said}");
}
