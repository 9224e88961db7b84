//! Connections through real proxies to a web server behind them.

use std::io::{BufRead, BufReader, Read, Write};

use fdbroker_tests::port::own_port;
use fdbroker_tests::{Builder, Daemon, HelperProcess, Proxy, is_root};
use fdbroker_wire::Connection;
use fdbroker_wire::connection::{BOUND, PEER, TARGET, USER};

use crate::resource::{SLOT, There, connecting, connection, failure, server, tcp};

/// Who has no right on any credential.
const CALLER: u32 = 64035;
pub const LOGIN: Option<(&str, &str)> = Some(("orders", "hunter2-geheim"));

/// A web server that says where a request went. Returns its port.
pub fn web_server() -> u16 {
    server(|stream| {
        let mut lines = BufReader::new(&stream).lines();
        // A proxy that only tried has sent nothing.
        let Some(Ok(request)) = lines.next() else { return };
        let _ = lines.take_while(|line| line.as_ref().is_ok_and(|line| !line.is_empty())).count();
        let answer = format!("HTTP/1.0 200 OK\r\nConnection: close\r\n\r\nyou asked: {request}");
        (&stream).write_all(answer.as_bytes()).unwrap();
    })
}

/// A port that nobody listens on.
pub fn closed_port() -> u16 {
    own_port()
}

/// A policy by which the broker logs in to the proxy.
pub fn policy(
    builder: &Builder,
    kind: &str,
    proxy: &Proxy,
    target: &str,
    password: &str,
) -> String {
    let path = builder.directory().private_file("password", password);
    let login = format!("user = \"orders\", password = \"file:{}\"", path.display());
    connecting(
        &tcp(proxy.port()),
        &format!("auth = {{ {kind} = {{ target = \"{target}\", {login} }} }}"),
    )
}

fn daemon(kind: &str, proxy: &Proxy, target: &str, password: &str) -> Daemon {
    let builder = Daemon::open();
    let policy = policy(&builder, kind, proxy, target, password);
    builder.policy(&policy).start()
}

/// Has another user reach the web server, and looks at what it was told.
#[track_caller]
fn reaches_the_web(daemon: &Daemon, kind: &str, proxy: &Proxy, target: &str) -> Vec<u8> {
    let caller = if is_root() { HelperProcess::user(CALLER) } else { HelperProcess::same() };
    if is_root() {
        let password = caller.open(&daemon.directory().join("password"), false);
        assert_eq!(password.unwrap_err().raw_os_error(), Some(libc::EACCES));
    }
    let (socket, payload) = connection(caller.connect(daemon).get(SLOT), daemon);
    let told = Connection::parse(&payload).unwrap();
    assert_eq!(told.protocol(), kind);
    assert_eq!(told.text(PEER).unwrap(), format!("tcp:127.0.0.1:{}", proxy.port()));
    assert_eq!(told.text(TARGET), Some(target));
    let mut there = There(caller.keep(socket));
    there.write_all(b"GET /page HTTP/1.0\r\n\r\n").unwrap();
    let mut said = String::from_utf8(told.early().to_vec()).unwrap();
    there.read_to_string(&mut said).unwrap();
    assert!(said.ends_with("you asked: GET /page HTTP/1.0"), "{said}");
    assert!(!daemon.log().text().contains("geheim"));
    assert!(!String::from_utf8_lossy(&payload).contains("geheim"));
    payload
}

#[test]
fn an_unprivileged_caller_reaches_a_server_through_an_http_proxy() {
    let what = "an unprivileged caller reaches a server through an HTTP proxy";
    let Some(proxy) = Proxy::http(what, LOGIN) else { return };
    let web = web_server();
    for host in ["127.0.0.1", "localhost"] {
        let target = format!("{host}:{web}");
        let daemon = daemon("http-proxy", &proxy, &target, "hunter2-geheim\n");
        let payload = reaches_the_web(&daemon, "http-proxy", &proxy, &target);
        assert_eq!(Connection::parse(&payload).unwrap().text(USER), Some("orders"));
    }
}

#[test]
fn an_http_proxy_that_asks_for_no_password_is_used_as_it_is() {
    let what = "an HTTP proxy that asks for no password is used as it is";
    let Some(proxy) = Proxy::http(what, None) else { return };
    let target = format!("127.0.0.1:{}", web_server());
    let daemon = daemon("http-proxy", &proxy, &target, "hunter2-geheim");
    reaches_the_web(&daemon, "http-proxy", &proxy, &target);
    let policy = format!("auth = {{ http-proxy = {{ target = \"{target}\" }} }}");
    daemon.reload(&connecting(&tcp(proxy.port()), &policy));
    let payload = reaches_the_web(&daemon, "http-proxy", &proxy, &target);
    assert_eq!(Connection::parse(&payload).unwrap().text(USER), None);
}

#[test]
fn a_refusal_of_an_http_proxy_is_told_to_the_administrator() {
    let what = "a refusal of an HTTP proxy is told to the administrator";
    let Some(proxy) = Proxy::http(what, LOGIN) else { return };
    let target = format!("127.0.0.1:{}", closed_port());
    for (password, expected) in [
        ("hunter3-geheim", "the proxy refuses the user or the password: it says \"HTTP/1.0 401 "),
        ("hunter2-geheim", "the proxy does not connect to `target`: it says \"HTTP/1.1 500 "),
    ] {
        let daemon = daemon("http-proxy", &proxy, &target, password);
        assert_eq!(daemon.connect().get(SLOT).errno(), libc::EIO);
        let said = failure(&daemon);
        assert!(said.contains(expected) && said.contains("log-in failed after "), "{said}");
        assert!(!daemon.log().text().contains("geheim"));
    }
    let policy = format!("auth = {{ http-proxy = {{ target = \"{target}\" }} }}");
    let daemon = Daemon::open().policy(&connecting(&tcp(proxy.port()), &policy)).start();
    assert_eq!(daemon.connect().get(SLOT).errno(), libc::EIO);
    let said = failure(&daemon);
    assert!(said.contains("the policy names none: add `user` and `password`"), "{said}");
}

#[test]
fn an_unprivileged_caller_reaches_a_server_through_a_socks5_proxy() {
    let what = "an unprivileged caller reaches a server through a SOCKS5 proxy";
    let Some(proxy) = Proxy::socks5(what, LOGIN) else { return };
    let web = web_server();
    for host in ["127.0.0.1", "localhost"] {
        let target = format!("{host}:{web}");
        let daemon = daemon("socks5", &proxy, &target, "hunter2-geheim\n");
        let payload = reaches_the_web(&daemon, "socks5", &proxy, &target);
        let told = Connection::parse(&payload).unwrap();
        assert_eq!(told.text(USER), Some("orders"));
        let bound = told.text(BOUND).unwrap();
        assert!(bound.parse::<std::net::SocketAddr>().is_ok(), "{bound}");
    }
}

#[test]
fn a_socks5_proxy_that_asks_for_no_password_is_used_as_it_is() {
    let what = "a SOCKS5 proxy that asks for no password is used as it is";
    let Some(proxy) = Proxy::socks5(what, None) else { return };
    let target = format!("127.0.0.1:{}", web_server());
    let daemon = daemon("socks5", &proxy, &target, "hunter2-geheim");
    let payload = reaches_the_web(&daemon, "socks5", &proxy, &target);
    assert_eq!(Connection::parse(&payload).unwrap().text(USER), None);
    let policy = format!("auth = {{ socks5 = {{ target = \"{target}\" }} }}");
    daemon.reload(&connecting(&tcp(proxy.port()), &policy));
    reaches_the_web(&daemon, "socks5", &proxy, &target);
}

#[test]
fn a_refusal_of_a_socks5_proxy_is_told_to_the_administrator() {
    let what = "a refusal of a SOCKS5 proxy is told to the administrator";
    let Some(proxy) = Proxy::socks5(what, LOGIN) else { return };
    let target = format!("127.0.0.1:{}", closed_port());
    for (password, expected) in [
        ("hunter3-geheim", "the proxy refuses the user or the password"),
        ("hunter2-geheim", "the proxy does not connect to `target`: connection refused (reply 5)"),
    ] {
        let daemon = daemon("socks5", &proxy, &target, password);
        assert_eq!(daemon.connect().get(SLOT).errno(), libc::EIO);
        let said = failure(&daemon);
        assert!(said.contains(expected) && said.contains("log-in failed after "), "{said}");
        assert!(!daemon.log().text().contains("geheim"));
    }
    let policy = format!("auth = {{ socks5 = {{ target = \"{target}\" }} }}");
    let daemon = Daemon::open().policy(&connecting(&tcp(proxy.port()), &policy)).start();
    assert_eq!(daemon.connect().get(SLOT).errno(), libc::EIO);
    let said = failure(&daemon);
    assert!(said.contains("the policy names none: add `user` and `password`"), "{said}");
}
