//! Servers that speak TLS: whom the broker believes, what it shows of itself, and that nothing secret is left.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use fdbroker_tests::authority::{EXPIRED, NOT_YET_VALID, VALID};
use fdbroker_tests::postgres::select;
use fdbroker_tests::{
    Authority, Daemon, HelperProcess, Postgres, Redis, Signed, is_root, needs_root, process,
    wait_until,
};
use fdbroker_wire::Connection;
use fdbroker_wire::connection::{PEER, RELAY};

use crate::resource::{
    SLOT, There, connecting, connection, current_user, failure, in_time, logged_in, server, tcp,
};

/// Who has no right on any credential.
const CALLER: u32 = 64036;

/// Nobody gets in without TLS.
pub const ENCRYPTED: &str = "hostssl all all 127.0.0.1/32 scram-sha-256";
pub const HERE: &str = "IP:127.0.0.1";

/// Everybody may operate.
pub const OPERATORS: &str = "[[rules]]\nid = \"operators\"\nallow = [\"operate\"]\nanyone = true\n";

/// The line of the key `tls`.
pub fn tls(authority: &Path, keys: &str) -> String {
    format!("tls = {{ ca = \"{}\" {keys} }}", authority.display())
}

/// A broker that is logged in as `orders` with TLS.
pub fn daemon(server: &Postgres, authority: &Path, keys: &str) -> Daemon {
    let builder = Daemon::open();
    let password = builder.directory().private_file("password", "hunter2-geheim");
    let lines = format!("{}\n{OPERATORS}", tls(authority, keys));
    builder.policy(&policy(server, &password, &lines)).start()
}

fn policy(server: &Postgres, password: &Path, lines: &str) -> String {
    format!("{}{lines}\n", logged_in(&tcp(server.port()), password, ""))
}

/// A server with this certificate, and the role `orders`.
#[track_caller]
pub fn postgres(what: &str, authority: &Authority, signed: &Signed) -> Option<Postgres> {
    let server = Postgres::start_encrypted(what, ENCRYPTED, signed, &authority.certificate())?;
    server.execute("CREATE ROLE orders LOGIN PASSWORD 'hunter2-geheim'");
    Some(server)
}

/// An authority, and a server with a certificate of its for this machine.
#[track_caller]
pub fn encrypted(what: &str) -> Option<(Authority, Postgres)> {
    let authority = Authority::new(what)?;
    let signed = authority.sign("server", HERE, VALID);
    let server = postgres(what, &authority, &signed)?;
    Some((authority, server))
}

#[test]
fn an_unprivileged_caller_gets_an_encrypted_session_and_no_secret() {
    let what = "an unprivileged caller gets an encrypted session";
    let Some((authority, server)) = encrypted(what) else { return };
    let daemon = daemon(&server, &authority.certificate(), "");
    let caller = if is_root() { HelperProcess::user(CALLER) } else { HelperProcess::same() };
    let (socket, payload) = connection(caller.connect(&daemon).get(SLOT), &daemon);
    let connection = Connection::parse(&payload).unwrap();
    assert_eq!(connection.protocol(), "postgres");
    assert_eq!(connection.text(PEER).unwrap(), format!("tcp:127.0.0.1:{}", server.port()));
    assert_eq!(connection.text(RELAY), Some("relayed"));
    let asked = "SELECT current_user || ' ' || ssl || ' ' || version FROM pg_stat_ssl \
                 WHERE pid = pg_backend_pid()";
    let said = select(There(caller.keep(socket)), connection.early(), asked).unwrap();
    assert_eq!(said, "orders true TLSv1.3");
    assert!(!daemon.log().text().contains("geheim"));
    assert!(!String::from_utf8_lossy(&payload).contains("geheim"));
    let listed = daemon.says(&["list", "--json", "1"]);
    assert!(listed.contains(r#""kind":"unix""#), "{listed}");
    let shown: serde_json::Value =
        serde_json::from_str(&daemon.says(&["get", "--json", "1/5"])).unwrap();
    assert_eq!(shown["connection"]["relay"], "relayed");
}

#[test]
fn a_server_with_another_certificate_is_refused() {
    let what = "a server with another certificate is refused";
    let Some(authority) = Authority::new(what) else { return };
    let names = ["another authority", "authority"];
    let [other, namesake] = names.map(|name| Authority::named(what, name).unwrap());
    let ca = authority.certificate();
    let another_host = "certificate is for another host than the one in `connect`";
    let first = authority.sign("server", HERE, VALID);
    let Some(server) = postgres(what, &authority, &first) else { return };
    for (signed, mode, expected) in [
        (authority.sign("127.0.0.1", "IP:127.0.0.2,DNS:db", VALID), "verify-full", another_host),
        (authority.sign("127.0.0.1", "IP:127.0.0.2", VALID), "verify-ca", ""),
        (authority.sign("x", HERE, EXPIRED), "verify-full", "certificate has expired"),
        (authority.sign("x", HERE, EXPIRED), "verify-ca", "certificate has expired"),
        (authority.sign("x", HERE, NOT_YET_VALID), "verify-full", "is not valid yet"),
        (other.sign("x", HERE, VALID), "verify-full", "nobody in `ca` has signed"),
        (other.sign("x", HERE, VALID), "verify-ca", "nobody in `ca` has signed"),
        (namesake.sign("x", HERE, VALID), "verify-ca", "an authority that has not signed it"),
    ] {
        server.set_certificate(&signed);
        let (before, daemon) =
            (server.log().len(), daemon(&server, &ca, &format!(", mode = \"{mode}\"")));
        let answer = daemon.connect().get(SLOT);
        if expected.is_empty() {
            assert_eq!(current_user(answer, &daemon), "orders");
            continue;
        }
        assert_eq!(answer.errno(), libc::EIO);
        let said = failure(&daemon);
        assert!(said.contains("TLS failed after ") && said.contains(expected), "{said}");
        assert!(!server.log()[before..].contains("user=orders"), "it has logged in");
    }
}

#[test]
fn a_client_certificate_is_shown_to_a_server_that_asks_for_one() {
    let what = "a client certificate is shown";
    let Some(authority) = Authority::new(what) else { return };
    let signed = authority.sign("server", HERE, VALID);
    let Some(server) = postgres(what, &authority, &signed) else { return };
    server.set_access("hostssl all all 127.0.0.1/32 scram-sha-256 clientcert=verify-full");
    let ca = authority.certificate();
    let without = daemon(&server, &ca, "");
    assert_eq!(without.connect().get(SLOT).errno(), libc::EIO);
    let said = failure(&without);
    assert!(said.contains("\"connection requires a valid client certificate\""), "{said}");
    let shown = |signed: &Signed, key: &Path| {
        let certificate = signed.certificate.display();
        let key = key.display();
        let keys = format!(", client_certificate = \"{certificate}\", client_key = \"file:{key}\"");
        daemon(&server, &ca, &keys)
    };
    let [orders, another] = ["orders", "another"].map(|subject| authority.sign(subject, "", VALID));
    let with = shown(&orders, &orders.key);
    assert_eq!(current_user(with.connect().get(SLOT), &with), "orders");
    let with = shown(&another, &another.key);
    assert_eq!(with.connect().get(SLOT).errno(), libc::EIO);
    let said = failure(&with);
    // The reason is in the server's log alone.
    assert!(said.contains("the server says FATAL 28P01: "), "{said}");
    let with = shown(&orders, &another.key);
    assert_eq!(with.connect().get(SLOT).errno(), libc::EIO);
    let said = failure(&with);
    assert!(said.contains("`client_key` is not the key of `client_certificate`"), "{said}");
}

#[test]
fn a_client_key_is_kept_like_a_password() {
    let what = "a client key is kept like a password";
    let Some((authority, server)) = encrypted(what) else { return };
    let signed = authority.sign("orders", "", VALID);
    let (certificate, key) = (signed.certificate.display(), signed.key.display());
    let keys = format!(", client_certificate = \"{certificate}\", client_key = \"file:{key}\"");
    let daemon = daemon(&server, &authority.certificate(), &keys);
    let mut peer = daemon.connect();
    assert_eq!(current_user(peer.get(SLOT), &daemon), "orders");
    wait_until("its relay is gone", || process::helpers(daemon.supervisor_pid()).is_empty());
    let check = || daemon.run(&["check", daemon.policy_path().to_str().unwrap()]).err;
    assert!(!check().contains("orders"), "{}", check());
    let mode = |path: &Path, mode| {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    };
    mode(&signed.key, 0o640);
    assert_eq!(peer.get(SLOT).errno(), libc::EIO);
    let said = failure(&daemon);
    assert!(said.contains("others than its owner may use it (mode 0640)"), "{said}");
    assert!(check().contains("others than its owner may use it"), "{}", check());
    mode(&signed.key, 0o600);
    let ca = authority.certificate();
    mode(&ca, 0o666);
    assert_eq!(peer.get(SLOT).errno(), libc::EIO);
    let said = failure(&daemon);
    assert!(said.contains("others than its owner may write it (mode 0666)"), "{said}");
    assert!(check().contains("others than its owner may write it"), "{}", check());
    fs::remove_file(&ca).unwrap();
    assert!(check().contains("it cannot be opened: No such file"), "{}", check());
}

#[test]
fn a_client_key_is_in_no_memory_but_that_of_its_relay() {
    let what = "a client key is in no memory after the handshake";
    if !needs_root(what) {
        return;
    }
    let Some((authority, server)) = encrypted(what) else { return };
    let signed = authority.sign("orders", "", VALID);
    let (certificate, key) = (signed.certificate.display(), signed.key.display());
    let keys = format!(", client_certificate = \"{certificate}\", client_key = \"file:{key}\"");
    let daemon = daemon(&server, &authority.certificate(), &keys);
    let caller = HelperProcess::user(CALLER);
    let (socket, payload) = connection(caller.connect(&daemon).get(SLOT), &daemon);
    let _kept = caller.keep(socket);
    let pem = fs::read_to_string(&signed.key).unwrap();
    let line = pem.lines().nth(1).unwrap();
    assert!(process::is_in_memory(std::process::id(), line.as_bytes()), "this test finds nothing");
    for pid in [daemon.supervisor_pid(), daemon.worker_pid(), caller.pid()] {
        assert!(!process::is_in_memory(pid, line.as_bytes()), "{}", process::status(pid, "Name"));
    }
    assert!(!payload.windows(line.len()).any(|part| part == line.as_bytes()));
}

#[test]
fn a_server_without_tls_is_refused_and_told_nothing() {
    let what = "a server without TLS is refused";
    let Some(authority) = Authority::new(what) else { return };
    let Some(server) = Postgres::start(what, "host all all 127.0.0.1/32 trust") else { return };
    server.execute("CREATE ROLE orders LOGIN");
    let daemon = daemon(&server, &authority.certificate(), "");
    assert_eq!(daemon.connect().get(SLOT).errno(), libc::EIO);
    let said = failure(&daemon);
    assert!(said.contains("the server does not offer TLS: set `ssl = on` there"), "{said}");
    assert!(!server.log().contains("user=orders"), "it has logged in");
}

/// What the log says of a server that does this, once it was asked for TLS.
#[track_caller]
fn refused(what: &str, serve: impl Fn(std::net::TcpStream) + Send + Sync + 'static) -> String {
    let Some(authority) = Authority::new(what) else { return String::new() };
    let port = server(move |mut stream| {
        stream.read_exact(&mut [0; 8]).unwrap();
        serve(stream);
    });
    let builder = Daemon::open();
    let password = builder.directory().private_file("password", "geheim");
    let lines =
        format!("{}\n{}", crate::resource::auth(&password, ""), tls(&authority.certificate(), ""));
    let daemon = builder.policy(&in_time(&tcp(port), &lines, "3s")).start();
    assert!([libc::EIO, libc::ETIMEDOUT].contains(&daemon.connect().get(SLOT).errno()));
    let said = failure(&daemon);
    assert!(!daemon.log().text().contains("geheim"));
    said
}

#[test]
fn bytes_before_the_handshake_are_refused() {
    let what = "bytes before the handshake are refused";
    let said = refused(what, |mut stream| {
        stream.write_all(b"SE\0\0\0\x08").unwrap();
        drop(std::io::copy(&mut stream, &mut std::io::sink()));
    });
    assert!(
        said.is_empty() || said.contains("somebody sends bytes before the handshake"),
        "{said}"
    );
}

#[test]
fn a_server_that_stalls_or_lies_in_the_handshake_is_refused_in_time() {
    let what = "a server that stalls or lies in the handshake";
    let stalls = refused(what, |mut stream| {
        stream.write_all(b"S").unwrap();
        drop(std::io::copy(&mut stream, &mut std::io::sink()));
    });
    assert!(stalls.is_empty() || stalls.contains("TLS timed out after "), "{stalls}");
    let lies = refused(what, |mut stream| {
        stream.write_all(b"S").unwrap();
        stream.read_exact(&mut [0; 5]).unwrap();
        stream.write_all(&[b'x'; 1 << 16]).unwrap();
        drop(std::io::copy(&mut stream, &mut std::io::sink()));
    });
    assert!(lies.is_empty() || lies.contains("the server does not speak TLS"), "{lies}");
    let floods = refused(what, |mut stream| {
        stream.write_all(b"S").unwrap();
        stream.read_exact(&mut [0; 5]).unwrap();
        // A handshake message of 16 MiB, in records that are as long as may be.
        let record = [&b"\x16\x03\x03\x40\0\x02\xff\xff\xff"[..], &[0; 0x4000 - 4]].concat();
        while stream.write_all(&record).is_ok() {}
    });
    assert!(floods.is_empty() || floods.contains("TLS failed after "), "{floods}");
}

#[test]
fn redis_speaks_tls_from_the_first_byte() {
    let what = "Redis speaks TLS from the first byte";
    let Some(authority) = Authority::new(what) else { return };
    let signed = authority.sign("server", HERE, VALID);
    let ca = authority.certificate();
    let settings = ["--user", "orders", "on", ">hunter2-geheim", "~*", "+@all"];
    let Some(server) = Redis::start_encrypted(what, &settings, &signed, &ca) else { return };
    let daemon = |keys: &str| {
        let builder = Daemon::open();
        let path = builder.directory().private_file("password", "hunter2-geheim");
        let auth = format!(
            "auth = {{ redis = {{ user = \"orders\", password = \"file:{}\" }} }}",
            path.display()
        );
        let lines = format!("{auth}\n{}", tls(&ca, keys));
        builder.policy(&connecting(&tcp(server.port()), &lines)).start()
    };
    let client = authority.sign("orders", "", VALID);
    let with = daemon(&format!(
        ", client_certificate = \"{}\", client_key = \"file:{}\"",
        client.certificate.display(),
        client.key.display()
    ));
    let (stream, payload) = connection(with.connect().get(SLOT), &with);
    let session = Connection::parse(&payload).unwrap();
    assert_eq!((session.protocol(), session.text(RELAY)), ("redis", Some("relayed")));
    assert_eq!(Redis::ask(stream, session.early(), "ACL WHOAMI").unwrap(), "orders");
    let without = daemon("");
    assert_eq!(without.connect().get(SLOT).errno(), libc::EIO);
    let said = failure(&without);
    assert!(said.contains("the server asks for a certificate: add `client_certificate`"), "{said}");
}

#[test]
fn connections_that_are_ready_are_made_again_when_a_certificate_changes() {
    let what = "connections that are ready are made again when a certificate changes";
    let Some((authority, server)) = encrypted(what) else { return };
    let builder = Daemon::open();
    let password = builder.directory().private_file("password", "hunter2-geheim");
    let ca = builder.directory().file("ca.pem", fs::read(authority.certificate()).unwrap(), 0o644);
    let lines = format!("{}\nready = 1", tls(&ca, ""));
    let daemon = builder.policy(&policy(&server, &password, &lines)).start();
    let sessions =
        || server.execute("SELECT pid FROM pg_stat_activity WHERE usename = 'orders' ORDER BY pid");
    wait_until("one is ready", || !sessions().is_empty());
    let first = sessions();
    // The same, written again.
    fs::write(&ca, fs::read(authority.certificate()).unwrap()).unwrap();
    wait_until("another one is ready", || !sessions().is_empty() && sessions() != first);
    assert_eq!(current_user(daemon.connect().get(SLOT), &daemon), "orders");
}
