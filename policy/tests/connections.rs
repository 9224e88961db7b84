//! What the keys of a connection come to once a policy is loaded.

mod support;

use std::time::Duration;

use fdbroker_policy::{
    Auth, ClientCertificate, ConnectSource, Credential, Kind, MysqlAuth, MysqlMethod, Opening,
    PostgresAuth, PostgresMethod, ProgramAuth, ProxyAuth, ProxyTarget, Resource, ServerAddress,
    Source, Tls, TlsMode, TlsStart,
};
use support::load_one;

/// The resource that these lines make.
#[track_caller]
fn resource(lines: &str) -> Resource {
    let text =
        format!("version = 1\n[tags.a]\nid = 1\n[resources.orders]\nslot = \"a/0\"\n{lines}\n");
    let policy = load_one("policy.toml", &text).unwrap_or_else(|findings| panic!("{findings}"));
    policy.resources()[0].clone()
}

fn tcp(host: &str, port: u16) -> ServerAddress {
    ServerAddress::Tcp { host: host.to_owned(), port }
}

#[test]
fn every_key_of_a_connection_is_read() {
    let full = resource(
        "connect = [\"tcp:db.example.net:5432\", \"tcp:[::1]:1\", \"unix:/run/x\"]\nopen_timeout = \"3s\"\n\
         source = \"192.0.2.7\"\nconnect_timeout = \"100ms\"\nkeep_alive = \"1h\"\nuser_timeout = \"2m\"\n\
         auth.postgres = { user = \"orders\", database = \"shop\", password = \"credential:key\", \
         methods = [\"password\", \"md5\", \"md5\"] }",
    );
    let connect = ConnectSource {
        addresses: vec![
            tcp("db.example.net", 5432),
            tcp("::1", 1),
            ServerAddress::Unix("/run/x".to_owned()),
        ],
        source: Some("192.0.2.7".parse().unwrap()),
        connect_timeout: Duration::from_millis(100),
        keep_alive: Duration::from_secs(3600),
        user_timeout: Duration::from_secs(120),
        tls: None,
        auth: Some(Auth::Postgres(PostgresAuth {
            user: "orders".to_owned(),
            database: "shop".to_owned(),
            password: Some(Credential::Named("key".to_owned())),
            methods: vec![PostgresMethod::Cleartext, PostgresMethod::Md5],
        })),
    };
    assert_eq!(full.source, Source::Connect(connect));
    assert_eq!((full.source.descriptor_kind(), full.opening), (None, Opening::PerRequest));
    let entries = full.source.entries();
    let entry = |name| entries.iter().find(|(found, _)| *found == name).unwrap().1.as_str();
    assert_eq!(entry("connect"), "tcp:db.example.net:5432, tcp:[::1]:1, unix:/run/x");
    let auth =
        "postgres user \"orders\" database \"shop\" password credential:key by password, md5";
    assert_eq!(entry("auth"), auth);
}

#[test]
fn what_a_connection_does_not_say_is_as_on_the_page() {
    let bare = resource("connect = \"unix:/run/x\"\nauth = { postgres = { user = \"orders\" } }");
    let connect = ConnectSource {
        addresses: vec![ServerAddress::Unix("/run/x".to_owned())],
        source: None,
        connect_timeout: Duration::from_secs(5),
        keep_alive: Duration::from_secs(60),
        user_timeout: Duration::from_secs(60),
        tls: None,
        auth: Some(Auth::Postgres(PostgresAuth {
            user: "orders".to_owned(),
            database: "orders".to_owned(),
            password: None,
            methods: vec![PostgresMethod::ScramSha256],
        })),
    };
    assert_eq!(bare.source, Source::Connect(connect));
    assert_eq!(bare.source.descriptor_kind(), Some(Kind::Unix));
    assert_eq!(bare.open_timeout, Duration::from_secs(10));
}

/// The log-in that these keys of a table `auth` make.
#[track_caller]
fn auth(keys: &str) -> Auth {
    let resource = resource(&format!("connect = \"tcp:proxy:1080\"\nauth = {{ {keys} }}"));
    let Source::Connect(connect) = resource.source else { panic!("no connection") };
    connect.auth.expect("there is a log-in")
}

#[test]
fn a_proxy_has_a_target_and_perhaps_a_user() {
    let keys = "target = \"web.example.net:443\", user = \"u x\", password = \"credential:key\"";
    let target = |host: &str, port| ProxyTarget { host: host.to_owned(), port };
    let full = ProxyAuth {
        target: target("web.example.net", 443),
        user: Some("u x".to_owned()),
        password: Some(Credential::Named("key".to_owned())),
    };
    let socks5 = auth(&format!("socks5 = {{ {keys} }}"));
    assert_eq!(
        socks5.to_string(),
        "socks5 target web.example.net:443 user \"u x\" password credential:key"
    );
    assert_eq!(socks5, Auth::Socks5(full.clone()));
    let http = auth(&format!("http-proxy = {{ {keys} }}"));
    assert_eq!(
        http.to_string(),
        "http-proxy target web.example.net:443 user \"u x\" password credential:key"
    );
    assert_eq!(http, Auth::HttpProxy(full));
    let bare = auth("socks5 = { target = \"[::1]:80\" }");
    assert_eq!(bare.to_string(), "socks5 target [::1]:80");
    let expected = ProxyAuth { target: target("::1", 80), user: None, password: None };
    assert_eq!(bare, Auth::Socks5(expected));
}

/// What these keys of a table `tls` mean.
#[track_caller]
fn tls(keys: &str) -> ConnectSource {
    let resource = resource(&format!("connect = \"tcp:h:1\"\ntls = {{ {keys} }}"));
    let kind = resource.source.descriptor_kind();
    let Source::Connect(connect) = resource.source else { panic!("no connection") };
    let may_be_handed_over = connect.tls.as_ref().is_some_and(|tls| tls.kernel);
    assert_eq!(kind, if may_be_handed_over { None } else { Some(Kind::Unix) });
    connect
}

#[test]
fn tls_verifies_everything_unless_the_policy_says_so() {
    let bare = tls("ca = \"/etc/ca.pem\"");
    let start = TlsStart::Implicit;
    let ca = "/etc/ca.pem".to_owned();
    let mode = TlsMode::VerifyFull;
    let expected = Tls { mode, start, ca, client: None, kernel: false };
    assert_eq!(bare.tls, Some(Box::new(expected)));
    assert_eq!(bare.credentials().count(), 0);
    let full =
        tls("mode = \"verify-ca\", ca = \"/etc/ca.pem\", client_certificate = \"/etc/own.pem\", \
         client_key = \"credential:own\"");
    let key = Credential::Named("own".to_owned());
    assert_eq!(full.credentials().collect::<Vec<_>>(), [&key]);
    let client = ClientCertificate { chain: "/etc/own.pem".to_owned(), key };
    let tls = full.tls.unwrap();
    assert_eq!((tls.mode, &tls.client), (TlsMode::VerifyCa, &Some(client)));
    assert_eq!(
        tls.to_string(),
        "verify-ca ca \"/etc/ca.pem\" client_certificate \"/etc/own.pem\" client_key credential:own"
    );
}

#[test]
fn tls_begins_with_the_first_byte_or_after_starttls() {
    for (kind, start, expected) in [
        ("smtp", "implicit", "verify-full ca"),
        ("smtp", "starttls", "verify-full start starttls ca"),
        ("imap", "starttls", "verify-full start starttls ca"),
    ] {
        let lines = format!(
            "connect = \"tcp:h:1\"\ntls = {{ ca = \"/etc/ca.pem\", start = \"{start}\" }}\n\
             auth = {{ {kind} = {{ user = \"u\", password = \"credential:key\" }} }}"
        );
        let Source::Connect(connect) = resource(&lines).source else { panic!("no connection") };
        assert_eq!(connect.tls.unwrap().to_string(), format!("{expected} \"/etc/ca.pem\""));
    }
}

#[test]
fn the_kernel_encrypts_only_if_the_policy_says_so() {
    let tls = tls("ca = \"/etc/ca.pem\", kernel = true").tls.unwrap();
    assert!(tls.kernel);
    assert_eq!(tls.to_string(), "verify-full ca \"/etc/ca.pem\" by the kernel");
}

#[test]
fn a_mysql_server_may_ask_by_the_methods_that_are_named() {
    let bare = auth("mysql = { user = \"u x\" }");
    assert_eq!(bare.to_string(), "mysql user \"u x\"");
    let methods = vec![MysqlMethod::CachingSha2Password];
    let user = "u x".to_owned();
    let expected = MysqlAuth { user, database: None, password: None, methods };
    assert_eq!(bare, Auth::Mysql(expected));
    let full = auth(
        "mysql = { user = \"u\", database = \"d\", password = \"file:/etc/key\", \
         methods = [\"mysql_native_password\", \"mysql_native_password\"] }",
    );
    let expected =
        "mysql user \"u\" database \"d\" password file:/etc/key by mysql_native_password";
    assert_eq!(full.to_string(), expected);
}

#[test]
fn a_mail_server_has_a_user_and_a_password() {
    let login = "user = \"u x\", password = \"credential:key\"";
    let smtp = auth(&format!("smtp = {{ {login} }}"));
    let expected = "smtp user \"u x\" client_name \"localhost\" password credential:key";
    assert_eq!(smtp.to_string(), expected);
    let named = auth(&format!("smtp = {{ {login}, client_name = \"[192.0.2.7]\" }}"));
    assert!(named.to_string().contains(" client_name \"[192.0.2.7]\" "), "{named}");
    let imap = auth(&format!("imap = {{ {login} }}"));
    assert_eq!(imap.to_string(), "imap user \"u x\" password credential:key");
}

#[test]
fn a_script_has_steps_and_what_they_send() {
    let keys = "protocol = \"nntp\", user = \"shop\", password = \"credential:mail\"";
    let script = auth(&format!(
        "script = {{ {keys}, steps = [\"expect:220 \", \"send:AUTH PLAIN {{plain}}\"] }}"
    ));
    assert_eq!(script.to_string(), "script nntp of 2 steps user \"shop\" password credential:mail");
    assert_eq!((script.name(), script.protocol()), ("script", "nntp"));
    assert_eq!(auth("script = { steps = [\"expect:+OK\"] }").protocol(), "script");
}

#[test]
fn a_password_is_named_by_where_it_is_kept() {
    let password = |text: &str| {
        let auth = format!("auth.postgres = {{ user = \"u\", password = \"{text}\" }}");
        let resource = resource(&format!("connect = \"tcp:127.0.0.1:1\"\n{auth}"));
        let Source::Connect(connect) = resource.source else { panic!("no connection") };
        connect.credentials().next().cloned()
    };
    assert_eq!(password("credential:a.b"), Some(Credential::Named("a.b".to_owned())));
    assert_eq!(password("file:/etc/key"), Some(Credential::File("/etc/key".to_owned())));
}

#[test]
fn what_is_no_address_name_or_place_is_refused() {
    let address = |text: &str| format!("connect = \"{text}\"");
    let password = |text: &str| {
        format!("connect = \"tcp:h:1\"\nauth.postgres = {{ user = \"u\", password = \"{text}\" }}")
    };
    let wrong = [
        "",
        "h:1",
        "tcp:",
        "tcp:h",
        "tcp:h:",
        "tcp:h:0",
        "tcp:h:65536",
        "tcp:h:+1",
        "tcp::1",
        "tcp:a b:1",
        "tcp:::1:1",
        "tcp:[::1:1",
        "tcp:[h]:1",
        "tcp:a/b:1",
        "unix:",
        "unix:x",
        "unix:/a/../b",
        "http://h",
    ];
    let places = [
        "hunter2",
        "credential:",
        "credential:a/b",
        "credential:..",
        "file:",
        "file:key",
        "env:KEY",
    ];
    let long = format!("unix:/{}", "x".repeat(107));
    let lines = wrong.iter().copied().chain([&*long]).map(address);
    for lines in lines.chain(places.iter().copied().map(password)) {
        let text =
            format!("version = 1\n[tags.a]\nid = 1\n[resources.r]\nslot = \"a/0\"\n{lines}\n");
        let findings = load_one("policy.toml", &text).expect_err(&lines);
        assert_eq!(findings.iter().count(), 1, "{findings}");
    }
}

#[test]
fn a_program_is_a_command_alone_or_a_table() {
    let program = |command: &[&str], protocol: &str, user: Option<&str>, password| ProgramAuth {
        command: command.iter().map(|word| (*word).to_owned()).collect(),
        protocol: protocol.to_owned(),
        user: user.map(str::to_owned),
        password,
    };
    let alone = auth("program = [\"/usr/libexec/log-in\", \"a b\"]");
    let command = ["/usr/libexec/log-in", "a b"];
    assert_eq!(alone, Auth::Program(program(&command, "program", None, None)));
    assert_eq!(alone.to_string(), "program program by \"/usr/libexec/log-in\" \"a b\"");
    let full = auth(
        "program = { command = [\"/x\"], protocol = \"amqp\", user = \"u\", \
         password = \"file:/etc/key\" }",
    );
    let key = Credential::File("/etc/key".to_owned());
    assert_eq!((full.name(), full.protocol()), ("program", "amqp"));
    assert_eq!(full, Auth::Program(program(&["/x"], "amqp", Some("u"), Some(key))));
    assert_eq!(full.to_string(), "program amqp by \"/x\" user \"u\" password file:/etc/key");
}
