//! The ends of a broker under systemd, each with the next broker's start.

use fdbroker_tests::{process, systemd::ServiceManager, wait_until};
use rustix::process::Signal;

pub(super) const SERVICE: &str = "fdbrokerd.service";

/// Ends the broker, and waits for the next one.
pub(super) type End = fn(&ServiceManager);

/// Every way in which it ends.
pub(super) fn ways() -> [(&'static str, End); 4] {
    fn main(manager: &ServiceManager) -> String {
        manager.property(SERVICE, "MainPID")
    }
    fn again(manager: &ServiceManager, before: &str) {
        wait_until("another broker serves", || {
            main(manager) != before && manager.property(SERVICE, "ActiveState") == "active"
        });
    }
    [
        ("systemctl restart", |manager| {
            manager.succeed(&["systemctl", "restart", SERVICE]);
        }),
        ("kill -9 of the supervisor", |manager| {
            let before = main(manager);
            process::signal(process::named_below(manager.init(), "fdbrokerd"), Signal::KILL);
            again(manager, &before);
        }),
        ("kill of the supervisor", |manager| {
            let before = main(manager);
            process::signal(process::named_below(manager.init(), "fdbrokerd"), Signal::TERM);
            again(manager, &before);
        }),
        ("kill -9 of both at once", |manager| {
            let before = main(manager);
            manager.succeed(&["systemctl", "kill", "-s", "KILL", SERVICE]);
            again(manager, &before);
        }),
    ]
}
