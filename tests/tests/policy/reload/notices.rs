//! What the service manager is told, and a worker that dies in the middle.

use super::*;

/// What the service manager is told.
struct Notices(UnixDatagram);

impl Notices {
    fn of(builder: Builder) -> (Self, Builder) {
        let path = builder.directory().join("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o666)).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        (Self(socket), builder.environment("NOTIFY_SOCKET", path))
    }

    /// The next one, but for what is about the store of descriptors.
    fn next(&self) -> String {
        loop {
            let mut message = [0; 4096];
            let length = self.0.recv(&mut message).expect("the service manager is told");
            let text = String::from_utf8_lossy(&message[..length]).into_owned();
            if !text.starts_with("FDSTORE") && !text.starts_with("BARRIER") {
                return text;
            }
        }
    }

    /// RELOADING=1 with the time, and then READY=1; returns the status.
    #[track_caller]
    fn are_of_a_reload(&self) -> String {
        let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
        let now = u64::try_from(now.tv_sec).unwrap() * 1_000_000;
        let first = self.next();
        let mut lines = first.lines();
        assert_eq!(lines.next(), Some("RELOADING=1"), "{first}");
        let time = lines.next().and_then(|line| line.strip_prefix("MONOTONIC_USEC="));
        let time: u64 = time.expect("the time").parse().unwrap();
        assert!(time.abs_diff(now) < 60_000_000, "{time} is not about {now}");
        let second = self.next();
        let mut lines = second.lines();
        assert_eq!(lines.next(), Some("READY=1"), "{second}");
        lines.next().and_then(|line| line.strip_prefix("STATUS=")).unwrap_or_default().to_owned()
    }
}

#[test]
fn the_service_manager_is_told_when_a_reload_begins_and_ends_well_or_not() {
    let (notices, builder) = Notices::of(Daemon::with_policy(&everything()));
    let daemon = builder.start();
    assert_eq!(notices.next().lines().next(), Some("READY=1"));
    daemon.reload(&allowing("\"get\"", "store/0"));
    assert_eq!(notices.are_of_a_reload(), "serving under the new policy");
    daemon.write_policy_text("nonsense");
    daemon.reload_in_vain();
    assert!(notices.are_of_a_reload().contains("could not be reloaded"));
    daemon.write_policy(&everything());
    daemon.says(&["reload"]);
    notices.are_of_a_reload();
}

#[test]
fn a_worker_that_dies_during_a_reload_is_followed_by_one_under_the_new_policy() {
    let (notices, builder) = Notices::of(Daemon::with_policy(&everything()));
    let daemon = builder.start();
    daemon.connect().add((1, 0), "kept").done();
    // So many rules that reading them takes a while.
    let rule = |number| {
        format!(
            "[[rules]]\nid = \"r{number}\"\nallow = [\"get\"]\nslots = [\"store/{number}\"]\nuser = {number}\n"
        )
    };
    let many: String = (1..300).map(rule).collect();
    let policies = [allowing("\"get\"", "store/7"), everything()].map(|policy| policy + &many);
    let expected = [libc::EACCES, 0];
    for round in 0..30 {
        let new = round % 2;
        daemon.write_policy(&policies[new]);
        daemon.hang_up();
        // Sooner or later in what a reload does; whichever it is, the outcome is the same.
        std::thread::sleep(Duration::from_millis(u64::try_from(round).unwrap()));
        daemon.kill_worker();
        wait_until("the new policy is in force", || {
            daemon.connect().get((1, 0)).errno() == expected[new]
        });
        drained(&notices);
    }
    let log = daemon.log().text();
    let deaths = log.split('\n').filter(|line| line.contains("the worker has died"));
    let others: Vec<_> = deaths.filter(|line| !line.contains("(signal: 9")).collect();
    assert!(others.is_empty(), "it died of something else: {others:#?}");
}

#[test]
fn a_policy_that_a_new_worker_begins_with_is_said_to_be_in_force_with_what_it_leaves_out() {
    let daemon = Daemon::with_policy(&everything()).start();
    daemon.connect().add((1, 0), "kept").done();
    for round in 0..10 {
        let policy = if round % 2 == 0 { allowing("\"get\"", "store/7") } else { everything() };
        daemon.write_policy(&policy);
        // It sees both at once: the worker has died, and the policy is to be read again.
        daemon.stop_supervisor();
        daemon.kill_worker();
        daemon.hang_up();
        daemon.go_on();
        wait_until("the log says that the policy is in force", || {
            daemon.log().text().contains(&format!("policy {} is in force", round + 1))
        });
    }
    wait_until("it is told what no rule reaches, each time", || {
        daemon.log().text().matches("that no rule reaches any more: 1;").count() == 5
    });
}

/// Reads what the service manager was told until a READY=1 has come that no RELOADING=1 follows: it was
/// told that each reload has ended. What it is told of its store does not count.
fn drained(notices: &Notices) {
    let mut last = String::new();
    wait_until("the last reload has ended", || {
        notices.0.set_nonblocking(true).unwrap();
        let mut message = [0; 4096];
        while let Ok(length) = notices.0.recv(&mut message) {
            let told = String::from_utf8_lossy(&message[..length]).into_owned();
            if ["READY=1", "RELOADING=1"].iter().any(|begin| told.starts_with(begin)) {
                last = told;
            }
        }
        last.starts_with("READY=1")
    });
}
