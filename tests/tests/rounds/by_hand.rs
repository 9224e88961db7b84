//! A broker without a service manager, which others take over from (`--replace`).

use std::cell::RefCell;

use fdbroker_tests::{Daemon, Directory, turns};

use super::course::{Course, times};
use super::site::Site;

#[test]
fn replacements_lose_nothing_that_was_acknowledged() {
    let _turn = turns::alone();
    let directory = Directory::new();
    let site = Site::here(directory.join("socket"), directory.join("server"));
    let broker = || Daemon::with_policy(&site.policy()).socket(directory.join("socket"));
    let daemon = RefCell::new(broker().start());
    let mut course = Course::begin(&site);
    for _ in 0..times() {
        course.round("--replace", || {
            let newer = broker().argument("--replace").start();
            daemon.replace(newer).is_replaced();
        });
    }
    course.tell();
}
