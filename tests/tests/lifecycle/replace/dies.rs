//! The old broker is killed while it hands over: the new one has everything, or says that it has nothing.

use std::os::fd::AsFd;
use std::time::Duration;

use fdbroker_tests::{Daemon, fixtures, process, wait_for};
use rustix::process::Signal;

use super::Site;

const DEPOSITS: i32 = 1000;
const ROUNDS: usize = 20;
const LEFT_ALONE: &str = "died before it knew that this one had everything";

/// A broker with deposits, of which each has its number in its payload.
fn with_deposits(site: &Site) -> Daemon {
    let daemon = site.broker().start();
    let mut peer = daemon.connect();
    let file = fixtures::file_saying("kept");
    for index in 0..DEPOSITS {
        peer.add_descriptor((1, index), file.as_fd(), index.to_ne_bytes()).done();
    }
    daemon
}

#[track_caller]
fn has_everything(daemon: &Daemon) {
    let mut peer = daemon.connect();
    for index in 0..DEPOSITS {
        assert_eq!(peer.get((1, index)).payload(), index.to_ne_bytes());
    }
}

#[test]
fn one_that_has_everything_goes_on_when_the_old_one_is_killed() {
    let mut left_alone = 0;
    for _ in 0..ROUNDS {
        let site = Site::new();
        let mut daemon = with_deposits(&site);
        let newer = site.newer().begin();
        let worker = wait_for("it has everything, and starts a worker", || {
            process::workers(newer.pid()).into_iter().next()
        });
        // It commits when its worker serves.
        process::signal(worker, Signal::STOP);
        daemon.kill();
        process::signal(worker, Signal::CONT);
        let newer = newer.serves();
        has_everything(&newer);
        left_alone += usize::from(newer.log().text().contains(LEFT_ALONE));
        if left_alone == 2 {
            // The next one takes over from it.
            has_everything(&site.replace(newer));
            return;
        }
    }
    panic!("in {ROUNDS} rounds, the old broker died {left_alone} times before the commit");
}

#[test]
fn one_that_is_told_to_stop_before_it_has_taken_over_leaves_everything_where_it_is() {
    for delay in (0..40).map(Duration::from_millis) {
        let site = Site::new();
        let daemon = with_deposits(&site);
        let newer = site.newer().begin();
        wait_for("it starts a worker", || process::workers(newer.pid()).into_iter().next());
        // Any moment until that serves.
        std::thread::sleep(delay);
        process::signal(newer.pid(), Signal::TERM);
        let said = match newer.comes_up() {
            Ok(newer) => newer.log().text(),
            Err((_, said)) => said,
        };
        let (stops, takes_over) = (said.find("stopping because"), said.find("took over from"));
        match (stops, takes_over) {
            (Some(stops), Some(takes_over)) => assert!(takes_over < stops, "{said}"),
            (_, None) => has_everything(&daemon),
            // It was told when it had.
            (None, Some(_)) => {}
        }
    }
}

#[test]
fn whenever_the_old_one_is_killed_the_new_one_has_all_or_says_that_it_has_nothing() {
    for delay in (0..20).map(|step| Duration::from_millis(step * 8)) {
        let site = Site::new();
        let mut daemon = with_deposits(&site);
        let newer = site.newer().begin();
        // Any moment of the hand-over, or one before or after it.
        std::thread::sleep(delay);
        daemon.kill();
        match newer.comes_up() {
            Ok(newer) => {
                let text = newer.log().text();
                if text.contains("took over from broker") {
                    has_everything(&newer);
                }
                newer.connect().is_served((1, DEPOSITS + 1));
            }
            Err((status, said)) => {
                assert_eq!(status, 1, "{delay:?}: {said}");
                assert!(!said.contains("goes on"), "{delay:?}: {said}");
                // Its place is free.
                site.broker().start().connect().is_served((1, 0));
            }
        }
    }
}
