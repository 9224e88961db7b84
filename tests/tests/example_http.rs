//! The HTTP server of `examples/`: upgraded again and again under load, and nobody notices.

use std::time::Duration;

use fdbroker_tests::load::{Clients, Load, percentile};
use fdbroker_tests::{Daemon, Example};

const UPGRADES: usize = 200;
const CLIENTS: Clients = Clients { staying: 6, coming: 6, every: Duration::from_millis(12) };

const POLICY: &str = r#"
[tags.http]
id = 2

[[rules]]
id = "everyone"
allow = ["*"]
slots = ["*"]
anyone = true
"#;

#[test]
fn upgraded_two_hundred_times_under_load_it_fails_no_request_and_refuses_no_connection() {
    let daemon = Daemon::with_policy(POLICY).start();
    let mut server = Example::start(&daemon, "http");
    let address = server.address();
    let load = Load::start(address, CLIENTS);
    load.is_served_by(server.pid());
    for _ in 0..UPGRADES {
        let new = Example::start(&daemon, "http");
        assert_eq!(new.address(), address);
        load.is_served_by(new.pid());
        assert!(server.ends().success());
        server = new;
    }
    let mut results = load.end();
    assert_eq!(results.servers.len(), UPGRADES + 1);
    println!(
        "{} requests on {} connections; the slowest took {:?}",
        results.took.len(),
        results.connections,
        percentile(&mut results.took, 1.0),
    );
}
