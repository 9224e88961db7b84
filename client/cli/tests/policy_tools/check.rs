//! `fdbroker check`: whether a policy is good.

use super::*;

#[test]
fn check_counts_what_it_found_good() {
    let place = Place::new();
    let policy = place.path("policy.toml");
    let said = place.says(0, &["check", policy.to_str().unwrap()]);
    assert!(
        said.ends_with("/policy.toml: ok: 2 tags, 1 resource, 4 rules, 1 test passed\n"),
        "{said}"
    );
    let rule = "version = 1\n[[rules]]\nallow = [\"get\"]\nslots = [\"web/0\"]\nuser = 7\n";
    place.write("policy.d/10.toml", rule);
    place.write("policy.d/README", "no policy");
    let said = place.says(0, &["check", policy.to_str().unwrap()]);
    assert!(said.ends_with("5 rules, 1 test passed, with 1 drop-in\n"), "{said}");
}

#[test]
fn check_without_a_file_checks_the_one_that_is_named_otherwise() {
    let place = Place::new();
    let said = place.says(0, &["check"]);
    assert!(said.contains("/policy.toml: ok: 2 tags"), "{said}");
    let other = place.write("other.toml", "version = 1\n[broker]\nuser = 64001\n");
    let said = place.says(0, &["check", "--policy", &other]);
    assert!(said.contains("/other.toml: ok: 0 tags"), "{said}");
    let policy = place.path("policy.toml");
    let said = place.says(0, &["check", "--policy", &other, policy.to_str().unwrap()]);
    assert!(said.contains("/policy.toml: ok") && !said.contains("other"), "{said}");
}

#[test]
fn check_names_the_drop_in_that_is_wrong() {
    let place = Place::new();
    place.write("policy.d/10.toml", "version = 1\n[tags.web]\nid = 11\n");
    let said = place.says(1, &["check", place.path("policy.toml").to_str().unwrap()]);
    assert!(
        said.contains("policy.d/10.toml:2:7: error") && said.contains("policy.toml:6:7: note"),
        "{said}"
    );
}

#[test]
fn check_fails_where_the_policys_own_tests_fail() {
    let place = Place::new();
    let policy = place.write("policy.toml", &POLICY.replace("\"granted\"", "\"refused\""));
    let said = place.says(1, &["check", &policy]);
    assert!(
        said.contains("this test fails: it is granted, by the rule \"root may get zero\""),
        "{said}"
    );
}

#[test]
fn check_notes_that_a_required_trail_takes_a_file() {
    let place = Place::new();
    let file =
        place.write("new.toml", &format!("{POLICY}[broker]\nuser = 4242\naudit = \"required\"\n"));
    let output = place.run(&["check", &file]);
    assert!(output.status.success());
    assert!(String::from_utf8_lossy(&output.stderr).contains("when started with --audit-file"));
}

#[test]
fn check_refuses_users_that_do_not_exist() {
    let place = Place::new();
    let rule = "version = 1\n[tags.a]\nid = 1\n[broker]\nuser = 4242\n\
                [[rules]]\ndeny = [\"get\"]\nslots = [\"a/0\"]\nuser = \"no-such-user\"\n";
    let said = place.says(1, &["check", &place.write("rule.toml", rule)]);
    assert!(said.contains("there is no user \"no-such-user\""), "{said}");
    let worker = format!("{POLICY}[broker]\nuser = \"no-such-user\"\n");
    let said = place.says(1, &["check", &place.write("worker.toml", &worker)]);
    assert!(said.contains("there is no user \"no-such-user\""), "{said}");
}

/// What check notes of a policy with a resource of these lines.
fn noted(place: &Place, lines: &str) -> String {
    let text =
        format!("{POLICY}[broker]\nuser = 4242\n[resources.db]\nslot = \"web/1\"\n{lines}\n");
    let output = place.run(&["check", &place.write("new.toml", &text)]);
    assert!(output.status.success(), "{output:?}");
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn check_notes_sockets_that_the_unit_does_not_see() {
    let place = Place::new();
    for path in ["/tmp/.s.PGSQL.5432", "/var/tmp/x/socket"] {
        let said = noted(&place, &format!("connect = \"unix:{path}\""));
        assert!(said.contains(path) && said.contains("PrivateTmp="), "{said}");
    }
    for address in ["unix:/run/x", "unix:/tmpfiles/x", "tcp:localhost:1"] {
        assert_eq!(noted(&place, &format!("connect = \"{address}\"")), "");
    }
}

#[test]
fn check_notes_sockets_that_any_user_could_make() {
    let place = Place::new();
    let connecting = |auth| format!("connect = \"unix:/dev/shm/orders/socket\"\n{auth}");
    let auth = "auth = { postgres = { user = \"orders\", password = \"credential:orders\" } }";
    let said = noted(&place, &connecting(auth));
    assert!(said.contains("any user may write \"/dev/shm\""), "{said}");
    assert_eq!(noted(&place, &connecting("")), "", "it is sent no password");
}

#[test]
fn check_notes_passwords_that_go_in_plain_text_to_another_machine() {
    let place = Place::new();
    let said = |address: &str, auth: &str| {
        let lines = format!("connect = \"{address}\"\nauth = {{ {auth} }}");
        noted(&place, &lines)
    };
    let remote = "tcp:db.example.net:7";
    let password = "password = \"credential:x\"";
    let script = format!("script = {{ {password}, steps = [\"send:PASS {{password}}\"] }}");
    let imap = format!("imap = {{ user = \"x\", {password} }}");
    let redis = format!("redis = {{ {password} }}");
    let postgres =
        |methods| format!("postgres = {{ user = \"x\", {password}, methods = [\"{methods}\"] }}");
    let proxy = |kind| format!("{kind} = {{ target = \"web:443\", user = \"x\", {password} }}");
    let (socks5, http_proxy) = (proxy("socks5"), proxy("http-proxy"));
    for auth in [&script, &imap, &redis, &postgres("password"), &socks5, &http_proxy] {
        let noted = said(remote, auth);
        let cure = if auth.contains("target") { "a proxy cannot" } else { "add `tls`" };
        assert!(noted.contains(&format!("in plain text; {cure}")), "{auth}: {noted}");
        for here in ["tcp:127.0.0.1:7", "tcp:[::1]:7", "tcp:localhost:7"] {
            assert!(!said(here, auth).contains("in plain text"), "{auth}");
        }
    }
    let mysql = format!("mysql = {{ user = \"x\", {password} }}");
    for auth in [&mysql, &postgres("scram-sha-256"), &"redis = {}".to_owned()] {
        assert_eq!(said(remote, auth), "", "{auth}");
    }
}

#[test]
fn check_notes_ports_where_any_user_can_listen_for_a_password() {
    let place = Place::new();
    let said = |address: &str, auth: &str, more: &str| {
        noted(&place, &format!("connect = \"{address}\"\nauth = {{ {auth} }}\n{more}"))
    };
    let password = "password = \"credential:x\"";
    let redis = format!("redis = {{ {password} }}");
    let proxy = format!("socks5 = {{ target = \"web:443\", user = \"x\", {password} }}");
    for here in ["tcp:127.0.0.1:6379", "tcp:[::1]:6379", "tcp:localhost:6379"] {
        let noted = said(here, &redis, "");
        assert!(noted.contains("any user of this machine can listen there"), "{noted}");
        assert!(noted.contains("Unix socket, or add `tls`"), "{noted}");
        assert!(said(here, &proxy, "").contains("connect to a Unix socket\n"));
        let scram = format!("postgres = {{ user = \"x\", {password} }}");
        assert_eq!(said(here, &scram, "") + &said(here, "redis = {}", ""), "");
    }
    let ca = place.write("good.pem", "-----BEGIN CERTIFICATE-----\n");
    let tls = format!("tls = {{ ca = \"{ca}\" }}");
    assert_eq!(said("tcp:localhost:6379", &redis, &tls), "");
    assert_eq!(said("unix:/run/redis/redis.sock", &redis, ""), "");
}

#[test]
fn check_notes_ports_that_expect_tls_at_another_moment() {
    let place = Place::new();
    let ca = place.write("good.pem", "-----BEGIN CERTIFICATE-----\n");
    let said = |port: u16, start: &str| {
        let lines = format!(
            "connect = \"tcp:mail.example.net:{port}\"\ntls = {{ ca = \"{ca}\"{start} }}\n\
             auth = {{ imap = {{ user = \"x\", password = \"credential:x\" }} }}"
        );
        noted(&place, &lines)
    };
    let starttls = ", start = \"starttls\"";
    assert!(said(993, starttls).contains("on port 993, TLS begins with the first byte"));
    assert!(
        said(143, "").contains("on port 143, a server is asked for TLS; add start = \"starttls\"")
    );
    for (port, start) in [(993, ""), (143, starttls), (1143, ""), (1143, starttls)] {
        assert_eq!(said(port, start), "", "{port}");
    }
}

#[test]
fn check_notes_scripts_without_a_variable_and_files_that_are_empty() {
    let place = Place::new();
    let script = |keys: &str, step: &str| {
        let lines = format!(
            "connect = \"tcp:localhost:7\"\nauth = {{ script = {{ {keys} steps = [\"{step}\"] }} }}"
        );
        noted(&place, &lines)
    };
    assert!(script("", "send:PASS hunter2").contains("if a password is written into one"));
    let with_user = script("user = \"x\",", "send:USER {user}\", \"send:PASS hunter2");
    assert!(with_user.contains("if a password is written into one"), "{with_user}");
    assert_eq!(
        script("password = \"file:/none\",", "send:PASS {password}").matches("written").count(),
        0
    );
    assert_eq!(script("", "expect:+OK"), "");
    let file = place.write("password", "\n");
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
    let auth = format!("auth = {{ redis = {{ password = \"file:{file}\" }} }}");
    let said = || noted(&place, &format!("connect = \"tcp:localhost:7\"\n{auth}"));
    assert!(said().contains("it is empty"), "{}", said());
    std::fs::write(&file, "hunter2\n\n").unwrap();
    let blank = said();
    assert!(blank.contains("/password\": the password begins or ends with"), "{blank}");
    assert!(!blank.contains("hunter2"), "{blank}");
    std::fs::write(&file, "hunter2\n").unwrap();
    assert_eq!(said(), "");
}

#[test]
fn check_notes_files_that_hold_no_certificate_and_no_key() {
    let place = Place::new();
    let certificate = place.write("good.pem", "-----BEGIN CERTIFICATE-----\n");
    let key = place.write("key.pem", "-----BEGIN PRIVATE KEY-----\n");
    let other = place.write("other", "hello\n");
    let said = |ca: &str, key: &str| {
        let tls = format!(
            "tls = {{ ca = \"{ca}\", client_certificate = \"{certificate}\", client_key = \"file:{key}\" }}"
        );
        noted(&place, &format!("connect = \"tcp:h:1\"\n{tls}"))
    };
    assert_eq!(said(&certificate, &key), "");
    let wrong = said(&other, &key);
    assert!(wrong.contains("/other\": it holds no certificate in PEM"), "{wrong}");
    let wrong = said(&certificate, &other);
    assert!(wrong.contains("/other\": it holds no private key in PEM"), "{wrong}");
    let encrypted = place.write("encrypted", "-----BEGIN ENCRYPTED PRIVATE KEY-----\n");
    assert!(said(&certificate, &encrypted).contains("has a passphrase"));
}
