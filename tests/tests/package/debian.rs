//! The Debian package, from the first installation to the purge.

use std::fs;

use fdbroker_tests::package::{install, machine_with_packages};
use fdbroker_tests::systemd::ServiceManager;

const SERVICE: &str = "fdbrokerd.service";
const SOCKET: &str = "fdbrokerd.socket";
const POLICY: &str = "/etc/fdbroker/policy.toml";
const RULES: &str = r#"
[tags.services]
id = 10
accept = ["unix-listener", "tcp-listener", "none"]

[[rules]]
id = "root keeps things here, and operates"
allow = ["*"]
slots = ["services/*"]
user = "root"

[[rules]]
id = "root operates"
allow = ["operate"]
user = "root"
"#;

fn add(manager: &ServiceManager, payload: &str, command: &[&str]) {
    let added = manager.run_with(payload, &[&["fdbroker", "add"], command].concat());
    assert!(added.status.success(), "{added:?}");
}

/// The files that are named after the broker, but for the packages to install.
fn traces(manager: &ServiceManager) -> String {
    let find = "find /etc /run /usr /var -xdev -name '*fdbroker*' | sort";
    manager.succeed(&["sh", "-c", find])
}

fn main_process(manager: &ServiceManager) -> String {
    manager.property(SERVICE, "MainPID")
}

#[test]
fn an_unprivileged_users_first_request_starts_the_broker_which_grants_nothing() {
    let Some(manager) = machine_with_packages("the Debian package") else { return };
    install(&manager, "first");
    assert_eq!(manager.property(SOCKET, "ActiveState"), "active");
    assert_eq!(manager.property(SOCKET, "UnitFileState"), "enabled");
    assert_eq!(manager.property(SERVICE, "ActiveState"), "inactive");
    manager.succeed(&["getent", "passwd", "fdbroker"]);
    for user in [0, 12345] {
        let refused = manager.run_as(user, &["fdbroker", "get", "10/3"]);
        assert_eq!(refused.status.code(), Some(3), "{refused:?}");
    }
    assert_eq!(manager.property(SERVICE, "ActiveState"), "active");
    manager.succeed(&["systemctl", "reload", SERVICE]);
    // What else is installed works where it is.
    manager.succeed(&["ldconfig", "-p"]).find("libescrow.so.0").expect("the linker knows it");
    manager.succeed(&["/usr/bin/python3", "-c", "import fdbroker"]);
    manager.succeed(&["perl", "-c", "/etc/needrestart/conf.d/fdbroker.conf"]);
    manager.end();
}

#[test]
fn an_upgrade_loses_no_deposit_and_a_purge_leaves_nothing() {
    const DEPOSITS: usize = 10;
    let Some(manager) = machine_with_packages("an upgrade of the Debian package") else { return };
    let before_all = traces(&manager);
    install(&manager, "first");
    let policy = manager.path(POLICY);
    let whole = fs::read_to_string(&policy).unwrap() + RULES;
    fs::write(&policy, &whole).unwrap();
    manager.succeed(&["systemctl", "start", SERVICE]);
    let deposits = |name: &str| format!("for i in $(seq {DEPOSITS}); do {name}; done");
    let listen = "fdbroker add 10/$i --listen unix:/run/kept.$i --payload /etc/hostname";
    manager.succeed(&["sh", "-ec", &deposits(listen)]);
    add(&manager, "secret", &["10/0", "--payload", "-"]);

    let before = main_process(&manager);
    install(&manager, "second");
    let version = manager.succeed(&["dpkg-query", "-f", "${Version}", "-W", "fdbroker"]);
    assert!(version.ends_with("-2"), "{version}");
    assert_ne!(main_process(&manager), before);
    assert_eq!(manager.succeed(&["fdbroker", "get", "10/0"]), "secret");
    manager.succeed(&["sh", "-ec", &deposits("fdbroker exec 10/$i -- true")]);
    assert_eq!(fs::read_to_string(&policy).unwrap(), whole);

    // A policy that does not load leaves the broker alone that runs with the one before.
    let before = main_process(&manager);
    fs::write(&policy, "nonsense").unwrap();
    let said = install(&manager, "first");
    assert!(said.contains("the broker of before goes on"), "{said}");
    assert_eq!(main_process(&manager), before);
    assert_eq!(manager.succeed(&["fdbroker", "get", "10/0"]), "secret");

    // The administrator wants it at each boot.
    manager.succeed(&["systemctl", "enable", SERVICE]);
    manager.succeed(&["dpkg", "-r", "fdbroker"]);
    manager.succeed(&["test", "-e", POLICY]);
    assert!(!manager.run(&["systemctl", "--quiet", "is-active", SERVICE]).status.success());
    assert!(!manager.run(&["systemctl", "--quiet", "is-active", SOCKET]).status.success());
    manager.succeed(&["dpkg", "-P", "fdbroker"]);
    assert_eq!(traces(&manager), before_all);
    assert!(!manager.run(&["getent", "passwd", "fdbroker"]).status.success());
    manager.end();
}

#[test]
fn an_upgrade_checks_the_policy_that_the_unit_names() {
    let Some(manager) = machine_with_packages("an upgrade of a unit with a drop-in") else {
        return;
    };
    // An account that was there before the package is somebody else's.
    manager.succeed(&["useradd", "--system", "--no-create-home", "fdbroker"]);
    install(&manager, "first");
    let other = "/etc/fdbroker/other.toml";
    manager.succeed(&["cp", POLICY, other]);
    let drop_in = format!("[Service]\nExecStart=\nExecStart=/usr/bin/fdbrokerd --policy {other}\n");
    let directory = manager.path("/etc/systemd/system/fdbrokerd.service.d");
    fs::create_dir(&directory).unwrap();
    fs::write(directory.join("policy.conf"), drop_in).unwrap();
    manager.succeed(&["systemctl", "daemon-reload"]);
    manager.succeed(&["systemctl", "start", SERVICE]);

    // The default policy is nobody's here.
    fs::write(manager.path(POLICY), "nonsense").unwrap();
    let before = main_process(&manager);
    install(&manager, "second");
    assert_ne!(main_process(&manager), before);

    fs::write(manager.path(other), "nonsense").unwrap();
    let before = main_process(&manager);
    let said = install(&manager, "first");
    assert!(said.contains("the broker of before goes on"), "{said}");
    assert!(said.contains(&format!("fdbroker check {other}")), "{said}");
    assert_eq!(main_process(&manager), before);

    // Another program's unit is not ours to check.
    let drop_in = "[Service]\nExecStart=\nExecStart=/bin/sh -c 'exec /usr/bin/fdbrokerd'\n";
    fs::write(directory.join("policy.conf"), drop_in).unwrap();
    manager.succeed(&["systemctl", "daemon-reload"]);
    let said = install(&manager, "second");
    assert!(!said.contains("the broker of before goes on"), "{said}");

    manager.succeed(&["dpkg", "-P", "fdbroker"]);
    manager.succeed(&["getent", "passwd", "fdbroker"]);
    manager.end();
}
