//! A server that is upgraded by `systemctl reload`, with the unit that docs/upgrader.md shows.

use std::fs;
use std::path::Path;

use fdbroker_tests::{binaries, skip, systemd::ServiceManager, wait_for, wait_until};

const PROGRAM: &str = "/usr/local/bin/shop";
const ADDRESS: &str = "127.0.0.1:8080";

/// The tag of the http example, for an account that every machine has.
const POLICY: &str = r#"
version = 1

[tags.shop]
id = 2
accept = ["tcp-listener"]

[[rules]]
id = "the shop hands on what it has"
allow = ["claim", "get", "add", "del", "tag", "list"]
slots = ["shop/*"]
user = "daemon"
unit = "shop.service"
"#;

/// The unit on the page.
fn unit() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("docs/upgrader.md");
    let page = fs::read_to_string(path).unwrap();
    let unit = page.split("```ini\n").nth(1).unwrap().split("```").next().unwrap();
    assert!(unit.contains(PROGRAM) && unit.contains(ADDRESS), "{unit}");
    unit.replace("User=shop", "User=daemon")
}

/// Which process answers.
fn served_by(manager: &ServiceManager) -> String {
    let ask = "exec 3<>/dev/tcp/127.0.0.1/8080; printf 'GET / HTTP/1.0\\r\\n\\r\\n' >&3; cat <&3";
    let answer = manager.succeed(&["bash", "-c", ask]);
    answer.lines().last().unwrap_or_default().to_owned()
}

#[test]
fn systemctl_reload_upgrades_a_server_and_keeps_the_old_one_if_the_new_one_fails() {
    let manager = match ServiceManager::boot(POLICY) {
        Ok(manager) => manager,
        Err(reason) => return skip("an upgrade under systemd", &reason),
    };
    let install = |what: &Path| {
        let new = manager.path(&format!("{PROGRAM}.new"));
        binaries::copy_program(what, &new);
        manager.succeed(&["chmod", "755", &format!("{PROGRAM}.new")]);
        manager.succeed(&["mv", &format!("{PROGRAM}.new"), PROGRAM]);
    };
    let main = || manager.property("shop.service", "MainPID");
    install(&binaries::for_readers("http"));
    fs::write(manager.path("/etc/systemd/system/shop.service"), unit()).unwrap();
    manager.succeed(&["systemctl", "daemon-reload"]);
    manager.succeed(&["systemctl", "start", "shop.service"]);

    let mut before = main();
    assert_eq!(served_by(&manager), before);
    for _ in 0..3 {
        manager.succeed(&["systemctl", "reload", "shop.service"]);
        let now = wait_for("the successor is the main process", || {
            // 0 where the old one has ended before MAINPID= is read.
            let now = main();
            (now != before && now != "0").then_some(now)
        });
        let old = format!("/proc/{before}");
        wait_until("the old process has ended", || !manager.path(&old).exists());
        assert_eq!(served_by(&manager), now);
        assert_eq!(manager.property("shop.service", "ActiveState"), "active");
        before = now;
    }

    install(Path::new("/bin/false"));
    manager.succeed(&["systemctl", "reload", "shop.service"]);
    assert_eq!(served_by(&manager), before);
    install(&binaries::for_readers("http"));
    manager.succeed(&["systemctl", "kill", "--signal=KILL", "shop.service"]);
    wait_until("another process serves after the crash", || served_by(&manager) == main());
    assert_ne!(main(), before);
    assert_eq!(manager.property("shop.service", "NRestarts"), "1");
    manager.succeed(&["systemctl", "stop", "shop.service"]);
    assert_eq!(manager.property("shop.service", "Result"), "success");
    manager.end();
}
