//! Connections to a real PostgreSQL server.

use std::fs;
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::Path;

use fdbroker_tests::postgres::select;
use fdbroker_tests::{Answer, Daemon, HelperProcess, Postgres, is_root, process, wait_until};
use fdbroker_wire::connection::{BACKEND_KEY, BACKEND_PID, PEER, RELAY, TRANSACTION};

use crate::resource::{
    SLOT, There, connection, current_user, daemon, failure, logged_in, tcp, unix,
};

/// Who has no right on any credential.
const CALLER: u32 = 64031;

const SCRAM: &str = "host all all 127.0.0.1/32 scram-sha-256\nlocal all all scram-sha-256";

#[test]
fn an_unprivileged_caller_gets_a_session_and_no_password() {
    let what = "an unprivileged caller gets a session and no password";
    let Some(server) = Postgres::start(what, SCRAM) else { return };
    server.execute("CREATE ROLE orders LOGIN PASSWORD 'hunter2-geheim'");
    let daemon = daemon(&tcp(server.port()), "hunter2-geheim\n", "");
    let caller = if is_root() { HelperProcess::user(CALLER) } else { HelperProcess::same() };
    if is_root() {
        let password = caller.open(&daemon.directory().join("password"), false);
        assert_eq!(password.unwrap_err().raw_os_error(), Some(libc::EACCES));
    }
    let (socket, payload) = connection(caller.connect(&daemon).get(SLOT), &daemon);
    let connection = fdbroker_wire::Connection::parse(&payload).unwrap();
    assert_eq!(connection.protocol(), "postgres");
    assert_eq!(connection.text(PEER).unwrap(), format!("tcp:127.0.0.1:{}", server.port()));
    assert_eq!(connection.text(RELAY), Some("direct"));
    assert!(connection.parameter("server_version").unwrap().starts_with(char::is_numeric));
    assert_eq!(connection.get(BACKEND_KEY).unwrap().len(), 4);
    assert_eq!(connection.text(TRANSACTION), Some("I"));
    let there = There(caller.keep(socket));
    let asked = "SELECT current_user || ' ' || pg_backend_pid()";
    let said = select(there, connection.early(), asked).unwrap();
    assert_eq!(said, format!("orders {}", connection.text(BACKEND_PID).unwrap()));
    assert!(!daemon.log().text().contains("geheim"));
    assert!(!String::from_utf8_lossy(&payload).contains("geheim"));
    wait_until("the helper is gone", || process::helpers(daemon.supervisor_pid()).is_empty());
}

#[test]
fn the_command_shows_a_connection_without_its_key() {
    let what = "the command shows a connection without its key";
    let Some(server) = Postgres::start(what, SCRAM) else { return };
    server.execute("CREATE ROLE orders LOGIN PASSWORD 'hunter2'");
    let daemon = daemon(&tcp(server.port()), "hunter2", "");
    let shown: serde_json::Value =
        serde_json::from_str(&daemon.says(&["get", "--json", "1/5"])).unwrap();
    let connection = &shown["connection"];
    assert_eq!(connection["protocol"], "postgres");
    assert_eq!(connection["user"], "orders");
    assert_eq!(connection["parameters"]["client_encoding"], "UTF8");
    assert!(connection["backend.pid"].is_string() && connection.get("backend.key").is_none());
    assert!(shown.get("payload").is_none() && shown.get("payload_hex").is_none(), "{shown}");
}

#[test]
fn each_caller_gets_a_session_of_its_own_also_over_a_unix_socket() {
    let what = "each caller gets a session of its own, also over a Unix socket";
    let Some(server) = Postgres::start(what, SCRAM) else { return };
    server.execute("CREATE ROLE orders LOGIN PASSWORD 'hunter2'");
    let daemon = daemon(&format!("[\"tcp:127.0.0.1:1\", {}]", unix(&server)), "hunter2", "");
    let mut peer = daemon.connect();
    let sessions: Vec<_> = (0..2)
        .map(|_| {
            let (socket, payload) = connection(peer.get(SLOT), &daemon);
            let connection = fdbroker_wire::Connection::parse(&payload).unwrap();
            assert_eq!(
                connection.text(PEER).unwrap(),
                format!("unix:{}", server.socket().display())
            );
            let stream = UnixStream::from(OwnedFd::from(socket));
            let said = select(&stream, connection.early(), "SELECT pg_backend_pid()").unwrap();
            (said, stream)
        })
        .collect();
    assert_ne!(sessions[0].0, sessions[1].0);
}

#[test]
fn other_methods_than_scram_are_used_only_if_the_policy_names_them() {
    let what = "other methods than SCRAM are used only if the policy names them";
    let Some(server) = Postgres::start(what, SCRAM) else { return };
    server.execute("SET password_encryption = md5; CREATE ROLE orders LOGIN PASSWORD 'hunter2'");
    for method in ["md5", "password"] {
        server.set_access(&format!("host all all 127.0.0.1/32 {method}"));
        let daemon = daemon(&tcp(server.port()), "hunter2", "");
        assert_eq!(daemon.connect().get(SLOT).errno(), libc::EIO);
        let said = failure(&daemon);
        let expected =
            format!("the server asks for the method {method}, which `methods` does not allow");
        assert!(said.contains(&expected), "{said}");
        let path = daemon.directory().join("password");
        daemon.reload(&logged_in(
            &tcp(server.port()),
            &path,
            &format!(", methods = [\"{method}\"]"),
        ));
        assert_eq!(current_user(daemon.connect().get(SLOT), &daemon), "orders");
    }
    server.set_access("host all all 127.0.0.1/32 trust");
    let daemon = daemon(&tcp(server.port()), "hunter2", "");
    assert_eq!(current_user(daemon.connect().get(SLOT), &daemon), "orders");
}

#[test]
fn a_refusal_of_the_server_is_told_to_the_administrator_alone() {
    let what = "a refusal of the server is told to the administrator alone";
    let Some(server) = Postgres::start(what, SCRAM) else { return };
    server.execute("CREATE ROLE orders LOGIN PASSWORD 'right'");
    let daemon = daemon(&tcp(server.port()), "wrong-geheim", "");
    let mut peer = daemon.connect();
    let Answer::Failed(errno, text) = peer.get(SLOT) else { panic!("it is logged in") };
    assert_eq!((errno, text.as_str()), (libc::EIO, "the resource cannot be opened"));
    let said = failure(&daemon);
    let expected =
        r#"the server says FATAL 28P01: "password authentication failed for user \"orders\"""#;
    assert!(said.contains(expected) && said.contains("log-in failed after "), "{said}");
    assert!(!daemon.log().text().contains("geheim"));
    // The next one has the password as it is then.
    fs::write(daemon.directory().join("password"), "right").unwrap();
    assert_eq!(current_user(peer.get(SLOT), &daemon), "orders");
    server.execute("ALTER ROLE orders PASSWORD 'rotated'");
    assert_eq!(peer.get(SLOT).errno(), libc::EIO);
    fs::write(daemon.directory().join("password"), "rotated").unwrap();
    assert_eq!(current_user(peer.get(SLOT), &daemon), "orders");
    server.set_access("host all all 127.0.0.1/32 reject");
    assert_eq!(peer.get(SLOT).errno(), libc::EIO);
    let said = failure(&daemon);
    assert!(
        said.contains("the server says FATAL 28000: \"pg_hba.conf rejects connection"),
        "{said}"
    );
}

#[test]
fn a_refusal_of_the_server_says_what_to_do() {
    let what = "a refusal of the server says what to do";
    let Some(server) = Postgres::start(what, "host all all 127.0.0.1/32 trust") else { return };
    server.execute("CREATE ROLE orders LOGIN");
    let daemon = daemon(&tcp(server.port()), "hunter2", "");
    let says = |sentence: &str| {
        assert_eq!(daemon.connect().get(SLOT).errno(), libc::EIO);
        daemon.log().wait_for(sentence, |line| line.reason.contains(sentence));
    };
    server.execute("ALTER ROLE orders CONNECTION LIMIT 0");
    says("FATAL 53300: \"too many connections for role \\\"orders\\\"\"; raise `max_connections`");
    server.execute("ALTER ROLE orders NOLOGIN CONNECTION LIMIT -1");
    says("permitted to log in\"; see whether the role may log in");
    server.execute("ALTER ROLE orders LOGIN");
    let policy = logged_in(&tcp(server.port()), &daemon.directory().join("password"), "");
    daemon.reload(&policy.replace("database = \"postgres\"", "database = \"nope\""));
    says("FATAL 3D000: \"database \\\"nope\\\" does not exist\"; correct `database`");
}

#[test]
fn a_credential_that_others_may_read_is_not_used() {
    let what = "a credential that others may read is not used";
    let Some(server) = Postgres::start(what, SCRAM) else { return };
    server.execute("CREATE ROLE orders LOGIN PASSWORD 'hunter2'");
    let builder = Daemon::open();
    let path = builder.directory().file("password", "hunter2", 0o644);
    let daemon = builder.policy(&logged_in(&tcp(server.port()), &path, "")).start();
    assert_eq!(daemon.connect().get(SLOT).errno(), libc::EIO);
    let said = failure(&daemon);
    assert!(said.contains("others than its owner may use it (mode 0644): chmod 600"), "{said}");
    assert!(!server.log().contains("user=orders"), "it has connected");
}

#[test]
fn a_credential_of_the_service_manager_is_found_by_its_name() {
    let what = "a credential of the service manager is found by its name";
    let Some(server) = Postgres::start(what, SCRAM) else { return };
    server.execute("CREATE ROLE orders LOGIN PASSWORD 'hunter2'");
    let builder = Daemon::open();
    let directory = builder.directory().join("credentials");
    fs::create_dir(&directory).unwrap();
    builder.directory().file("credentials/orders", "hunter2", 0o400);
    let policy =
        logged_in(&tcp(server.port()), Path::new("/"), "").replace("file:/", "credential:orders");
    let builder = builder.policy(&policy).environment("CREDENTIALS_DIRECTORY", &directory);
    let daemon = builder.start();
    assert_eq!(current_user(daemon.connect().get(SLOT), &daemon), "orders");
}

#[test]
fn a_session_outlives_the_broker_and_a_changed_password() {
    let what = "a session outlives the broker and a changed password";
    let Some(server) = Postgres::start(what, SCRAM) else { return };
    server.execute("CREATE ROLE orders LOGIN PASSWORD 'hunter2'");
    let mut daemon = daemon(&tcp(server.port()), "hunter2", "");
    let listed = daemon.says(&["list", "--json", "1"]);
    assert!(listed.contains(r#""kind":"tcp""#), "{listed}");
    let (socket, payload) = connection(daemon.connect().get(SLOT), &daemon);
    let early = fdbroker_wire::Connection::parse(&payload).unwrap().early().to_vec();
    let asked = "SELECT current_user || ' ' || pg_backend_pid()";
    let before = select(&socket, &early, asked).unwrap();
    daemon.kill_both();
    server.execute("ALTER ROLE orders PASSWORD 'another'");
    assert_eq!(select(&socket, b"", asked).unwrap(), before);
}

#[test]
fn a_password_goes_to_no_socket_that_any_user_could_make() {
    let what = "a password goes to no socket that any user could make";
    let Some(server) = Postgres::start(what, SCRAM) else { return };
    server.execute("CREATE ROLE orders LOGIN PASSWORD 'hunter2'");
    let daemon = daemon(&unix(&server), "hunter2", "");
    let directory = server.socket().parent().unwrap().to_owned();
    let with_mode = |mode| {
        fs::set_permissions(&directory, fs::Permissions::from_mode(mode)).unwrap();
        daemon.connect().get(SLOT)
    };
    for open in [0o777, 0o1777] {
        assert_eq!(with_mode(open).errno(), libc::EIO, "{open:o}");
        let said = failure(&daemon);
        let cure = "move it where only the server's user may write";
        let names = format!("any user may write \"{}\"", directory.display());
        assert!(said.contains(&names) && said.contains(cure), "{said}");
    }
    assert_eq!(current_user(with_mode(0o2775), &daemon), "orders", "as Debian's directory");
    assert!(!server.log().contains("hunter2"));
}
