//! Owners of tags outlive the broker, as long as their processes live.

use std::path::Path;

use fdbroker_tests::claims::{self, AGAIN, BOTH, LIVE};
use fdbroker_tests::{HelperProcess, Peer, skip, systemd::ServiceManager};
use fdbroker_wire::claim::State;

use super::ends::{SERVICE, ways};

const SOCKET: &str = "/run/fdbroker/fdbroker.sock";

fn booted(what: &str) -> Option<ServiceManager> {
    let policy = format!("version = 1\n{}", claims::POLICY);
    let manager = ServiceManager::boot(&policy).map_err(|reason| skip(what, &reason)).ok()?;
    manager.succeed(&["systemctl", "start", SERVICE]);
    Some(manager)
}

#[track_caller]
fn connect(process: &HelperProcess) -> Peer {
    process.try_connect(Path::new(SOCKET), None).unwrap().greeted()
}

#[test]
fn owners_own_their_tags_after_a_restart_and_a_crash_of_the_broker() {
    let Some(manager) = booted("owners that outlive the broker") else { return };
    let [process, other] = [(); 2].map(|()| HelperProcess::within(&manager));
    let mut owner = connect(&process);
    for tag in BOTH {
        assert_eq!(owner.claim(tag, LIVE), State::Owned);
        owner.add((tag, 0), "the owner's").done();
    }
    for (way, end) in ways() {
        end(&manager);
        let mut stranger = connect(&other);
        for tag in BOTH {
            assert_eq!(stranger.claim(tag, LIVE), State::Waiting, "{way}, tag {tag}");
        }
        drop(stranger);
        owner = connect(&process);
        for tag in BOTH {
            assert_eq!(owner.claim(tag, AGAIN), State::Owned, "{way}, tag {tag}");
            assert_eq!(owner.get((tag, 0)).payload(), b"the owner's", "{way}, tag {tag}");
        }
    }
    manager.end();
}

#[test]
fn an_owner_that_ended_while_there_was_no_broker_owns_nothing() {
    let Some(manager) = booted("owners that end before the next broker starts") else { return };
    let [process, other] = [(); 2].map(|()| HelperProcess::within(&manager));
    let mut owner = connect(&process);
    for tag in BOTH {
        assert_eq!(owner.claim(tag, LIVE), State::Owned);
        owner.add((tag, 0), "the owner's").done();
    }
    // It notices nothing any more.
    manager.succeed(&["systemctl", "kill", "-s", "STOP", SERVICE]);
    process.kill();
    let [.., (_, kill_both)] = ways();
    kill_both(&manager);
    let mut other = connect(&other);
    for tag in BOTH {
        assert_eq!(other.claim(tag, LIVE), State::Owned, "tag {tag}");
        assert_eq!(other.get((tag, 0)).payload(), b"the owner's", "tag {tag}");
    }
    let said = manager.succeed(&["journalctl", "--no-pager", "-u", SERVICE]);
    assert!(said.contains("owners of tags restored: 0; not restored"), "{said}");
    manager.end();
}
