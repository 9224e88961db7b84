//! A service with a Unix socket in its RuntimeDirectory=, which systemd makes again at each restart.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixStream;

use fdbroker_tests::{binaries, skip, systemd::ServiceManager, wait_until};

const PROGRAM: &str = "/usr/local/bin/shop";
const SOCKET: &str = "/run/shop/admin.sock";

const POLICY: &str = r#"
version = 1

[tags.shop]
id = 10
accept = ["unix-listener"]

[[rules]]
id = "the shop hands on what it has"
allow = ["claim", "get", "add", "del", "tag", "list"]
slots = ["shop/*"]
user = "daemon"
"#;

/// In a mount namespace of its own, as hardened services are, and another one after each start.
const UNIT: &str = "
[Service]
User=daemon
RuntimeDirectory=shop
ProtectSystem=strict
PrivateTmp=yes
StandardInput=file:/etc/shop.orders
ExecStart=/usr/local/bin/shop
";

const ORDERS: &str = "start /run/fdbroker/fdbroker.sock live
listen-unix admin /run/shop/admin.sock
ready
complete
";

#[test]
fn a_service_is_reached_after_a_restart_that_makes_its_directory_again() {
    let manager = match ServiceManager::boot(POLICY) {
        Ok(manager) => manager,
        Err(reason) => return skip("a restart with RuntimeDirectory= under systemd", &reason),
    };
    binaries::copy_program(&binaries::binaries().upgrader, &manager.path(PROGRAM));
    manager.succeed(&["chmod", "755", PROGRAM]);
    fs::write(manager.path("/etc/shop.orders"), ORDERS).unwrap();
    let unit = manager.path("/etc/systemd/system/shop.service");
    fs::write(&unit, UNIT).unwrap();
    manager.succeed(&["systemctl", "daemon-reload"]);
    manager.succeed(&["systemctl", "start", "fdbrokerd.socket", "shop.service"]);
    // The socket that clients reach.
    let reached = || {
        let path = manager.path(SOCKET);
        wait_until("a client reaches the service", || UnixStream::connect(&path).is_ok());
        fs::metadata(path).unwrap().ino()
    };
    let restart = || manager.succeed(&["systemctl", "restart", "shop.service"]);
    let mut before = reached();
    for _ in 0..2 {
        restart();
        let now = reached();
        assert_ne!(now, before, "it was made again");
        before = now;
    }
    fs::write(unit, format!("{UNIT}RuntimeDirectoryPreserve=yes\n")).unwrap();
    manager.succeed(&["systemctl", "daemon-reload"]);
    restart();
    assert_eq!(reached(), before, "it is inherited where the directory stays");
    manager.end();
}
