//! The package under the machine's own systemd, booted in namespaces.

use std::cell::Cell;
use std::fs;

use fdbroker_tests::package::{install, machine_with_packages};
use fdbroker_tests::{process, systemd::ServiceManager, turns, wait_for, wait_until};
use rustix::process::Signal;

use super::course::{Course, times};
use super::site::Site;

const SERVICE: &str = "fdbrokerd.service";

#[test]
fn rounds_under_systemd_lose_nothing_that_was_acknowledged() {
    let _turn = turns::alone();
    let Some(manager) = machine_with_packages("rounds under systemd") else { return };
    let site = Site::within(&manager);
    let journal = Journal(&manager);
    install(&manager, "first");
    let policy = format!("version = 1\n{}", site.policy());
    fs::write(manager.path("/etc/fdbroker/policy.toml"), policy).unwrap();
    manager.succeed(&["systemctl", "start", SERVICE]);
    let installed = Cell::new(["second", "first"]);
    let mut course = Course::begin(&site);
    for _ in 0..times() {
        course.round("kill -9 of the worker", || kill_the_worker(&manager));
        course.round("kill -9 of the supervisor", || {
            another_serves(&manager, || {
                process::signal(process::named_below(manager.init(), "fdbrokerd"), Signal::KILL);
            });
        });
        course.round("kill -9 of the whole group", || {
            another_serves(&manager, || {
                manager.succeed(&["systemctl", "kill", "-s", "KILL", SERVICE]);
            });
        });
        course.round("systemctl restart", || {
            another_serves(&manager, || {
                manager.succeed(&["systemctl", "restart", SERVICE]);
            });
        });
        course.round("upgrade of the package", || {
            let [next, present] = installed.get();
            another_serves(&manager, || {
                install(&manager, next);
            });
            installed.set([present, next]);
        });
    }
    course.tell();
    drop((course, journal));
    manager.end();
}

/// Shows what the broker and the service manager have said, if the test fails.
struct Journal<'a>(&'a ServiceManager);

impl Drop for Journal<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let said = "journalctl --no-pager -o short-precise | grep -v ' granted ' | tail -n 100";
            let said = self.0.run(&["sh", "-c", said]);
            eprintln!("--- the journal ---\n{}", String::from_utf8_lossy(&said.stdout));
        }
    }
}

fn kill_the_worker(manager: &ServiceManager) {
    let supervisor = process::named_below(manager.init(), "fdbrokerd");
    let worker = || process::workers(supervisor).into_iter().find(|pid| process::runs(*pid));
    let before = wait_for("there is a worker", worker);
    process::signal(before, Signal::KILL);
    wait_until("another worker runs", || worker().is_some_and(|now| now != before));
}

/// Ends the broker, and waits for the next one.
fn another_serves(manager: &ServiceManager, end: impl FnOnce()) {
    let main = || manager.property(SERVICE, "MainPID");
    let before = main();
    end();
    wait_until("another broker serves", || {
        main() != before && manager.property(SERVICE, "ActiveState") == "active"
    });
}
