//! A connection to a server, made under the unit with the lines of its example drop-in.

use fdbroker_tests::postgres::installed;
use fdbroker_tests::{skip, systemd::ServiceManager, wait_until};

const SERVICE: &str = "fdbrokerd.service";
const POLICY: &str = r#"
version = 1

[tags.databases]
id = 10

[resources.orders]
slot = "databases/0"
connect = "tcp:localhost:5432"
auth = { postgres = { user = "orders", database = "postgres", password = "credential:orders" } }

[[rules]]
id = "root uses the database"
allow = ["get"]
slots = ["orders"]
user = "root"
"#;

/// The drop-in's lines for connections, with the network of this test.
fn drop_in() -> String {
    let example = include_str!("../../../systemd/drop-in.example.conf");
    let (_, lines) = example.split_once("#LoadCredential=").expect("the lines for connections");
    let lines = lines.lines().take_while(|line| !line.is_empty());
    let lines: Vec<_> = lines.map(|line| line.trim_start_matches('#')).collect();
    format!("[Service]\nLoadCredential={}\n", lines.join("\n")).replace("192.0.2.0/24", "localhost")
}

#[test]
fn a_unit_with_the_drop_in_connects_with_a_credential_of_the_service_manager() {
    let what = "a connection under the unit";
    let Some(programs) = installed() else {
        return skip(what, "there is no PostgreSQL server (postgresql)");
    };
    let manager = match ServiceManager::boot(POLICY) {
        Ok(manager) => manager,
        Err(reason) => return skip(what, &reason),
    };
    let sh = |input: &str, script: &str| {
        let output = manager.run_with(input, &["sh", "-c", script]);
        assert!(output.status.success(), "{script}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    sh(
        &drop_in(),
        "mkdir /etc/systemd/system/fdbrokerd.service.d && cat >/etc/systemd/system/fdbrokerd.service.d/local.conf",
    );
    sh("hunter2\n", "umask 077 && cat >/etc/fdbroker/orders.password");
    let programs = programs.display();
    let as_nobody = "setpriv --reuid=nobody --regid=nogroup --clear-groups";
    sh(
        "",
        &format!(
            "mkdir /run/cluster && chown nobody /run/cluster && {as_nobody} {programs}/initdb -D /run/cluster/data \
         --no-sync --auth=scram-sha-256 --auth-local=trust --locale=C -U superuser"
        ),
    );
    sh(
        "",
        &format!(
            "systemd-run --quiet --uid=nobody --unit=cluster {programs}/postgres -D /run/cluster/data \
         -c unix_socket_directories=/run/cluster -c fsync=off -c dynamic_shared_memory_type=mmap"
        ),
    );
    let role = "CREATE ROLE orders LOGIN PASSWORD 'hunter2'";
    let psql = format!("{programs}/psql -h /run/cluster -U superuser -d postgres");
    wait_until("the server runs", || {
        manager.run(&["sh", "-c", &format!("{psql} -c \"{role}\"")]).status.success()
    });
    // systemd mounts credentials in a namespace below its own. On a real machine they come through.
    manager.succeed(&["mount", "--make-rshared", "/"]);
    manager.succeed(&["systemctl", "daemon-reload"]);
    manager.succeed(&["systemctl", "start", SERVICE]);
    let got = manager.run(&["fdbroker", "get", "--json", "10/0"]);
    let said: Vec<_> =
        manager.journal(SERVICE).iter().map(|it| it["MESSAGE"].to_string()).collect();
    assert!(got.status.success(), "{got:?}: {said:#?}");
    manager.end();
}
